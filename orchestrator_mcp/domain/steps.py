"""The named steps of a job's way, in their order: the one list of them.

Whoever does a step calls back with its name right after the deed, before the next one begins; of a stage, once that is
stored, which may be together with the next one. Normal runs do nothing then; a chaos run kills the process there, so
every gap between two deeds is a place where a crash is tried.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """A deed that was just done; what a crash here leaves behind is in the comment."""

    CLAIMED = "claimed"  # an Inbox file lies in our folder and is no job yet
    STORED = "stored"  # the job is stored, and its caller has not heard of it
    INTENT = "intent"  # the attempt is stored, and nothing was sent
    BROUGHT = "brought"  # its input files are on the backend, and the graph was not sent
    MARKED = "marked"  # it is marked as sent, and was not sent
    POSTED = "posted"  # the backend has answered, and that is not stored
    ACCEPTED = "accepted"  # stored: the backend has the prompt
    ADOPTED = "adopted"  # a prompt that an earlier process sent was found again
    WITHDRAWN = "withdrawn"  # a standby was deleted on its backend, and that is not stored
    RENDERING = "rendering"  # stored: it renders
    RENDERED = "rendered"  # the backend says how it ended, and nothing of that is stored
    COLLECTING = "collecting"  # stored: its files are being fetched
    FETCHED = "fetched"  # every file lies in the artifact store, and no job names them
    PUBLISHING = "publishing"  # stored, mostly together with the end of the job: all files are there
    PUBLISHED = "published"  # the job has ended, with its files on record
    COPIED = "copied"  # a hidden folder in Outbox holds the files, without result.json
    DELIVERED = "delivered"  # the folder is shown, and the manifest is not put away
    ARCHIVED = "archived"  # the manifest is put away, and the delivery is not on record
    RECORDED = "recorded"  # the delivery is on record: the end of the way


AtStep = Callable[[Step], None]
"""Called with each step right after it; may come from a worker thread."""


def no_step(_step: Step) -> None:
    """The callback of every normal run."""
