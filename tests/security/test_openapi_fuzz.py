"""Every operation of the OpenAPI document, fuzzed against a live server: promises hold, and nothing breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from orchestrator_mcp import __version__
from orchestrator_mcp.doors.http.openapi import openapi_document
from tests.security.guarded import TOKENS, guarded

EXAMPLES = 15  # of each operation; one documented command runs more
STREAMS = {"stream_job", "job_events", "stream_batch", "batch_events"}  # they last as long as their job

TOLD_OTHERWISE: dict[str, list[Any]] = {
    # Whether a graph fits its parameters is more than a schema can say: 422 is an answer that any manifest may get.
    "/api/job": [positive_data_acceptance],
    # And whether bytes are a picture.
    "/api/assets": [positive_data_acceptance],
    # The same of its changes; and a key in the header and another in the body are refused.
    "/api/job/{job_id}/rerun": [positive_data_acceptance],
    # An empty filter is none, and several states may stand with commas between.
    "/api/jobs": [negative_data_rejection],
    "/api/batches": [negative_data_rejection],
}
schemathesis.serializer.alias("video/mp4", "application/octet-stream")
schema = schemathesis.openapi.from_dict(openapi_document(__version__)).exclude(operation_id=sorted(STREAMS))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A whole orchestrator, in a thread of its own."""
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(guarded(folder)) as farm,
    ):
        yield farm.url


# The server lives in this process: a ping of one of its WebSockets draws a number while a case is drawn.
@pytest.mark.filterwarnings("ignore:Do not use the .random. module:hypothesis.errors.HypothesisDeprecationWarning")
@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation_keeps_its_promises(case: Any, url: str) -> None:
    headers = {"Authorization": f"Bearer {TOKENS['boss']}"}
    case.call_and_validate(base_url=url, headers=headers, excluded_checks=TOLD_OTHERWISE.get(case.operation.path, []))
