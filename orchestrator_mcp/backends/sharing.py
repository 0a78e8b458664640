"""A backend that somebody else uses too: whose prompts are in its queue, and when it is our turn. Pure.

ComfyUI renders what is in its queue in its order, so whoever puts much into it keeps all others waiting. Theirs go
first; after a while one of ours may stand behind them, and then it is their turn again.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True, eq=False)
class Sharing:
    """What others have in the queue of one backend.

    Attributes:
        foreign: how many prompts.
    """

    foreign: int = 0
    _since: float = 0.0

    def seen(self, foreign: int, now: float) -> bool:
        """So many prompts of others were seen there.

        Args:
            foreign: how many.
            now: monotonic seconds.

        Returns:
            Whether it has just begun or ended that others use it.
        """
        news = bool(foreign) != bool(self.foreign)
        if news:
            self._since = now
        self.foreign = foreign
        return news

    def had_a_turn(self, now: float) -> None:
        """One of our jobs came to its end there: now it is theirs again."""
        self._since = now

    def wait(self, now: float, patience: float) -> float:
        """Seconds until one of ours may go there; 0.0 for now.

        Args:
            now: monotonic seconds.
            patience: seconds for which theirs go first.
        """
        return max(0.0, self._since + patience - now) if self.foreign else 0.0

    def words(self, now: float, patience: float) -> str | None:
        """Why it gets nothing of ours now; None when it may."""
        wait = self.wait(now, patience)
        if not wait:
            return None
        theirs = "a prompt of theirs goes" if self.foreign == 1 else f"{self.foreign} prompts of theirs go"
        return f"somebody else uses it: {theirs} first; one of ours may in {wait:.0f} s"
