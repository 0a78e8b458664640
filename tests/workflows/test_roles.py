"""What plain names mean: followed from the sampler through the links, as a person would."""

from __future__ import annotations

import pytest

from tests.workflows.binding import bind, made, refused
from tests.workflows.graphs import node, sampler, text_to_image


def test_the_prompt_is_found_through_what_lies_between_encoder_and_sampler() -> None:
    graph = text_to_image(
        _3=sampler(positive=["20", 0], negative=["20", 1]),
        _20=node("ControlNetApplyAdvanced", positive=["21", 0], negative=["7", 0], strength=1),
        _21=node("FluxGuidance", conditioning=["22", 0], guidance=3.5),
        _22=node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["23", 0]),
        _23=node("CLIPTextEncode", text="a cat", clip=["4", 1]),
    )
    assert bind(graph, prompt="x", negative_prompt="y").targets == {
        "prompt": ["6.text", "23.text"],
        "negative_prompt": ["7.text"],
    }


def test_the_prompt_is_found_through_a_guider() -> None:
    graph = text_to_image(
        _3=node("SamplerCustomAdvanced", guider=["20", 0], latent_image=["5", 0]),
        _20=node("BasicGuider", conditioning=["6", 0], model=["4", 0]),
    )
    assert bind(graph, prompt="x").targets == {"prompt": ["6.text"]}
    assert refused(graph, {"negative_prompt": "x"}).code == "unknown_parameter"


@pytest.mark.parametrize(
    ("class_type", "fields"),
    [("CLIPTextEncodeSDXL", ("text_g", "text_l")), ("CLIPTextEncodeFlux", ("clip_l", "t5xxl"))],
)
def test_an_encoder_with_several_texts_takes_the_prompt_in_each(class_type: str, fields: tuple[str, str]) -> None:
    encoder = node(class_type, clip=["4", 1], **{fields[0]: "", fields[1]: "a long text"})
    bound = bind(text_to_image(_6=encoder), prompt="x")
    assert bound.targets == {"prompt": [f"6.{field}" for field in fields]}


def test_a_zeroed_conditioning_has_no_text() -> None:
    graph = text_to_image(_3=sampler(negative=["20", 0]), _20=node("ConditioningZeroOut", conditioning=["6", 0]))
    problem = refused(graph, {"negative_prompt": "x"})
    assert problem.code == "linked"
    assert "ConditioningZeroOut" in problem.message


def test_the_text_of_a_region_is_not_the_prompt() -> None:
    region = node("GLIGENTextBoxApply", conditioning_to=["6", 0], clip=["4", 1], text="a dog", width=8)
    graph = text_to_image(_3=sampler(positive=["20", 0]), _20=region)
    assert bind(graph, prompt="x").targets == {"prompt": ["6.text"]}


def test_two_prompts_that_differ_are_refused_with_both() -> None:
    graph = text_to_image(
        _13=sampler(positive=["20", 0]), _20=node("CLIPTextEncode", "Refiner text", text="detail", clip=["4", 1])
    )
    problem = refused(graph, {"prompt": "x"})
    assert problem.code == "ambiguous"
    assert problem.allowed == ("6.text", "20.text")
    assert "Refiner text" in problem.message


def test_a_prompt_that_a_primitive_holds_is_set_there() -> None:
    graph = text_to_image(
        _6=node("CLIPTextEncode", text=["20", 0], clip=["4", 1]), _20=node("PrimitiveStringMultiline", value="a cat")
    )
    bound = bind(graph, prompt="x")
    assert bound.targets == {"prompt": ["20.value"]}
    assert made(graph, bound)["6"]["inputs"]["text"] == ["20", 0]


def test_a_primitive_that_also_feeds_something_else_is_left_alone() -> None:
    graph = text_to_image(
        _6=node("CLIPTextEncode", text=["20", 0], clip=["4", 1]),
        _9=node("SaveImage", filename_prefix=["20", 0], images=["8", 0]),
        _20=node("PrimitiveString", value="a cat"),
    )
    problem = refused(graph, {"prompt": "x"})
    assert problem.code == "linked"
    assert problem.allowed == ("20.value",)


def test_a_text_that_is_computed_is_refused_with_the_nodes_own_inputs() -> None:
    graph = text_to_image(
        _6=node("CLIPTextEncode", text=["20", 0], clip=["4", 1]),
        _20=node("StringConcatenate", string_a="a", string_b="b", delimiter=", "),
    )
    assert "20.string_a" in refused(graph, {"prompt": "x"}).allowed


def test_a_text_that_the_prompt_does_not_reach_is_told() -> None:
    graph = text_to_image(
        _13=sampler(positive=["21", 0]),
        _20=node("StringConcatenate", string_a="a", string_b="b", delimiter=", "),
        _21=node("CLIPTextEncode", text=["20", 0], clip=["4", 1]),
    )
    bound = bind(graph, prompt="x")
    assert bound.targets == {"prompt": ["6.text"]}
    assert any('"21.text"' in warning for warning in bound.warnings)


def test_without_a_sampler_titles_tell_the_prompts_apart() -> None:
    graph = {name: text_to_image()[name] for name in ("4", "6", "7")}
    assert bind(graph, prompt="x", negative_prompt="y").targets == {
        "prompt": ["6.text"],
        "negative_prompt": ["7.text"],
    }


def test_a_node_with_its_own_prompt_needs_no_sampler() -> None:
    graph = {"1": node("ImageService", prompt="a", negative_prompt="b"), "2": node("Save", images=["1", 0])}
    assert bind(graph, prompt="x", negative_prompt="y").targets["prompt"] == ["1.prompt"]
    assert bind({"1": node("VideoService", prompt_text="a")}, prompt="x").targets == {"prompt": ["1.prompt_text"]}


def test_the_size_is_that_of_the_empty_latent_that_feeds_the_sampler() -> None:
    graph = text_to_image(
        _13=sampler(latent_image=["20", 0]),
        _20=node("LatentUpscale", samples=["3", 0], width=1024, height=1024),
        _21=node("ImageScale", image=["8", 0], width=99, height=99),
    )
    assert bind(graph, width=64).targets == {"width": ["5.width"]}


def test_without_an_empty_latent_the_one_input_of_that_name_is_the_size() -> None:
    graph = text_to_image(
        _3=sampler(latent_image=["5", 0]),
        _5=node("VAEEncode", pixels=["20", 0], vae=["4", 2]),
        _20=node("ImageScale", image=["21", 0], width=99, height=98),
        _21=node("LoadImage", image="x.png"),
    )
    assert bind(graph, width=64).targets == {"width": ["20.width"]}
