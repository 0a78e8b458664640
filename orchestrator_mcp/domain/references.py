"""How a value says which file a render is to begin with. Pure: whether the file exists is found elsewhere.

| Spelling | Meaning |
|---|---|
| `asset:<sha256>` | a file that was uploaded, by its content |
| `<sha256>` or `<sha256>.<ext>` | the same, if such a file is known; else the name of a file on the backend |
| `job:<job id>/<name>` | an output of another job |
| `job:<job id>` | its only, or first fitting, output |
| anything else | a path: an absolute one must lie under a root; one that lies under none is a backend's file |
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Final

MOST_TEXT: Final = 4096  # characters of a reference; more than any path that a system takes
_SHA256: Final = re.compile(r"([0-9a-f]{64})(?:\.[a-z0-9]{1,12})?")
_ON_BACKEND: Final = re.compile(r" \[(?:input|output|temp)\]$")
_DRIVE: Final = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, kw_only=True)
class AssetReference:
    """A file by its content.

    Attributes:
        sha256: in lower-case hex.
        certain: it was called an asset; else it may be the name of a file on the backend.
    """

    sha256: str
    certain: bool = True


@dataclass(frozen=True, kw_only=True)
class JobReference:
    """An output of another job.

    Attributes:
        job_id: canonical, lower case.
        name: of the output; None means the only or first fitting one.
    """

    job_id: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class PathReference:
    """A file by its place.

    Attributes:
        path: as it was written.
        absolute: it names its place from the top, by the rules of any system (`/a`, `C:\\a`, `\\\\server\\a`, `C:a`).
    """

    path: str
    absolute: bool

    @property
    def parts(self) -> tuple[str, ...]:
        """The names on the way of a relative path, whichever slash stands between them; `.` is left out."""
        return tuple(part for part in re.split(r"[\\/]", self.path) if part not in ("", "."))


Reference = AssetReference | JobReference | PathReference


def parse_reference(value: object) -> Reference | None:
    """What a value of a file input refers to.

    Args:
        value: what a caller gave; anything.

    Returns:
        None when it can only be the name of a file on the backend (`x.png [output]`), or is no text at all.

    Raises:
        ValueError: it begins like a reference and is none; the message says, in words, what is needed.
    """
    if not isinstance(value, str) or not value or len(value) > MOST_TEXT or "\n" in value:
        return None
    kind, colon, rest = value.partition(":")
    if colon and kind == "asset":
        return AssetReference(sha256=_sha256_of(rest))
    if colon and kind == "job":
        return _job_reference(rest)
    if (known := _SHA256.fullmatch(value)) is not None:
        return AssetReference(sha256=known[1], certain=False)
    if _ON_BACKEND.search(value):
        return None
    return PathReference(path=value, absolute=_is_absolute(value))


def _sha256_of(text: str) -> str:
    found = _SHA256.fullmatch(text.casefold())
    if found is None:
        raise ValueError("after `asset:` come the 64 hex digits of a sha256, as the upload answered them")
    return found[1]


def _job_reference(text: str) -> JobReference:
    job, slash, name = text.partition("/")
    try:
        job_id = str(uuid.UUID(job))
    except ValueError:
        job_id = ""
    if not job_id or job_id != job.casefold():
        raise ValueError("after `job:` comes the id of a job, then `/` and the name of one of its outputs")
    if slash and (not name or "/" in name or "\\" in name or "\x00" in name or len(name) > 255):
        raise ValueError("after `job:<id>/` comes the name of an output, as the job lists it")
    return JobReference(job_id=job_id, name=name or None)


def _is_absolute(path: str) -> bool:
    return path[0] in "/\\" or _DRIVE.match(path) is not None or PureWindowsPath(path).is_absolute()
