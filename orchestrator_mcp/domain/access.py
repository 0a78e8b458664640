"""Who asks, and what they may: callers, their scopes and the tokens that prove them. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ANONYMOUS: Final = "anonymous"


class Scope(StrEnum):
    """What a caller may do; each one includes those before it."""

    READ = "read"  # look at everything
    SUBMIT = "submit"  # hand in work, and end its own
    ADMIN = "admin"  # end everybody's work, and look after the backends


SCOPES: Final = (Scope.READ, Scope.SUBMIT, Scope.ADMIN)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody who asks for something.

    Attributes:
        name: whose jobs these are; `anonymous` where nobody is asked for a token.
        scope: the widest that it has.
        address: the machine it speaks from; None for this process itself.
    """

    name: str = ANONYMOUS
    scope: Scope = Scope.ADMIN
    address: str | None = None

    def may(self, needed: Scope) -> bool:
        """Whether its scope includes this one."""
        return SCOPES.index(needed) <= SCOPES.index(self.scope)

    def may_end(self, owner: str) -> bool:
        """Whether it may cancel a job of this owner: its own, or as an admin."""
        return self.may(Scope.ADMIN) or (self.may(Scope.SUBMIT) and self.name == owner)

    @property
    def counted_as(self) -> str | None:
        """Under which name rates and streams are counted: the token's, else the address; None is not counted."""
        return f"token {self.name}" if self.name != ANONYMOUS else self.address and f"address {self.address}"


LOCAL: Final = Caller()
"""The Inbox, a pipe, the program itself: whoever can reach those has the machine's user already."""


@dataclass(frozen=True, kw_only=True)
class KnownToken:
    """A token that lets its bearer in; only its hash is kept.

    Attributes:
        name: whose it is.
        scope: the widest that it has.
        digest: the SHA-256 of the token's bytes.
    """

    name: str
    scope: Scope
    digest: bytes


def digest_of(token: bytes) -> bytes:
    """What is kept of a token. Tokens are long and random, so a plain hash cannot be turned back."""
    return hashlib.sha256(token).digest()


def widest(scopes: Iterable[Scope]) -> Scope:
    """The scope that includes all of these.

    Args:
        scopes: at least one.
    """
    return max(scopes, key=SCOPES.index)


def bearer_of(shown: Iterable[bytes], known: Sequence[KnownToken]) -> KnownToken | None:
    """Whose token is shown.

    Args:
        shown: what a request carries.
        known: every token that lets somebody in.
    """
    found: KnownToken | None = None
    for token in shown:
        digest = digest_of(token)
        for candidate in known:
            # All are compared, so that the time taken does not tell which one came near.
            if hmac.compare_digest(digest, candidate.digest):
                found = candidate
    return found
