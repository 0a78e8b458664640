"""Names that nobody declared: titles of nodes, and the spellings of other clients."""

from __future__ import annotations

import pytest

from orchestrator_mcp.workflows.parameters import infer_parameters
from orchestrator_mcp.workflows.titles import titled
from tests.workflows.binding import bind, bind_exact, made, refused
from tests.workflows.graphs import node, text_to_image


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("positive_prompt", "6.text"),
        ("negative_prompt", "7.text"),
        ("cfg_scale", "3.cfg"),
        ("positive_prompt_6", "6.text"),
        ("prompt_6", "6.text"),
        ("text_7", "7.text"),
        ("cfg_scale_3", "3.cfg"),
        ("steps_3", "3.steps"),
        ("seed_3", "3.seed"),
    ],
)
def test_a_name_is_taken_as_other_clients_spell_it(name: str, target: str) -> None:
    value = 3 if target.startswith("3.") else "x"
    assert bind_exact(text_to_image(), {name: value}).targets == {name: [target]}


@pytest.mark.parametrize("name", ["text_3", "steps_6", "nonsense_3", "_3", "3_3", "a_" * 200 + "3"])
def test_an_id_behind_a_name_that_the_node_does_not_have_is_refused(name: str) -> None:
    assert refused(text_to_image(), {name: 3}).code == "unknown_parameter"


def test_a_linked_input_with_its_node_behind_it_is_never_replaced() -> None:
    assert refused(text_to_image(), {"model_3": "x"}).code == "linked"


def test_an_input_whose_name_ends_in_a_node_id_keeps_its_own_name() -> None:
    graph = text_to_image(_11=node("Custom", clip_name_3="a.safetensors"))
    assert bind(graph, clip_name_3="b.safetensors").targets == {"clip_name_3": ["11.clip_name_3"]}


def test_a_title_of_plain_words_is_a_name() -> None:
    graph = text_to_image(_11=node("Blur", "Softness of the Sky", radius=3, image=["8", 0]))
    assert made(graph, bind(graph, softness_of_the_sky=5))["11"]["inputs"]["radius"] == 5
    assert "softness_of_the_sky" in {view.name for view in infer_parameters(graph)}
    assert "radius" not in {view.name for view in infer_parameters(graph)}


def test_a_title_tells_two_prompts_apart() -> None:
    graph = text_to_image(
        _10=node("CLIPTextEncode", "Style Prompt", text="oil", clip=["4", 1]),
        _6=node("CLIPTextEncode", "Positive Prompt", text="a cat", clip=["4", 1]),
        _12=node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["10", 0]),
    )
    graph["3"]["inputs"]["positive"] = ["12", 0]
    assert refused(graph, {"prompt": "x"}).code == "ambiguous"
    assert bind(graph, positive_prompt="x").targets == {"positive_prompt": ["6.text"]}
    assert bind(graph, style_prompt="x").targets == {"style_prompt": ["10.text"]}


@pytest.mark.parametrize(
    "changed",
    [
        {"_11": node("Blur", "Sky (soft)", radius=3)},
        {"_11": node("Blur", "Sky", radius=3, sigma=1)},
        {"_11": node("Blur", "Sky", image=["8", 0])},
        {"_11": node("Blur", "Sky", radius=3), "_12": node("Blur", "sky", radius=4)},
        {"_11": node("ImageBlur", "Image Blur", radius=3)},
        {"_11": node("Blur", "Sky " * 30, radius=3)},
        {"_11": node("Blur", "Sky", radius=[1, 2, 3])},
    ],
)
def test_a_title_that_leaves_a_doubt_is_none(changed: dict[str, object]) -> None:
    found = titled(text_to_image(**changed))  # type: ignore[arg-type]
    assert {target.node for target in found.values()} <= {"6", "7", "4"}


def test_the_usual_names_stay_in_front_of_titles() -> None:
    names = [view.name for view in infer_parameters(text_to_image())]
    assert names[:3] == ["prompt", "negative_prompt", "seed"]
    assert "positive" not in names
