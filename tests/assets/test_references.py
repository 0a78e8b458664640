from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_mcp.domain.references import AssetReference, JobReference, PathReference, parse_reference

SHA = "5f2b0a7d6f0e4b5f9d3e7c1a2b4d6f8091a3c5e7092b4d6f81a3c5e7f9b1d3e5"
JOB = "019ab0c4-8e6f-7a31-9c1d-5f0e2b7a6c42"


@pytest.mark.parametrize("text", [f"asset:{SHA}", f"asset:{SHA.upper()}", f"asset:{SHA}.png"])
def test_an_asset_is_named_by_its_hash(text: str) -> None:
    assert parse_reference(text) == AssetReference(sha256=SHA)


@pytest.mark.parametrize("text", [SHA, f"{SHA}.png"])
def test_a_bare_hash_may_be_an_asset_or_a_file_of_the_backend(text: str) -> None:
    assert parse_reference(text) == AssetReference(sha256=SHA, certain=False)


def test_an_output_of_a_job_is_named_by_job_and_name() -> None:
    assert parse_reference(f"job:{JOB}/shot_9_01.png") == JobReference(job_id=JOB, name="shot_9_01.png")
    assert parse_reference(f"job:{JOB.upper()}") == JobReference(job_id=JOB)


@pytest.mark.parametrize(
    "text",
    ["asset:", "asset:abc", f"asset:{SHA}/x", "job:", "job:42", f"job:{JOB}/", f"job:{JOB}/a/b", f"job:{{{JOB}}}"],
)
def test_what_begins_like_a_reference_and_is_none_is_told_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="come"):
        parse_reference(text)


@pytest.mark.parametrize("path", ["/srv/a.png", "C:\\a.png", "c:/a.png", "C:a.png", "\\\\server\\share\\a.png", "\\a"])
def test_paths_that_name_their_place_from_the_top_are_absolute_on_every_system(path: str) -> None:
    assert parse_reference(path) == PathReference(path=path, absolute=True)


def test_relative_paths_have_parts_by_either_slash() -> None:
    found = parse_reference("refs\\./faces/a b.png")
    assert isinstance(found, PathReference) and not found.absolute
    assert found.parts == ("refs", "faces", "a b.png")


@pytest.mark.parametrize("value", [None, 3, "", ["1", 0], {"base64": ""}, "a\nb", "x.png [output]", "x" * 5000])
def test_what_can_only_be_a_value_of_the_backend_is_no_reference(value: object) -> None:
    assert parse_reference(value) is None


@given(st.text(max_size=200))
def test_no_text_makes_it_fail_but_with_words(text: str) -> None:
    try:
        found = parse_reference(text)
    except ValueError as error:
        assert str(error).startswith("after `")
    else:
        assert not (isinstance(found, PathReference) and text.startswith(("asset:", "job:")))
