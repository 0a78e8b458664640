"""How a prompt ended by what was heard of it, for servers before 2024: their history does not tell. Pure."""

from __future__ import annotations

from dataclasses import replace

from orchestrator_mcp.backends.history import HistoryEntry, NodeFailure
from orchestrator_mcp.backends.messages import Message, PromptFailed, PromptFinished, PromptInterrupted


class Hearsay:
    """Remembers what the events of one prompt said of its end.

    Attributes:
        over: whether its last event was heard.
    """

    def __init__(self) -> None:
        self.over = False
        self._failure: NodeFailure | None = None
        self._interrupted = False

    def hear(self, message: Message) -> None:
        """Take one message of the prompt in.

        Args:
            message: anything; what says nothing about the end changes nothing.
        """
        match message:
            case PromptFailed(failure=failure):
                self._failure = failure
            case PromptInterrupted():
                self._interrupted = True
            case PromptFinished():
                self.over = True
            case _:
                pass

    def weighed(self, entry: HistoryEntry, *, whole: bool) -> HistoryEntry:
        """The prompt's history, with the verdict that it leaves open.

        Args:
            entry: its history.
            whole: whether every event of it reached us.

        Returns:
            The same entry, unless it is silent and unclear and something was heard.
        """
        if not entry.silent or entry.verdict != "unclear":
            return entry
        if self._failure is not None:
            return replace(entry, verdict="errored", failure=self._failure)
        if self._interrupted:
            return replace(entry, verdict="interrupted")
        return replace(entry, verdict="succeeded") if whole and self.over else entry
