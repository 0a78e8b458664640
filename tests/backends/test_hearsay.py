"""What was heard of a prompt's end counts where its history leaves it open, and nowhere else."""

from __future__ import annotations

import pytest

from orchestrator_mcp.backends.hearsay import Hearsay
from orchestrator_mcp.backends.history import HistoryEntry, NodeFailure, Verdict
from orchestrator_mcp.backends.messages import Message, PromptFailed, PromptFinished, PromptInterrupted

FAILURE = NodeFailure(node_id="4", node_type="KSampler", exception_type="RuntimeError", message="no")
FAILED = PromptFailed(prompt_id="p", failure=FAILURE)
INTERRUPTED = PromptInterrupted(prompt_id="p")
FINISHED = PromptFinished(prompt_id="p")
OPEN = HistoryEntry(prompt_id="p", verdict="unclear", silent=True)


@pytest.mark.parametrize(
    ("heard", "whole", "verdict"),
    [
        ([FAILED, FINISHED], True, "errored"),
        ([FAILED], False, "errored"),
        ([INTERRUPTED, FINISHED], True, "interrupted"),
        ([FINISHED], True, "succeeded"),
        ([FINISHED], False, "unclear"),
        ([], True, "unclear"),
    ],
)
def test_the_end_of_a_silent_entry_follows_from_what_was_heard(
    heard: list[Message], whole: bool, verdict: Verdict
) -> None:
    hearsay = Hearsay()
    for message in heard:
        hearsay.hear(message)
    found = hearsay.weighed(OPEN, whole=whole)
    assert found.verdict == verdict
    assert (found.failure is FAILURE) == (verdict == "errored")


@pytest.mark.parametrize("verdict", ["succeeded", "interrupted", "errored"])
@pytest.mark.parametrize("silent", [True, False])
def test_a_verdict_of_the_history_stands_whatever_was_heard(verdict: Verdict, silent: bool) -> None:
    hearsay = Hearsay()
    hearsay.hear(FAILED)
    entry = HistoryEntry(prompt_id="p", verdict=verdict, silent=silent)
    assert hearsay.weighed(entry, whole=True) is entry
