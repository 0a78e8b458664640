"""The bytes of an output."""

from __future__ import annotations

import httpx
import pytest

from orchestrator_mcp.doors.http.outputs import PART
from tests.doors.http.farm import JOB, SHA, ServiceDouble

CONTENT = bytes(range(256)) * 1000


def address(name: str = "shot_9_01.png") -> str:
    return f"/api/job/{JOB}/outputs/{name}"


@pytest.fixture(autouse=True)
def picture(farm: ServiceDouble) -> None:
    farm.add_file("shot_9_01.png", CONTENT)


async def test_the_whole_file_comes_with_its_hash_as_etag(client: httpx.AsyncClient) -> None:
    response = await client.get(address())

    assert (response.status_code, response.content) == (200, CONTENT)
    assert response.headers["etag"] == f'"{SHA}"'
    assert response.headers["content-type"] == "image/png"
    assert response.headers["content-length"] == str(len(CONTENT))
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "sandbox"
    assert response.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert response.headers["content-disposition"] == 'inline; filename="shot_9_01.png"'


async def test_a_file_that_is_larger_than_one_reading_comes_whole(
    client: httpx.AsyncClient, farm: ServiceDouble
) -> None:
    content = CONTENT * (2 * PART // len(CONTENT) + 1)
    farm.add_file("film.mp4", content)
    response = await client.get(address("film.mp4"))
    assert (response.status_code, response.content) == (200, content)
    assert response.headers["content-length"] == str(len(content))


async def test_head_has_the_headers_alone(client: httpx.AsyncClient) -> None:
    response = await client.head(address())
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(len(CONTENT))


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("bytes=0-99", 0, 99), ("bytes=100-", 100, len(CONTENT) - 1), ("bytes=-10", len(CONTENT) - 10, len(CONTENT) - 1)],
)
async def test_a_range_is_served_in_part(client: httpx.AsyncClient, wanted: str, first: int, last: int) -> None:
    response = await client.get(address(), headers={"Range": wanted})

    assert (response.status_code, response.content) == (206, CONTENT[first : last + 1])
    assert response.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"


@pytest.mark.parametrize("wanted", ["bytes=256000-", "bytes=999999-1000000", "bytes=-0"])
async def test_a_range_beyond_the_end_is_refused(client: httpx.AsyncClient, wanted: str) -> None:
    response = await client.get(address(), headers={"Range": wanted})

    assert (response.status_code, response.json()["code"]) == (416, "range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize(
    "wanted", ["bytes=5-1", "lines=0-9", "bytes=", "bytes=a-b", "nonsense", "bytes=0-1,3-4", "bytes=0-" + "9" * 30]
)
async def test_a_range_that_makes_no_sense_is_ignored(client: httpx.AsyncClient, wanted: str) -> None:
    response = await client.get(address(), headers={"Range": wanted})
    assert (response.status_code, response.content) == (200, CONTENT)


async def test_a_range_of_another_version_gets_the_whole_file(client: httpx.AsyncClient) -> None:
    response = await client.get(address(), headers={"Range": "bytes=0-9", "If-Range": '"old"'})
    assert response.status_code == 200
    response = await client.get(address(), headers={"Range": "bytes=0-9", "If-Range": f'"{SHA}"'})
    assert (response.status_code, response.content) == (206, CONTENT[:10])
    response = await client.get(address(), headers={"Range": "bytes=256000-", "If-Range": '"old"'})
    assert (response.status_code, response.content) == (200, CONTENT)


@pytest.mark.parametrize("wanted", ["bytes=0-9", "bytes=256000-"])
async def test_a_range_means_nothing_without_get(client: httpx.AsyncClient, wanted: str) -> None:
    response = await client.head(address(), headers={"Range": wanted})
    assert (response.status_code, response.headers["content-length"]) == (200, str(len(CONTENT)))


@pytest.mark.parametrize("known", [f'"{SHA}"', f'W/"{SHA}"', f'"other", "{SHA}"', "*"])
async def test_what_the_caller_has_is_not_sent_again(client: httpx.AsyncClient, known: str) -> None:
    response = await client.get(address(), headers={"If-None-Match": known, "Range": "bytes=0-9"})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == f'"{SHA}"'


@pytest.mark.parametrize(
    ("media_type", "place"),
    [
        ("image/png", "inline"),
        ("video/mp4", "inline"),
        ("image/svg+xml", "attachment"),
        ("text/html", "attachment"),
        ("application/octet-stream", "attachment"),
    ],
)
async def test_only_pictures_and_video_are_shown_in_place(
    client: httpx.AsyncClient, farm: ServiceDouble, media_type: str, place: str
) -> None:
    farm.add_file("shot_9_02.bin", b"<script>", media_type)
    response = await client.get(address("shot_9_02.bin"))
    assert response.headers["content-disposition"].startswith(f"{place}; ")


async def test_a_name_beyond_ascii_is_told_as_the_standard_says(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    farm.add_file("Straße 1.png", b"x")
    response = await client.get(address("Stra%C3%9Fe%201.png"))
    assert response.headers["content-disposition"] == "inline; filename*=utf-8''Stra%C3%9Fe%201.png"


@pytest.mark.parametrize("name", ["nope.png", "..%2f..%2fetc%2fpasswd", "%00", "..%5c.."])
async def test_names_that_are_not_outputs_are_404(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(address(name))).status_code == 404


async def test_a_file_that_is_gone_from_the_disk_is_404(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    (farm.folder / "artifact-0").unlink()
    response = await client.get(address())
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_an_empty_file_is_served(client: httpx.AsyncClient, farm: ServiceDouble) -> None:
    farm.add_file("empty.txt", b"", "text/plain")
    response = await client.get(address("empty.txt"))
    assert (response.status_code, response.content) == (200, b"")
    assert (await client.get(address("empty.txt"), headers={"Range": "bytes=0-"})).status_code == 416
    assert (await client.get(address("empty.txt"), headers={"Range": "bytes=-5"})).status_code == 416
