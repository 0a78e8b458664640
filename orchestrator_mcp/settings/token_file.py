"""The file with the access tokens of further callers: strictly read, and private."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from orchestrator_mcp.domain.access import ANONYMOUS, KnownToken, Scope, digest_of, widest
from orchestrator_mcp.errors import SettingsError
from orchestrator_mcp.redaction import hide
from orchestrator_mcp.settings.checking import Needs, check_config
from orchestrator_mcp.settings.config_file import read_config
from orchestrator_mcp.settings.kinds import SECTION

OWN: Final = "admin"
"""The name of the token that the server makes itself."""

_RESERVED: Final = frozenset({ANONYMOUS, OWN})
_SECRET_WORDS: Final = "a text of 20 to 200 characters A-Z a-z 0-9 . _ ~ + / = - (such as 43 random ones)"
_SECRET: Final = re.compile(r"[A-Za-z0-9._~+/=-]{20,200}")


def _check_secret(value: SecretStr | None) -> SecretStr | None:
    if value is not None and _SECRET.fullmatch(value.get_secret_value()) is None:
        raise PydanticCustomError("token", "no token")
    return value


class TokenEntry(BaseModel):
    """One caller."""

    model_config = SECTION

    name: Annotated[
        str,
        Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"),
        Needs("1 to 64 of the characters A-Z a-z 0-9 . _ @ - that begin with a letter or digit"),
    ] = Field(description="Whose token it is: the owner of what is submitted with it.")
    token: Annotated[SecretStr | None, AfterValidator(_check_secret), Needs(_SECRET_WORDS)] = Field(
        default=None, description="The token itself."
    )
    sha256: Annotated[
        str | None, Field(strict=True, pattern=r"^[0-9a-fA-F]{64}$"), Needs("the 64 hex digits of a SHA-256")
    ] = Field(default=None, description="Instead of the token: its SHA-256, so that the file holds no secret.")
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=3), Needs("a list of read, submit, admin")] = (
        Field(description="What it may do. `submit` includes `read`, `admin` includes both.")
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.token is None) == (self.sha256 is None):
            raise ValueError(f"the entry of {self.name!r} needs either token or sha256, one of them")
        return self

    def known(self) -> KnownToken:
        """What is compared with the tokens that callers show."""
        if self.token is not None:
            digest = digest_of(self.token.get_secret_value().encode())
        else:
            digest = bytes.fromhex(self.sha256 or "")
        return KnownToken(name=self.name, scope=widest(self.scopes), digest=digest)


class _TokenFile(BaseModel):
    model_config = SECTION

    tokens: Annotated[
        tuple[TokenEntry, ...], Field(max_length=10_000), Needs("a list of entries with name, token and scopes")
    ] = Field(description="Every caller beside the server's own admin token.")

    @model_validator(mode="after")
    def _refuse_twins(self) -> Self:
        names: set[str] = set()
        digests: set[bytes] = set()
        for entry in self.tokens:
            if entry.name in _RESERVED:
                raise ValueError(f"the name {entry.name!r} is taken by the server itself; choose another")
            if entry.name in names:
                raise ValueError(f"two tokens have the name {entry.name!r}; each needs its own")
            if (digest := entry.known().digest) in digests:
                raise ValueError(f"the token of {entry.name!r} is another caller's as well; each needs its own")
            names.add(entry.name)
            digests.add(digest)
        return self


def read_token_file(path: Path) -> tuple[KnownToken, ...]:
    """Read the file that `server.tokens_file` names: YAML or JSON, `{tokens: [{name, token, scopes}]}`.

    Args:
        path: an ordinary file that only its owner may write, and only its owner may read if tokens stand in it.

    Returns:
        The tokens; those in plain text appear in no log line from here on.

    Raises:
        SettingsError: it cannot be read, is wrong, or others have access to it.
    """
    found = check_config(read_config(path), _TokenFile, given={}, hidden=frozenset({"token", "sha256"}))
    secrets = [entry.token.get_secret_value() for entry in found.tokens if entry.token is not None]
    for secret in secrets:
        hide(secret)
    _check_access(path, readable=not secrets)
    return tuple(entry.known() for entry in found.tokens)


def _check_access(path: Path, *, readable: bool) -> None:
    """Refuse a file that others may write, or read although it must not be `readable`; Windows has no such bits."""
    if os.name != "posix":
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o022 or (mode & 0o044 and not readable):
        raise SettingsError(
            f"The token file {path} is open to others (mode {mode:04o}).",
            hint=f"Run: chmod 600 {path}",
        )
