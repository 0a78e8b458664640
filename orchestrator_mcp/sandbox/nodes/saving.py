"""The nodes that write files, and the one that shows text. All of this runs in worker threads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from orchestrator_mcp.sandbox.folders import expand_prefix, next_counter
from orchestrator_mcp.sandbox.nodes.values import NodeCall, NodeError, NodeResult, Pictures, described

_WEBP_EFFORT = {"default": 4, "fastest": 0, "slowest": 6}
_LETTERS = "abcdefghijklmnopqrstupvxyz"


def save_image(call: NodeCall) -> NodeResult:
    """Write every picture to the output folder as PNG, with the graph inside.

    Args:
        call: With ``images`` and ``filename_prefix``.
    """
    place = _Place(call, call.folders.output, call.inputs["filename_prefix"])
    return NodeResult(ui={"images": _write_pngs(call, place, "output", compression=4)})


def preview_image(call: NodeCall) -> NodeResult:
    """Write every picture to the temp folder as PNG.

    Args:
        call: With ``images``.
    """
    letters = "".join(_LETTERS[byte % len(_LETTERS)] for byte in bytes.fromhex(call.signature)[:5])
    place = _Place(call, call.folders.temp, f"ComfyUI_temp_{letters}")
    return NodeResult(ui={"images": _write_pngs(call, place, "temp", compression=1)})


def save_animated_webp(call: NodeCall) -> NodeResult:
    """Write the pictures to the output folder as one animation.

    Args:
        call: With ``images``, ``filename_prefix``, ``fps``, ``lossless``, ``quality`` and ``method``.
    """
    place = _Place(call, call.folders.output, call.inputs["filename_prefix"])
    pictures: Pictures = call.inputs["images"]
    name = f"{place.stem}_{place.counter:05}_.webp"
    exif = pictures[0].getexif()
    exif[0x0110] = f"prompt:{json.dumps(call.graph)}"
    pictures[0].save(
        place.folder / name,
        save_all=True,
        duration=int(1000.0 / call.inputs["fps"]),
        append_images=pictures[1:],
        exif=exif,
        lossless=call.inputs["lossless"],
        quality=call.inputs["quality"],
        method=_WEBP_EFFORT[call.inputs["method"]],
    )
    result = {"filename": name, "subfolder": place.subfolder, "type": "output"}
    return NodeResult(ui={"images": [result], "animated": [len(pictures) != 1]})


def preview_any(call: NodeCall) -> NodeResult:
    """Show a value as text.

    Args:
        call: With ``source``.
    """
    value = call.inputs["source"]
    if isinstance(value, str):
        shown = value
    elif isinstance(value, bool | int | float):
        shown = str(value)
    else:
        shown = _as_json(value)
    return NodeResult(ui={"text": [shown]})


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return described(value)


class _Place:
    """Where the files of one save go: folder, stem and first number."""

    def __init__(self, call: NodeCall, root: Path, prefix: str) -> None:
        pictures: Pictures = call.inputs["images"]
        prefix = os.path.normpath(expand_prefix(prefix, pictures[0].size, call.moment))
        self.subfolder = os.path.dirname(prefix)
        self.stem = os.path.basename(prefix)
        self.folder = Path(os.path.abspath(root / self.subfolder))
        if "\0" in prefix:
            raise NodeError("embedded null byte", "ValueError")
        if self.folder != root and root not in self.folder.parents:
            raise NodeError(
                "**** ERROR: Saving image outside the output folder is not allowed.\n"
                f" full_output_folder: {self.folder}\n"
                f"         output_dir: {root}\n"
                f"         commonpath: {os.path.commonpath((root, self.folder))}",
                "Exception",
            )
        self.counter = next_counter(self.folder, self.stem)


def _write_pngs(call: NodeCall, place: _Place, kind: str, *, compression: int) -> list[dict[str, str]]:
    results = []
    text = _text_chunks(call)
    for number, picture in enumerate(call.inputs["images"]):
        stem = place.stem.replace("%batch_num%", str(number))
        name = f"{stem}_{place.counter + number:05}_.png"
        _save_png(picture, place.folder / name, text, compression)
        results.append({"filename": name, "subfolder": place.subfolder, "type": kind})
    return results


def _save_png(picture: Image.Image, path: Path, text: PngInfo, compression: int) -> None:
    picture.save(path, format="PNG", pnginfo=text, compress_level=compression)


def _text_chunks(call: NodeCall) -> PngInfo:
    chunks = PngInfo()
    chunks.add_text("prompt", json.dumps(call.graph))
    extra = call.extra.get("extra_pnginfo")
    if isinstance(extra, dict):
        for key, value in extra.items():
            keyword = str(key).encode("latin-1", "replace").decode("latin-1")[:79]
            chunks.add_text(keyword, json.dumps(value))
    return chunks
