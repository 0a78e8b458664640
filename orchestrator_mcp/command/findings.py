"""What the doctor finds: a subject, a verdict, what is so, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator_mcp.command.tables import plain_text
from orchestrator_mcp.redaction import redact

Verdict = Literal["ok", "warn", "fail"]
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what was looked at, in a word or two.
        verdict: `fail` keeps the orchestrator from doing its work, `warn` may.
        message: what is so.
        mend: what to do about it; None when nothing is to be done.
    """

    subject: str
    verdict: Verdict
    message: str
    mend: str | None = None


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing fails."""
    return all(finding.verdict != "fail" for finding in findings)


def findings_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as JSON values.

    Args:
        findings: in the order in which they are shown.
    """
    shown = [{name: _clean(value) for name, value in asdict(finding).items()} for finding in findings]
    return {"healthy": is_healthy(findings), "findings": shown}


def findings_shown(findings: Sequence[Finding]) -> RenderableType:
    """The findings for a person, and the sum of them.

    Args:
        findings: in the order in which they are shown.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        words = plain_text(redact(finding.message))
        if finding.mend:
            words.append("\n").append(plain_text(redact(finding.mend)).plain, style="italic")
        table.add_row(Text(finding.verdict, style=_STYLES[finding.verdict]), plain_text(finding.subject), words)
    return Group(table, Text(_sum(findings)))


def _sum(findings: Sequence[Finding]) -> str:
    failed = sum(finding.verdict == "fail" for finding in findings)
    warned = sum(finding.verdict == "warn" for finding in findings)
    if not failed and not warned:
        return "\nAll is well."
    parts = [f"{number} {word}" for number, word in ((failed, "to mend"), (warned, "to look at")) if number]
    return f"\n{' and '.join(parts)}."


def _clean(value: str | None) -> str | None:
    return None if value is None else redact(value)
