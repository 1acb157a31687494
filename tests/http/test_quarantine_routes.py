"""Quarantine: what was refused, and why."""

import json
from datetime import datetime, timedelta
from uuid import uuid4

import httpx

from exchanges import NDJSON, check_problem, items_at, pointers, walk
from support import Make, ndjson


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


async def test_refused_items_are_found_by_whatever_is_told_of_them(client: httpx.AsyncClient, make: Make) -> None:
    fone = make(channel="fone", source="one")
    rated = make(source="two", customer=None, feedback=[{"metric": "nps", "score": 9, "min": 0, "max": "ten"}])
    await refuse(client, *(json.dumps(each).encode() for each in (fone, rated)))
    event = {"specversion": "1.0", "id": "e", "source": "one", "type": "x.phone.call", "data": {"customer": {}}}
    headers = {"Content-Type": "application/cloudevents+json"}
    assert (await client.post("/v1/cloudevents", json=event, headers=headers)).status_code == 422
    for filters, expected in (
        ({"source": "one"}, ["e", fone["id"]]),
        ({"id": rated["id"]}, [rated["id"]]),
        ({"id": rated["id"], "source": "one"}, []),
        ({"format": "cloudevents"}, ["e"]),
        ({"channel": "phone"}, ["e", rated["id"]]),
        ({"reason": "unknown:/channel"}, [fone["id"]]),
        ({"reason": "unknown"}, [fone["id"]]),
        ({"reason": "unk"}, []),
        ({"pointer": "/feedback/0/max"}, [rated["id"]]),
        ({"pointer": "/feedback/*/max", "reason": "required"}, [rated["id"]]),
        ({"pointer": "/feedback"}, []),
        ({"state": "waiting"}, ["e", rated["id"], fone["id"]]),
        ({"state": "replayed"}, []),
        ({"source": "' OR true; --"}, []),
        ({"reason": "%"}, []),
    ):
        assert [item["id"] for item in await items_at(client, "/v1/rejected", **filters)] == expected, filters
    [item] = await items_at(client, "/v1/rejected", source="two")
    assert (item["channel"], item["state"]) == ("phone", "waiting")
    assert sorted(item["reasons"]) == ["required:/customer", "wrong_type:/feedback/*/max"]


async def test_refused_items_are_counted_by_reason_and_otherwise(client: httpx.AsyncClient, make: Make) -> None:
    lacking = [make(customer=None, source=f"s-{number % 2}") for number in range(3)]
    await refuse(client, *(json.dumps(each).encode() for each in lacking), b"[1]")
    await refuse(client, json.dumps(make(customer=None, text=[], occurred_at=7)).encode())

    async def counts(**params: str) -> list[tuple[str, int]]:
        found = (await client.get("/v1/rejected/counts", params=params)).json()
        assert (found["others"], found["counted_from"]) == (0, None)
        return [(group[found["by"]], group["items"]) for group in found["groups"]]

    assert (await counts())[0] == ("required:/customer", 4)
    assert dict(await counts()) == {
        "required:/customer": 4, "wrong_type:": 1, "wrong_type:/text": 1, "not_a_moment:/occurred_at": 1
    }  # fmt: skip
    assert await counts(source="s-1") == [("required:/customer", 1)]
    assert (await counts(by="pointer"))[0] == ("/customer", 4)
    assert dict(await counts(by="source")) == {"s-0": 2, "s-1": 1, "test": 1, None: 1}
    assert await counts(by="format") == [("native", 5)]
    assert await counts(by="state", reason="required") == [("waiting", 4)]
    assert dict(await counts(by="channel")) == {"phone": 4, None: 1}
    [(hour, number)] = await counts(by="hour")
    assert number == 5
    [item] = await items_at(client, "/v1/rejected", limit=1)
    assert hour[:13] == item["received_at"][:13]
    assert await counts(to="2020-01-01T00:00:00Z") == []
    document = check_problem(await client.get("/v1/rejected/counts?by=customer"), 422, "invalid_request")
    assert pointers(document) == ["/query/by"]


async def test_an_unknown_item_is_not_found_and_bad_parameters_are_pointed_at(client: httpx.AsyncClient) -> None:
    check_problem(await client.get(f"/v1/rejected/{uuid4()}"), 404, "not_found")
    assert pointers(check_problem(await client.get("/v1/rejected/1"), 422, "invalid_request")) == ["/path/rejection_id"]
    for query, wrong in (
        ("from=now", "from"),
        ("from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "to"),
        ("cursor=x", "cursor"),
        ("limit=0", "limit"),
        ("colour=red", "colour"),
        ("state=open", "state"),
        ("channel=fone", "channel"),
        ("format=NATIVE", "format"),
        (f"reason={'x' * 161}", "reason"),
        (f"pointer={'x' * 1025}", "pointer"),
        ("source=a%00", "source"),
    ):
        document = check_problem(await client.get(f"/v1/rejected?{query}"), 422, "invalid_request")
        assert pointers(document) == [f"/query/{wrong}"]
