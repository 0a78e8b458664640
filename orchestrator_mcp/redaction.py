"""Makes text from anywhere fit for a log or a message: no secrets, and nothing that steers a terminal."""

from __future__ import annotations

import re
from urllib.parse import quote

HIDDEN = "[hidden]"
MIN_SECRET = 6  # characters; a shorter one would blank ordinary words
MAX_CHARACTERS = 65_536  # what is looked at of one text

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_URL_PASSWORD = re.compile(r"(://[^\s/:@\"']{0,200}:)[^\s/\"']{1,500}@")
_BEARER = re.compile(r"(\bbearer\s{1,4})[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
# the last alternative is a text that somebody cut off before its closing quote
_QUOTED = r"""b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|\\"(?:[^"\\]|\\[^"])*\\"|\\?["'][^"'\r\n]*"""
# these take the rest of the line when they are not quoted: their values have spaces, commas and semicolons in them
_WHOLE_LINE = re.compile(
    rf"""((?:authorization|cookie)(?:\\?["'])?\s{{0,4}}[:=,]\s{{0,4}})(?:{_QUOTED}|[^\r\n"'\\]+)""", re.IGNORECASE
)
_NAMED = re.compile(
    r"""((?:api[_-]?key(?:_comfy_org)?|auth[_-]?token(?:_comfy_org)?|token|password|passwd|secret)(?:\\?["'])?"""
    rf"""\s{{0,4}}[:=]\s{{0,4}})(?:{_QUOTED}|[^\s,;&)}}\]"'\\]+)""",
    re.IGNORECASE,
)


class _Secrets:
    """The values that no text may show; one set for the process, as the log is."""

    def __init__(self) -> None:
        self._pattern: re.Pattern[str] | None = None
        self._known: frozenset[str] = frozenset()

    def add(self, secret: str) -> None:
        spellings = {secret, quote(secret, safe=""), repr(secret)[1:-1]}
        self._known |= {spelling for spelling in spellings if len(spelling) >= MIN_SECRET}
        longest_first = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def strip(self, text: str) -> str:
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


_secrets = _Secrets()


def hide(secret: str) -> None:
    """Never show this value again, in any log line or message of this program.

    Args:
        secret: a token or password; one of fewer than 6 characters is too short to be told from ordinary text, and
            is left.
    """
    _secrets.add(secret)


def redact(text: str) -> str:
    """Replace secrets by `[hidden]`: registered values, and what stands behind names such as Authorization or token."""
    text = _secrets.strip(text[:MAX_CHARACTERS])
    text = _URL_PASSWORD.sub(rf"\1{HIDDEN}@", text)
    text = _WHOLE_LINE.sub(rf"\1{HIDDEN}", text)
    text = _BEARER.sub(rf"\1{HIDDEN}", text)
    return _NAMED.sub(rf"\1{HIDDEN}", text)


def hide_within(text: str) -> str:
    """Replace only what is a secret beyond doubt, in a text of any length that is given back to whoever wrote it.

    Those are registered values, passwords in urls and bearer tokens; `redact` also takes what follows the word
    "token" or "secret", which in a prompt is poetry.
    """
    text = _secrets.strip(text)
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\1{HIDDEN}@", text)
    return _BEARER.sub(rf"\1{HIDDEN}", text) if "earer" in text or "EARER" in text else text


def escape(text: str) -> str:
    """Write control characters, line ends, direction marks and invisible characters as escapes such as `\\x1b`."""
    return _UNSAFE.sub(_spell, text)


def _spell(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
