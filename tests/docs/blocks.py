"""The fenced blocks of the documents, and what stands above them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.cli.program import ROOT

DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHELL = frozenset({"bash", "sh", "shell", "console"})
_FENCE = re.compile(
    r"(?P<remark>(?:^<!--[^\n]*-->\n)?)^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_NOT_RUN = re.compile(r"<!-- not run: \S.{5,} -->")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        document: where it stands.
        line: of its first fence, from 1.
        language: as the fence says.
        text: what is in it.
        remark: the comment above it.
    """

    document: Path
    line: int
    language: str
    text: str
    remark: str

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether a comment above it gives no reason why its commands cannot be run here."""
        return _NOT_RUN.search(self.remark) is None


def blocks_of(document: Path) -> list[Block]:
    """Every fenced block of a document, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(
            document=document,
            line=text.count("\n", 0, match.start("language")) + 1,
            language=match["language"],
            text=match["text"],
            remark=match["remark"],
        )
        for match in _FENCE.finditer(text)
    ]


def blocks_in(*languages: str) -> list[Block]:
    """Every block of all documents in one of these languages."""
    return [block for document in DOCUMENTS for block in blocks_of(document) if block.language in languages]
