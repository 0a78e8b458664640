"""The newest picture of a render under way: kept for its prompt, small, and no longer than somebody follows it."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from orchestrator_mcp.backends.backend import MOST_FRAME_BYTES, Backend
from orchestrator_mcp.backends.comfy import ComfyClient
from orchestrator_mcp.backends.messages import NodeProgressed, PreviewReceived, TextReceived
from orchestrator_mcp.settings import BackendSettings, LimitSettings, SchedulingSettings


@pytest.fixture
def backend() -> Iterator[Backend]:
    entry = BackendSettings(id="gpu0", name="gpu0", host="127.0.0.1", port=1)
    yield Backend(settings=entry, client=ComfyClient(entry, scheduling=SchedulingSettings(), limits=LimitSettings()))


def frame(image: bytes, prompt_id: str | None = "p") -> PreviewReceived:
    return PreviewReceived(media_type="image/jpeg", image=image, prompt_id=prompt_id, node="3")


async def test_only_the_newest_frame_is_kept_and_its_follower_hears_that_the_render_lives(backend: Backend) -> None:
    with backend.messages("p") as messages:
        backend.hear(frame(b"one"))
        backend.hear(frame(b"two"))
        kept = backend.preview("p")
        assert kept is not None and kept.image == b"two"
        with anyio.fail_after(5):
            heard = [await messages.receive(), await messages.receive()]
    assert heard == [frame(b""), frame(b"")]  # pictures do not pile up before a slow follower


async def test_a_frame_is_forgotten_when_nobody_follows_its_prompt_any_more(backend: Backend) -> None:
    with backend.messages("p"):
        backend.also_known_as("p", "drawn")
        backend.hear(frame(b"one", "drawn"))
        assert backend.preview("drawn") is not None
    backend.hear(frame(b"late", "drawn"))
    assert backend.preview("drawn") is None


async def test_a_frame_of_another_prompt_is_nobodys(backend: Backend) -> None:
    with backend.messages("p"):
        backend.hear(frame(b"one", "foreign"))
        assert backend.preview("foreign") is None and backend.preview("p") is None


async def test_a_frame_that_is_too_large_is_not_kept(backend: Backend) -> None:
    with backend.messages("p"):
        backend.hear(frame(b"small"))
        backend.hear(frame(bytes(MOST_FRAME_BYTES + 1)))
        kept = backend.preview("p")
    assert kept is not None and kept.image == b"small"


async def test_a_frame_that_does_not_say_whose_it_is_belongs_to_the_prompt_that_was_spoken_of(
    backend: Backend,
) -> None:
    with backend.messages("p"), backend.messages("q"):
        backend.hear(frame(b"early", None))
        backend.hear(NodeProgressed(prompt_id="q", node="3", value=1, maximum=4))
        backend.hear(TextReceived(node="3", text="hello", prompt_id="p"))
        backend.hear(frame(b"one", None))
        kept = backend.preview("q")
        assert kept is not None and kept.image == b"one" and backend.preview("p") is None
        backend.begin_to_listen()
        backend.hear(frame(b"two", None))
        assert backend.preview("q") == kept
