"""POST /v1/interactions: one interaction in, and what its sender is told."""

import asyncio
import gzip
import json
from collections import Counter
from uuid import uuid4

import asyncpg
import httpx
import pytest
import zstandard

from exchanges import check_problem, ids_at, journey_of, pointers, store
from support import Make

PATH = "/v1/interactions"


async def test_a_stored_interaction_is_at_its_location(client: httpx.AsyncClient, make: Make) -> None:
    sent = make(id="a", attributes={"n": 1.5})
    answer = await client.post(PATH, json=sent)
    assert answer.status_code == 201
    receipt = answer.json()
    assert receipt.keys() == {"status", "interaction_id", "customer_id", "received_at"}
    assert receipt["status"] == "stored"
    assert answer.headers["location"] == f"{PATH}/{receipt['interaction_id']}"
    found = (await client.get(answer.headers["location"])).json()
    assert {name: found[name] for name in sent} == sent
    assert found["received_at"] == receipt["received_at"]
    assert found["customer_id"] == receipt["customer_id"]


async def test_the_same_again_is_a_duplicate_and_names_the_stored_one(client: httpx.AsyncClient, make: Make) -> None:
    sent = make(id="a")
    [receipt] = await store(client, sent)
    again = await client.post(PATH, json=dict(reversed(sent.items())) | {"ended_at": None})
    assert again.status_code == 200
    assert again.json() == receipt | {"status": "duplicate"}
    assert "location" not in again.headers
    assert len(await ids_at(client, journey_of("email:anna@example.com"))) == 1


async def test_the_same_id_with_other_content_is_a_conflict_that_names_the_stored_one(
    client: httpx.AsyncClient, make: Make
) -> None:
    [receipt] = await store(client, make(id="a", text="one"))
    document = check_problem(await client.post(PATH, json=make(id="a", text="two")), 409, "conflict")
    assert document["interaction_id"] == receipt["interaction_id"]
    stored = (await client.get(f"{PATH}/{document['interaction_id']}")).json()
    assert stored["text"] == "one"


async def test_the_same_id_of_another_source_is_another_interaction(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(id="a", source="one"), make(id="a", source="two"))
    assert await ids_at(client, journey_of("email:anna@example.com")) == ["a", "a"]


async def test_one_interaction_sent_by_many_at_once_is_stored_once(client: httpx.AsyncClient, make: Make) -> None:
    sent = make(id="a")
    answers = await asyncio.gather(*(client.post(PATH, json=sent) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 19}
    assert len({answer.json()["interaction_id"] for answer in answers}) == 1


async def test_a_refused_interaction_is_in_quarantine_as_it_was_sent(client: httpx.AsyncClient, make: Make) -> None:
    body = json.dumps(make(id="bad", channel="fone", colour="red")).encode()
    document = check_problem(await client.post(PATH, content=body), 422, "rejected")
    assert pointers(document) == ["/channel"]
    assert "phone" in document["errors"][0]["detail"]
    item = (await client.get(f"/v1/rejected/{document['rejection_id']}")).json()
    assert item["payload"].encode() == body
    assert item["errors"] == document["errors"]
    assert (item["source"], item["id"], item["size"], item["truncated"]) == ("test", "bad", len(body), False)
    assert (await client.get("/v1/rejected")).json()["items"] == [item]


async def test_a_refusal_points_at_each_thing_to_mend(client: httpx.AsyncClient, make: Make) -> None:
    for members, wrong in (
        ({"customer": {}}, ["/customer"]),
        ({"customer": None}, ["/customer"]),
        ({"customer": {"email": ["anna@example.com", "nobody"]}}, ["/customer/email/1"]),
        ({"customer": {"a/b~c": "1"}}, ["/customer/a~1b~0c"]),
        ({"occurred_at": "2026-11-20T10:00:00"}, ["/occurred_at"]),
        ({"feedback": [{"metric": "csat", "score": 9, "min": 1, "max": 5}]}, ["/feedback/0/score"]),
        ({"details": {"duration_seconds": "long"}}, ["/details/duration_seconds"]),
        ({"source": "", "sentiment": {"score": 2}}, ["/sentiment/score", "/source"]),
    ):
        document = check_problem(await client.post(PATH, json=make(**members)), 422, "rejected")
        assert sorted(pointers(document)) == wrong


async def test_an_interaction_of_64_kib_is_taken_and_a_larger_one_is_not(client: httpx.AsyncClient, make: Make) -> None:
    def body(size: int) -> bytes:
        item = make(id=f"of-{size}", text="")
        item["text"] = "x" * (size - len(json.dumps(item)))
        return json.dumps(item).encode()

    assert (await client.post(PATH, content=body(65_536))).status_code == 201
    document = check_problem(await client.post(PATH, content=body(65_537)), 422, "rejected")
    assert "65536" in document["errors"][0]["detail"]
    kept = (await client.get(f"/v1/rejected/{document['rejection_id']}")).json()
    assert (kept["size"], kept["truncated"], kept["id"]) == (65_537, True, "of-65537")


async def test_without_id_and_time_both_are_assigned_and_can_be_found(client: httpx.AsyncClient, make: Make) -> None:
    one, two = await store(client, make(id=None, occurred_at=None), make(id=None, occurred_at=None))
    assert one["interaction_id"] != two["interaction_id"]
    found = (await client.get(f"{PATH}/{one['interaction_id']}")).json()
    assert found["occurred_at"] == found["received_at"] == one["received_at"]
    by_sender = await client.get(PATH, params={"source": "test", "id": found["id"]})
    assert by_sender.json()["items"] == [found]


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
async def test_a_compressed_interaction_is_read(
    client: httpx.AsyncClient, make: Make, encoding: str, compress: object
) -> None:
    assert callable(compress)
    body = compress(json.dumps(make()).encode())
    assert (await client.post(PATH, content=body, headers={"Content-Encoding": encoding})).status_code == 201


async def test_json_by_any_of_its_names_is_read(client: httpx.AsyncClient, make: Make) -> None:
    for kind in ("application/json", "application/vnd.crm+json; charset=utf-8", "", "APPLICATION/JSON"):
        body = json.dumps(make()).encode()
        assert (await client.post(PATH, content=body, headers={"Content-Type": kind})).status_code == 201


async def test_what_curl_sends_unless_told_otherwise_is_read(client: httpx.AsyncClient, make: Make) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await client.post(PATH, content=json.dumps(make()).encode(), headers=headers)).status_code == 201


async def test_another_content_type_is_refused_and_the_right_one_named(client: httpx.AsyncClient, make: Make) -> None:
    for kind in ("text/csv", "multipart/form-data; boundary=x", "application/x-ndjson", "json"):
        body = json.dumps(make()).encode()
        answer = await client.post(PATH, content=body, headers={"Content-Type": kind})
        assert "application/json" in check_problem(answer, 415, "unsupported_encoding")["detail"]
        assert (await client.get("/v1/rejected")).json()["items"] == []


async def test_another_content_encoding_is_refused(client: httpx.AsyncClient, make: Make) -> None:
    answer = await client.post(PATH, content=json.dumps(make()).encode(), headers={"Content-Encoding": "br"})
    check_problem(answer, 415, "unsupported_encoding")


async def test_a_body_over_the_cap_is_too_large_and_no_item_of_quarantine(client: httpx.AsyncClient) -> None:
    check_problem(await client.post(PATH, content=b"[" * (16 * 1024 * 1024 + 1)), 413, "body_too_large")
    assert (await client.get("/v1/rejected")).json()["items"] == []


async def test_what_was_deleted_does_not_come_back_when_it_is_sent_again(client: httpx.AsyncClient, make: Make) -> None:
    sent = make(id="a")
    [receipt] = await store(client, sent)
    assert (await client.delete(f"{PATH}/{receipt['interaction_id']}")).status_code == 204
    again = await client.post(PATH, json=sent)
    assert again.status_code == 200
    assert again.json() == receipt | {"status": "duplicate", "received_at": None}
    assert await ids_at(client, journey_of("email:anna@example.com")) == []


async def test_the_senders_id_may_hold_anything_that_can_be_written(client: httpx.AsyncClient, make: Make) -> None:
    for sender_id in ("a b", "ü/ö?#&=+%00", '"quoted"', "💥", "x" * 256, "\u200b", "null"):
        [receipt] = await store(client, make(id=sender_id))
        found = await client.get(PATH, params={"source": "test", "id": sender_id})
        assert [item["interaction_id"] for item in found.json()["items"]] == [receipt["interaction_id"]]


async def test_a_search_for_what_was_never_sent_finds_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH, params={"source": "test", "id": str(uuid4())})
    assert answer.json() == {"items": [], "next_cursor": None}


async def test_an_acknowledged_interaction_is_committed(
    client: httpx.AsyncClient, make: Make, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    [receipt] = await store(client, make())
    assert await database.fetchval("SELECT id::text FROM interactions") == receipt["interaction_id"]
