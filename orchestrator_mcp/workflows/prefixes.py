"""Where the outputs of a job go on its backend: a folder of its own, whatever the workflow says.

ComfyUI answers a graph that it knows from its cache, with the old files; and several servers may share one output
folder. A prefix that no other job has forces the output node to run, and keeps the files apart.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.files import safe_stem
from orchestrator_mcp.workflows.links import as_link, inputs_of

PREFIX_INPUT: Final = "filename_prefix"
FOLDER: Final = "orch"

_MOST_BYTES = 60
_PLAIN_ID = re.compile(r"[a-z0-9]{1,40}")
_PLACEHOLDER = re.compile(r"%[^%]*%")
"""`%date:yyyy%` and `%KSampler.seed%` are the browser's, `%year%` is the server's; neither may make a path."""
_SEPARATOR = re.compile(r"[\\/]")
_DRIVE = re.compile(r"^[A-Za-z]:")


def isolate_outputs(graph: Graph, job_id: str, attempt: int = 1) -> Graph:
    """Give every output of a graph a place that no other job and no other attempt has.

    Args:
        graph: a checked graph with its parameters applied; it stays as it is.
        job_id: the job.
        attempt: the number of its attempt, from 1; a lost one may still be writing.

    Returns:
        A new graph in which each prefix reads `orch/<job>/<node>/<last part of the old prefix>`. Prefixes that are
        links stay, see `linked_prefixes`.
    """
    job = job_id if attempt == 1 else f"{job_id}-{attempt}"
    isolated = dict(graph)
    for node in graph:
        if isinstance(inputs_of(graph, node).get(PREFIX_INPUT), str):
            prefix = "/".join((FOLDER, safe_stem(job), _folder_of(node), display_stem(graph, node)))
            isolated[node] = {**graph[node], "inputs": {**inputs_of(graph, node), PREFIX_INPUT: prefix}}
    return isolated


def linked_prefixes(graph: Graph) -> list[str]:
    """The nodes whose prefix another node makes: their files lie where the workflow says."""
    return [node for node in graph if as_link(inputs_of(graph, node).get(PREFIX_INPUT)) is not None]


def display_stem(graph: Graph, node: str) -> str:
    """What the workflow calls the files of a node, for people: safe as part of a file name.

    Args:
        graph: the graph before `isolate_outputs`.
        node: the output node.

    Returns:
        The last part of its prefix without placeholders, else its class; 1 to 60 bytes.
    """
    prefix = inputs_of(graph, node).get(PREFIX_INPUT)
    parts = _SEPARATOR.split(_PLACEHOLDER.sub("", prefix)) if isinstance(prefix, str) else []
    named = [_DRIVE.sub("", part).strip(" .%\x00") for part in parts]
    last = next((part for part in reversed(named) if part), str(graph[node]["class_type"]))
    return safe_stem(last, most_bytes=_MOST_BYTES)


def _folder_of(node: str) -> str:
    """A folder name for a node id; different ids never share one, not even where case does not count."""
    if _PLAIN_ID.fullmatch(node):
        return node
    return f"{safe_stem(node, most_bytes=40)}-{hashlib.sha256(node.encode()).hexdigest()[:8]}"
