"""Quarantine: what was refused, and why."""

from datetime import datetime, timedelta
from uuid import uuid4

import httpx

from exchanges import NDJSON, check_problem, items_at, pointers, walk
from support import ndjson


async def refuse(client: httpx.AsyncClient, *bodies: bytes) -> None:
    for body in bodies:
        assert (await client.post("/v1/interactions", content=body)).status_code == 422


async def test_refused_items_are_listed_newest_first_and_paged(client: httpx.AsyncClient) -> None:
    await refuse(client, *(b'{"source": "s", "id": "%d"}' % number for number in range(7)))
    pages = [page async for page in walk(client, "/v1/rejected", limit=3)]
    assert [len(page) for page in pages] == [3, 3, 1]
    items = [item for page in pages for item in page]
    received = [item["received_at"] for item in items]
    assert received == sorted(received, reverse=True)
    assert {item["id"] for item in items} == {str(number) for number in range(7)}
    for item in items:
        one = await client.get(f"/v1/rejected/{item['rejection_id']}")
        assert one.json() == item
        assert "/channel" in pointers(item)
    again = await client.get(f"/v1/rejected/{items[0]['rejection_id']}", headers={"If-None-Match": one.headers["etag"]})
    assert again.status_code == 200


async def test_refused_items_are_found_by_source_and_time_of_receipt(client: httpx.AsyncClient) -> None:
    await refuse(client, b'{"source": "one"}', b'{"source": "two"}', b"nonsense")
    assert [item["source"] for item in await items_at(client, "/v1/rejected", source="two")] == ["two"]
    assert len(await items_at(client, "/v1/rejected")) == 3
    [item] = await items_at(client, "/v1/rejected", source="one")
    at = datetime.fromisoformat(item["received_at"])
    after = (at + timedelta(milliseconds=1)).isoformat()
    assert await items_at(client, "/v1/rejected", source="one", **{"from": item["received_at"], "to": after}) == [item]
    assert await items_at(client, "/v1/rejected", source="one", to=item["received_at"]) == []
    assert await items_at(client, "/v1/rejected", source="one", **{"from": after}) == []


async def test_a_payload_comes_back_byte_for_byte_whatever_it_is(client: httpx.AsyncClient) -> None:
    await refuse(client, "è così".encode())
    [text] = await items_at(client, "/v1/rejected")
    assert (text["payload"], text["payload_encoding"], text["size"]) == ("è così", "utf-8", 8)
    await refuse(client, b"\xff\x00\xfe")
    [binary, _] = await items_at(client, "/v1/rejected")
    assert (binary["payload"], binary["payload_encoding"]) == ("/wD+", "base64")
    assert (binary["source"], binary["id"]) == (None, None)


async def test_a_source_and_an_id_that_the_database_could_not_hold_do_no_harm(client: httpx.AsyncClient) -> None:
    await refuse(client, b'{"source": "a\\u0000b", "id": 7}', b'{"source": "\\ud800", "id": "' + b"x" * 10_000 + b'"}')
    second, first = await items_at(client, "/v1/rejected")
    assert "\0" not in first["source"]
    assert first["id"] is None
    assert second["source"] is None or "\ud800" not in second["source"]


async def test_each_rejection_of_a_batch_has_its_own_item(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/interactions/batch", content=ndjson(*({"source": f"s-{n}"} for n in range(5))), headers=NDJSON
    )
    for result in answer.json()["results"]:
        item = (await client.get(f"/v1/rejected/{result['rejection_id']}")).json()
        assert item["source"] == f"s-{result['index']}"
        assert item["errors"] == result["errors"]


async def test_an_unknown_item_is_not_found_and_bad_parameters_are_pointed_at(client: httpx.AsyncClient) -> None:
    check_problem(await client.get(f"/v1/rejected/{uuid4()}"), 404, "not_found")
    assert pointers(check_problem(await client.get("/v1/rejected/1"), 422, "invalid_request")) == ["/path/rejection_id"]
    for query, wrong in (("from=now", "from"), ("cursor=x", "cursor"), ("limit=0", "limit"), ("colour=red", "colour")):
        document = check_problem(await client.get(f"/v1/rejected?{query}"), 422, "invalid_request")
        assert pointers(document) == [f"/query/{wrong}"]
