"""The traceparent of a request stays with what it stored, and is never a reason to refuse anything."""

import json
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client import REGISTRY

from exchanges import NDJSON, items_at, journey_of, store
from support import Make, ndjson

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-00"
ANNA = journey_of("email:anna@example.com")


async def test_it_is_read_with_the_interaction_alone_and_in_the_journey(client: httpx.AsyncClient, make: Make) -> None:
    event = make()
    answer = await client.post("/v1/interactions", json=event, headers={"traceparent": TRACE})
    where = answer.headers["location"]
    assert (await client.get(where)).json()["traceparent"] == TRACE
    for details in (True, False):
        [item] = await items_at(client, ANNA, details=details)
        assert item["traceparent"] == TRACE
    [item] = await items_at(client, "/v1/interactions", source=event["source"], id=event["id"])
    assert item["traceparent"] == TRACE
    await client.patch(where, json={"status": "completed"}, headers={"traceparent": OTHER})
    changed = (await client.get(where)).json()
    assert (changed["status"], changed["traceparent"]) == ("completed", TRACE)


async def test_what_is_kept_as_the_document_is_still_what_was_sent_byte_for_byte(
    client: httpx.AsyncClient, make: Make, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    body = json.dumps(make(), indent=3).encode()
    headers = {"traceparent": TRACE, "content-type": "application/json"}
    assert (await client.post("/v1/interactions", content=body, headers=headers)).status_code == 201
    [row] = await database.fetch("SELECT document::text AS document, traceparent FROM interactions")
    assert (row["document"].encode(), row["traceparent"]) == (body, TRACE)


async def test_without_one_the_answer_has_none(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    [item] = await items_at(client, ANNA)
    assert "traceparent" not in item


async def test_a_repetition_with_another_one_is_a_duplicate_and_the_first_stays(
    client: httpx.AsyncClient, make: Make
) -> None:
    event = make()
    for trace, status in ((TRACE, "stored"), (OTHER, "duplicate"), (None, "duplicate")):
        headers = {} if trace is None else {"traceparent": trace}
        answer = await client.post("/v1/interactions", json=event, headers=headers)
        assert answer.json()["status"] == status
    [item] = await items_at(client, ANNA)
    assert item["traceparent"] == TRACE


@pytest.mark.parametrize("lines", [2, 700])
async def test_a_batch_shares_that_of_its_request_however_it_is_stored(
    client: httpx.AsyncClient, make: Make, database: "asyncpg.Connection[asyncpg.Record]", lines: int
) -> None:
    body = ndjson(*(make() for _ in range(lines)))
    answer = await client.post("/v1/interactions/batch", content=body, headers=NDJSON | {"traceparent": TRACE})
    assert answer.json()["stored"] == lines
    rows = await database.fetch("SELECT traceparent, count(*) FROM interactions GROUP BY 1")
    assert [tuple(row) for row in rows] == [(TRACE, lines)]


async def test_of_an_event_its_own_stays_in_the_envelope_and_the_requests_beside_it(client: httpx.AsyncClient) -> None:
    event: dict[str, Any] = {
        "specversion": "1.0", "source": "shop", "id": "1", "type": "phone.call", "traceparent": OTHER,
        "subject": "email:anna@example.com", "time": "2026-03-01T10:00:00Z",
    }  # fmt: skip
    headers = {"content-type": "application/cloudevents+json", "traceparent": TRACE}
    answer = await client.post("/v1/cloudevents", content=json.dumps(event), headers=headers)
    assert answer.is_success, answer.text
    [item] = await items_at(client, ANNA)
    assert item["traceparent"] == TRACE
    assert item["source_fields"]["cloudevents"]["traceparent"] == OTHER


@pytest.mark.parametrize(
    "value",
    [
        "",
        "anna",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        TRACE + "-more",
        TRACE + "0",
        "x" * 5000,
    ],
)
async def test_one_that_is_not_as_w3c_has_it_is_as_none(client: httpx.AsyncClient, make: Make, value: str) -> None:
    answer = await client.post("/v1/interactions", json=make(), headers={"traceparent": value})
    assert answer.status_code == 201
    [item] = await items_at(client, ANNA)
    assert "traceparent" not in item


async def test_two_are_as_none_and_a_later_version_may_say_more(client: httpx.AsyncClient, make: Make) -> None:
    twice = httpx.Headers([("traceparent", TRACE), ("traceparent", OTHER)])
    await client.post("/v1/interactions", json=make(), headers=twice)
    later = TRACE.replace("00-", "01-", 1)
    await client.post("/v1/interactions", json=make(), headers={"traceparent": f"{later}-what-comes"})
    assert [item.get("traceparent") for item in await items_at(client, ANNA)] == [later, None]


async def test_it_is_exported_with_all_that_is_held(client: httpx.AsyncClient, make: Make) -> None:
    await client.post("/v1/interactions", json=make(), headers={"traceparent": TRACE})
    held = (await client.get(ANNA.replace("/journey", "/export"))).json()
    assert [each["traceparent"] for each in held["interactions"]] == [TRACE]


async def test_bytes_batches_and_reasons_are_counted(client: httpx.AsyncClient, make: Make) -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    def now() -> list[float]:
        codes = ("identifier", "not_a_moment", "wrong_type", "not_allowed")
        reasons = [value("percorso_rejected_total", reason=each) for each in codes]
        return [value("percorso_taken_bytes_total"), value("percorso_batch_items_sum"), *reasons]

    before = now()
    good = make()
    bad = [make(customer={"email": "no address"}), make(occurred_at="yesterday"), "nothing", make(kind="No Slug")]
    answer = await client.post("/v1/interactions/batch", json=[good, *bad])
    assert answer.json()["rejected"] == 4, answer.text
    rises = [after - first for after, first in zip(now(), before, strict=True)]
    assert rises[1:] == [5, 1, 1, 1, 1]
    assert rises[0] == sum(len(json.dumps(each, separators=(",", ":"), ensure_ascii=False)) for each in [good, *bad])
