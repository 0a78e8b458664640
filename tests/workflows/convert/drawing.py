"""Small saved workflows for the tests, drawn as the page would save them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from orchestrator_mcp.errors import ManifestError, Problem
from orchestrator_mcp.workflows.convert import convert

Saved = dict[str, Any]

INNER: Final = "5b2d1f7e-0c57-4b0e-9c1a-1d6f3f0a0001"
MIDDLE: Final = "5b2d1f7e-0c57-4b0e-9c1a-1d6f3f0a0002"


def define(required: Saved, output: Iterable[str] = (), optional: Saved | None = None, **more: Any) -> Saved:
    """A class as `/object_info` has it; `order=False` leaves its `input_order` out."""
    made: Saved = {"input": {"required": required, "optional": optional or {}}, "output": list(output), **more}
    if made.pop("order", True):
        made.setdefault("input_order", {"required": list(required), "optional": list(optional or {})})
    return made


SEED: Final = ["INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}]
CATALOGUE: Final[Saved] = {
    "Load": define({"file": [["a.safetensors", "b.safetensors"]]}, ["MODEL", "CLIP"], display_name="Load It"),
    "Write": define({"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "clip": ["CLIP"]}, ["COND"]),
    "Empty": define(
        {
            "width": ["INT", {"default": 512, "min": 8, "max": 16384, "step": 8}],
            "height": ["INT", {"default": 512, "min": 1, "max": 16384}],
        },
        ["LATENT"],
    ),
    "Sample": define(
        {
            "model": ["MODEL"],
            "seed": SEED,
            "steps": ["INT", {"default": 20}],
            "cfg": ["FLOAT", {"default": 8.0, "step": 0.1, "round": 0.01, "min": 0, "max": 100}],
            "cond": ["COND"],
            "latent": ["LATENT"],
        },
        ["LATENT"],
    ),
    "Filter": define({"latent": ["LATENT"], "model": ["MODEL"], "strength": ["FLOAT", {"default": 1.0}]}, ["LATENT"]),
    "SaveImage": define({"images": ["LATENT"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]}),
}


def node(key: int | str, kind: str, values: Any = None, /, **more: Any) -> Saved:
    """A saved node; `inputs` and `outputs` are made by `wires`, `more` goes in as it is."""
    made: Saved = {"id": key, "type": kind, "mode": 0, "inputs": [], "outputs": [], "properties": {}}
    made |= {"pos": [0, 0], "size": [9, 9], "flags": {}, "order": 0, **more}
    if values is not None:
        made["widgets_values"] = values
    return made


def board(*nodes: Saved, wires: Iterable[str] = (), **more: Any) -> Saved:
    """A workflow of schema 0.4; a wire reads `1.0 > 2.model:MODEL`, `:widget` behind its type marks a widget's."""
    made: Saved = {"version": 0.4, "nodes": list(nodes), "links": [], **more}
    for number, wire in enumerate(wires, 1):
        link = _wire(made, number, wire)
        made["links"].append([number, *link])
    return made


def subgraph(key: str, *nodes: Saved, inputs: Iterable[str], outputs: Iterable[str], wires: Iterable[str]) -> Saved:
    """A subgraph definition; `in.0` and `out.0` stand for its borders in wires, ports read `name:TYPE`."""
    made: Saved = {"id": key, "name": f"Subgraph {key[-1]}", "nodes": list(nodes), "links": []}
    made |= {"inputNode": {"id": -10, "bounding": [0, 0, 9, 9]}, "outputNode": {"id": -20, "bounding": [9, 0, 9, 9]}}
    for side, listed in (("inputs", inputs), ("outputs", outputs)):
        made[side] = [_port(text) for text in listed]
    for number, wire in enumerate(wires, 1):
        origin, origin_slot, target, target_slot, kind = _wire(made, number, wire)
        made["links"].append(
            {
                "id": number,
                "origin_id": origin,
                "origin_slot": origin_slot,
                "target_id": target,
                "target_slot": target_slot,
                "type": kind,
            }
        )
        if origin == -10:
            made["inputs"][origin_slot]["linkIds"].append(number)
        if target == -20:
            made["outputs"][target_slot]["linkIds"].append(number)
    return made


def with_subgraphs(saved: Saved, *definitions: Saved) -> Saved:
    """The workflow with subgraph definitions."""
    return {**saved, "definitions": {"subgraphs": list(definitions)}}


def inputs_of(saved: Saved, key: str, catalogue: Saved = CATALOGUE) -> Saved:
    """The inputs of one node of the converted workflow."""
    inputs: Saved = convert(saved, catalogue).graph[key]["inputs"]
    return inputs


def graph_of(saved: Saved, catalogue: Saved = CATALOGUE) -> Saved:
    """The converted workflow as `id -> inputs`."""
    return {key: content["inputs"] for key, content in convert(saved, catalogue).graph.items()}


def refusal_of(saved: Any, catalogue: Saved = CATALOGUE) -> Problem:
    """The only problem of a workflow that is refused."""
    try:
        convert(saved, catalogue)
    except ManifestError as error:
        (problem,) = error.problems
        return problem
    raise AssertionError("the workflow was converted")


def chain(mode: int = 0) -> Saved:
    """Load -> Sample -> Filter -> SaveImage, with the filter in a mode."""
    return board(
        node(1, "Load", ["a.safetensors"]),
        node(2, "Empty", [640, 480]),
        node(3, "Sample", [7, "fixed", 25, 6.5]),
        node(4, "Filter", [0.5], mode=mode),
        node(5, "SaveImage", ["pic"]),
        wires=[
            "1.0 > 3.model:MODEL",
            "2.0 > 3.latent:LATENT",
            "3.0 > 4.latent:LATENT",
            "1.0 > 4.model:MODEL",
            "4.0 > 5.images:LATENT",
        ],
    )


def _wire(made: Saved, number: int, wire: str) -> tuple[Any, int, Any, int, str]:
    begin, _, end = wire.partition(" > ")
    target, _, rest = end.partition(".")
    name, _, kind = rest.partition(":")
    kind, _, widget = kind.partition(":")
    origin, _, slot = begin.partition(".")
    if origin != "in":
        _output(made, origin, int(slot), kind)
    if target == "out":
        return _key(origin), int(slot), -20, int(name), kind
    inputs = _node(made, target)["inputs"]
    found = next((each for each in inputs if each["name"] == name), None)
    if found is None:
        found = {"name": name, "type": kind}
        inputs.append(found)
    found["link"] = number
    if widget:
        found["widget"] = {"name": name}
    return _key(origin), int(slot), _key(target), inputs.index(found), kind


def _output(made: Saved, origin: str, slot: int, kind: str) -> None:
    outputs = _node(made, origin)["outputs"]
    while len(outputs) <= slot:
        outputs.append({"name": "out", "type": kind, "links": []})
    outputs[slot]["type"] = kind


def _node(made: Saved, key: str) -> Saved:
    found: Saved = next(each for each in made["nodes"] if str(each["id"]) == key)
    return found


def _key(text: str) -> Any:
    return -10 if text == "in" else int(text) if text.isdigit() else text


def _port(text: str) -> Saved:
    name, _, kind = text.partition(":")
    return {"id": f"port-{name}", "name": name, "type": kind, "linkIds": []}
