"""What is written beside a workflow reads back as what was shown, whatever the graph holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_mcp.domain.jobs import Graph
from orchestrator_mcp.domain.views import ParameterView
from orchestrator_mcp.workflows.declaration_file import Declared, read_declarations
from orchestrator_mcp.workflows.declaration_text import declaration_text
from orchestrator_mcp.workflows.declared import Declaration, view_of
from orchestrator_mcp.workflows.links import Target
from orchestrator_mcp.workflows.parameters import infer_parameters
from tests.workflows.binding import targets_for
from tests.workflows.graphs import node, text_to_image


def read_back(folder: Path, graph: Graph, text: str) -> Declared:
    path = folder / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return read_declarations(path, graph, called="a.yaml")


def key(view: ParameterView) -> tuple[str, str, list[str]]:
    return view.name, view.type, view.targets


def test_what_is_inferred_reads_back_and_changes_nothing(tmp_path: Path) -> None:
    graph = text_to_image(_10=node("LoadImage", image="a.png"))
    shown = infer_parameters(graph)
    found = read_back(tmp_path, graph, declaration_text(graph, Declared(), shown, called="a"))
    assert [key(view) for view in found.parameters] == [key(view) for view in shown]
    assert ("image", "image", ["10.image"]) in [key(view) for view in shown]
    assert targets_for(graph, {}, {}, found.parameters).targets == {}


def test_what_is_declared_reads_back_whole(tmp_path: Path) -> None:
    graph = text_to_image()
    shown = [
        view_of(
            graph,
            [
                Declaration(name="cfg", target=Target("3", "cfg"), type="number", default=1e-05, maximum=1e22),
            ],
        ),
        view_of(
            graph,
            [
                Declaration(
                    name="on",
                    target=Target("6", "text"),
                    choices=("yes", "a: b", "two\nlines", "é"),
                    default="yes",
                    description="First.\nSecond: # no comment.",
                    title="- 'quoted'",
                    required=True,
                )
            ],
        ),
        view_of(
            graph, [Declaration(name="side", target=Target("5", each), default=64) for each in ("width", "height")]
        ),
    ]
    said = Declared(title="yes", description="x: y", tags=("a, b", "null"))
    found = read_back(tmp_path, graph, declaration_text(graph, said, shown, called="a"))
    assert list(found.parameters) == shown
    assert (found.title, found.description, found.tags) == ("yes", "x: y", ("a, b", "null"))


def test_a_graph_without_values_gives_a_file_that_can_be_read(tmp_path: Path) -> None:
    graph = {"1": node("PreviewAny")}
    assert read_back(tmp_path, graph, declaration_text(graph, Declared(), [], called="a")).parameters == ()


TEXTS = st.text(min_size=1, max_size=8) | st.sampled_from(["on", "3", "a: b", "#", "1e5", "\x07", "- x", "'", '"'])
VALUES = TEXTS | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(TEXTS.filter(lambda text: "\x00" not in text), VALUES, max_size=4), TEXTS)
def test_whatever_stands_in_a_graph_the_file_can_be_read(tmp_path: Path, inputs: dict[str, Any], title: str) -> None:
    graph: Graph = json.loads(json.dumps({"1": node("Custom", title, **inputs)}))
    shown = infer_parameters(graph)
    found = read_back(tmp_path, graph, declaration_text(graph, Declared(title=title), shown, called=title))
    plain = [view for view in shown if view.name.isprintable() and view.targets[0][2:].isprintable()]
    assert [key(view) for view in found.parameters] == [key(view) for view in plain]
    assert targets_for(graph, {}, {}, found.parameters).targets == {}
