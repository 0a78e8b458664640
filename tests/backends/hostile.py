"""JSON as an enemy would write it: the right words in the wrong places, and every type where another belongs."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

WORDS = (
    "p", "1", "prompt", "outputs", "status", "meta", "messages", "status_str", "completed", "success", "error",
    "execution_start", "execution_error", "execution_success", "execution_interrupted", "execution_cached", "nodes",
    "timestamp", "images", "gifs", "text", "animated", "filename", "subfolder", "type", "temp", "output", "input",
    "format", "a.png", "../../etc/passwd", "display_node", "real_node_id", "prompt_id", "node", "node_id", "value",
    "max", "state", "data", "executing", "executed", "progress", "progress_state", "exec_info", "queue_remaining",
    "queue_running", "queue_pending", "system", "devices", "comfyui_version", "argv", "node_errors", "errors",
    "extra_info", "class_type", "received_value", "value_not_in_list", "missing_node_type", "message", "details",
    "traceback", "exception_type", "required", "optional", "options", "COMBO", "orchestrator", "\x00", "\ud800", "",
)  # fmt: skip

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
    | st.sampled_from((10**400, -1, 0, 2**63))
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6)


documents: st.SearchStrategy[Any] = st.recursive(scalars, _nested, max_leaves=25)
