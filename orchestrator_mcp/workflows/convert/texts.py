"""What ComfyUI's page does to texts while it sends them: comments, choices, and replacements in file names."""

from __future__ import annotations

import re
from typing import Final

_COMMENT: Final = re.compile(r"/[*/]")
_LINE_END: Final = re.compile(r"[\n\r\u2028\u2029]")
_ESCAPED: Final = re.compile(r"\\([{}|])")
_REPLACED: Final = re.compile(r"%([^%]+)%")
_MAX_DEPTH: Final = 50

SAVING: Final = frozenset(
    {
        "SaveImage",
        "SaveImageAdvanced",
        "SaveSVGNode",
        "SaveVideo",
        "SaveAnimatedWEBP",
        "SaveAnimatedPNG",
        "SaveWEBM",
        "SaveAudio",
        "SaveAudioMP3",
        "SaveAudioOpus",
        "SaveAudioAdvanced",
        "SaveGLB",
        "Save3DAdvanced",
        "SaveGaussianSplat",
        "SavePointCloud",
        "CLIPSave",
        "VAESave",
        "ModelSave",
        "LoraSave",
        "SaveLatent",
    }
)
"""Classes whose `filename_prefix` the page completes before it sends."""


class ChoiceError(ValueError):
    """A text has a choice that would be drawn at random, `{red|blue}`."""


def plain_prompt(text: str) -> str:
    """A prompt as the page sends it: without comments, with the braces of single choices taken off.

    Args:
        text: what the widget holds.

    Raises:
        ChoiceError: it has a choice between several, or braces too deep in each other.
    """
    return _resolved(text, 0)


def replacements(prefix: str) -> list[str]:
    """The parts of a file name prefix that only the page could replace: `date:…`, and `Node.widget`.

    Args:
        prefix: what the widget holds; `%width%` and the like are the server's to replace.
    """
    found = [match.group(1) for match in _REPLACED.finditer(prefix)]
    return [part for part in found if part.startswith("date:") or part.count(".") == 1]


def _resolved(text: str, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise ChoiceError(text)
    text = _without_comments(text)
    made: list[str] = []
    at = 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            made.append(text[at : at + 2])
            at += 2
        elif letter == "{":
            inner, at = _choice(text, at + 1)
            made.append(_resolved(inner, depth + 1))
        else:
            made.append(letter)
            at += 1
    return _ESCAPED.sub(r"\1", "".join(made))


def _without_comments(text: str) -> str:
    """The text without `// to the end of the line` and without `/* blocks */` that are closed."""
    made: list[str] = []
    at = 0
    last_close = text.rfind("*/")
    while (found := _COMMENT.search(text, at)) is not None:
        begin = found.start()
        if found.group() == "//":
            end = _LINE_END.search(text, begin)
            made.append(text[at:begin])
            at = end.start() if end is not None else len(text)
        elif last_close >= begin + 2:
            made.append(text[at:begin])
            at = text.index("*/", begin + 2) + 2
        else:
            made.append(text[at : begin + 1])
            at = begin + 1
    return "".join(made) + text[at:]


def _choice(text: str, at: int) -> tuple[str, int]:
    """The only choice of a block and where the text goes on; blocks that are not closed end with the text."""
    begin, deep = at, 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 2
            continue
        if letter == "}" and not deep:
            return text[begin:at], at + 1
        if letter == "|" and not deep:
            raise ChoiceError(text)
        deep += (letter == "{") - (letter == "}")
        at += 1
    return text[begin:], len(text)
