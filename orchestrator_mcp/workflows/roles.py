"""What the inputs of a graph mean: which texts are the prompt, which latent gives the size.

A graph carries no meanings. They are found as a person finds them: from the sampler backwards along its links.
The facts about classes and inputs are those of ComfyUI's own nodes.
"""

from __future__ import annotations

from typing import Final, Literal

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.workflows.links import Link, Target, class_of, inputs_of, links_of, title_of

Role = Literal["positive", "negative"]

ROLE_OF_NAME: Final[dict[str, Role]] = {
    "prompt": "positive",
    "positive_prompt": "positive",
    "prompt_text": "positive",
    "positive": "positive",
    "negative_prompt": "negative",
    "negative": "negative",
}
SIZE_NAMES: Final = frozenset({"width", "height", "batch_size"})

_TEXT_INPUTS = (
    "text",
    "text_g",
    "text_l",
    "clip_l",
    "clip_g",
    "t5xxl",
    "llama",
    "bert",
    "mt5xl",
    "prompt",
    "user_prompt",
    "tags",
)
_GUIDER_INPUTS: dict[Role, tuple[str, ...]] = {
    "positive": ("positive", "conditioning", "cond1"),
    "negative": ("negative",),
}
_LATENT_INPUTS = frozenset(
    {"latent_image", "latent", "latents", "samples", "samples1", "samples2", "samples_to", "samples_from"}
)
_WITHOUT_TEXT = frozenset({"ConditioningZeroOut"})
"""What comes out of these does not depend on the text that goes in."""


def texts_for(graph: Graph, role: Role) -> list[Target]:
    """The text inputs that say what shall (positive) or shall not (negative) be seen; some may be links.

    Args:
        graph: a checked graph.
        role: which of the two.
    """
    found: dict[Target, None] = {}
    seen: set[Link] = set()
    ahead = _conditioned(graph, role)
    any_sampler = bool(ahead or _conditioned(graph, "positive" if role == "negative" else "negative"))
    while ahead:
        link = ahead.pop(0)
        if link not in seen:
            seen.add(link)
            found.update(dict.fromkeys(_texts_of(graph, link.node)))
            ahead.extend(_further(graph, link))
    return list(found) if any_sampler else _texts_by_title(graph, role)


def sizes_for(graph: Graph, name: str) -> list[Target]:
    """The inputs that set the size of what a sampler works on; empty when no fresh latent feeds one.

    Args:
        graph: a checked graph.
        name: `width`, `height` or `batch_size`.
    """
    found: dict[Target, None] = {}
    seen: set[str] = set()
    ahead = [links["latent_image"].node for node in graph if "latent_image" in (links := links_of(graph, node))]
    while ahead:
        node = ahead.pop(0)
        if node in seen:
            continue
        seen.add(node)
        further = [link.node for key, link in links_of(graph, node).items() if key in _LATENT_INPUTS]
        ahead.extend(further)
        if not further and name in inputs_of(graph, node):
            found[Target(node, name)] = None
    return list(found)


def _conditioned(graph: Graph, role: Role) -> list[Link]:
    """Where samplers and guiders, and what lies right before them, get their conditioning."""
    found: list[Link] = []
    for node in graph:
        links = links_of(graph, node)
        names: tuple[str, ...] = _GUIDER_INPUTS[role] if "guider" in class_of(graph, node).casefold() else (role,)
        found.extend(links[name] for name in names if name in links)
    return found


def _further(graph: Graph, link: Link) -> list[Link]:
    links = links_of(graph, link.node)
    class_type = class_of(graph, link.node)
    if "positive" in links or "negative" in links:
        passed = {0: "positive", 1: "negative"}.get(link.slot)
        return [links[passed]] if passed in links else []
    if class_type in _WITHOUT_TEXT:
        return []
    if "reroute" in class_type.casefold():
        return list(links.values())
    return [source for name, source in links.items() if name.casefold().startswith("cond")]


def _texts_of(graph: Graph, node: str) -> list[Target]:
    inputs = inputs_of(graph, node)
    if "conditioning_to" in inputs:  # its text belongs to a region of the picture (GLIGENTextBoxApply)
        return []
    links = links_of(graph, node)
    return [
        Target(node, name)
        for name in _TEXT_INPUTS
        if name in inputs and (isinstance(inputs[name], str) or name in links)
    ]


def _texts_by_title(graph: Graph, role: Role) -> list[Target]:
    """Without a sampler that is understood: the text encoders, told apart by what a person called them."""
    encoders = [node for node in graph if "textencode" in class_of(graph, node).casefold()]
    wanted = [node for node in encoders if ("negative" in title_of(graph, node).casefold()) == (role == "negative")]
    return [text for node in wanted for text in _texts_of(graph, node)]
