"""What somebody wants of an attempt that is under way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True, eq=False)
class Wishes:
    """Looked at by whoever carries the attempt on, before each deed that cannot be taken back.

    Attributes:
        cancel: stop it, wherever it is.
        revoke: take it back, if it has not begun to render.
        why: it is taken back, in words.
    """

    cancel: bool = False
    revoke: bool = False
    why: str = ""

    @property
    def any(self) -> bool:
        """Whether anybody wants anything."""
        return self.cancel or self.revoke

    def take_back(self, why: str) -> None:
        """Have it taken back.

        Args:
            why: what is put on record.
        """
        self.revoke, self.why = True, why
