"""Bodies that are files: their sizes, their names, and what is left of them."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator_mcp.doors.http import BodyLimits
from tests.doors.http.farm import ServiceDouble
from tests.doors.http.served import served
from tests.pages import GRAPH, page, picture

MOST = 100_000
LIMITS = BodyLimits(document=20_000, upload=MOST)


@pytest.fixture
async def small(farm: ServiceDouble) -> AsyncIterator[httpx.AsyncClient]:
    async with served(farm, limits=lambda: LIMITS) as client:
        yield client


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 7_000):
        yield content[start : start + 7_000]


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("form", [True, False])
async def test_a_file_over_the_limit_is_refused_whether_it_says_its_length_or_not(
    small: httpx.AsyncClient, farm: ServiceDouble, declared: bool, form: bool
) -> None:
    content = picture(prompt=GRAPH) + bytes(MOST)
    request = httpx.Request("POST", "http://x", files={"workflow": ("a.png", content)})
    body = request.read() if form else content
    media_type = request.headers["content-type"] if form else "image/png"
    sent: Any = body if declared else in_pieces(body)
    response = await small.post("/api/job", content=sent, headers={"Content-Type": media_type})
    assert response.status_code == 413
    assert "limits.upload_bytes" in response.json()["hint"]
    assert farm.submitted == []


async def test_a_large_picture_is_taken_and_only_its_texts_count_for_the_limit_of_documents(
    small: httpx.AsyncClient, farm: ServiceDouble
) -> None:
    content = picture(prompt=GRAPH) + bytes(MOST - 5_000)
    response = await small.post("/api/job", content=content, headers={"Content-Type": "image/png"})
    assert response.status_code == 202, response.text
    assert farm.submitted[0].manifest.workflow == GRAPH

    long = {**GRAPH, "3": {"class_type": "A", "inputs": {"x": "y" * 30_000}}}
    response = await small.post(
        "/api/job", content=picture(prompt=long), headers={"Content-Type": "application/octet-stream"}
    )
    assert response.status_code == 422
    response = await small.post(
        "/api/job", content=json.dumps(long), headers={"Content-Type": "application/octet-stream"}
    )
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("night train.png", "night train"),
        ("C:\\shots\\a.b.png", "a.b"),
        ("../../etc/passwd.png", "passwd"),
        ("x" * 500 + ".png", "x" * 200),
        ("line\nbreak.png", None),
        (".png", None),
        ("plain", None),
    ],
)
async def test_the_name_of_a_file_is_a_label_and_nothing_else(
    client: httpx.AsyncClient, farm: ServiceDouble, name: str, label: str | None
) -> None:
    response = await client.post("/api/job", files={"workflow": (name, picture(workflow=page()), "image/png")})
    assert response.status_code == 202, response.text
    found = farm.submitted[0].manifest.workflow_id
    assert found == label or (label is None and (found is None or found.isprintable()))


async def test_a_key_of_the_header_holds_for_files_too(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    headers = {"Idempotency-Key": "k1"}
    files = {"workflow": ("a.png", picture(prompt=GRAPH))}
    data = {"manifest": json.dumps({"idempotency_key": "k2"})}
    assert (await client.post("/api/job", files=files, headers=headers)).status_code == 202
    assert farm.submitted[0].manifest.idempotency_key == "k1"
    assert (await client.post("/api/job", files=files, data=data, headers=headers)).status_code == 422


async def test_what_a_picture_could_not_tell_is_among_the_warnings(
    client: httpx.AsyncClient, farm: ServiceDouble
) -> None:
    content = picture(prompt='{"1": {"class_type": "A", "inputs": {"x": NaN}}}', workflow=page())
    assert (await client.post("/api/job", content=content, headers={"Content-Type": "image/png"})).status_code == 202
    assert farm.submitted[0].manifest.workflow == page()
    assert "NaN" in " ".join(farm.submitted[0].warnings)


async def test_no_temporary_file_stays_behind(
    client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    content = picture(prompt=GRAPH) + bytes(3 << 20)
    for request in ({"content": content, "headers": {"Content-Type": "image/png"}}, {"files": {"workflow": content}}):
        assert (await client.post("/api/job", **request)).status_code == 202
    assert os.listdir(folder) == []
