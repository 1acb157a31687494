"""The same interaction through several formats, under the same source and id, is one interaction."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import permutations

import httpx
import pytest

from exchanges import NDJSON, Item, ids_at, items_at, journey_of

Send = Callable[[httpx.AsyncClient, Item], Awaitable[str]]
"""Sends an interaction in a format; the status that its receipt says."""

INTERACTION: Item = {
    "source": "https://crm.example.com",
    "id": "call-1",
    "occurred_at": "2026-03-01T10:00:00+01:00",
    "channel": "phone",
    "kind": "support_call",
    "customer": {"email": "anna@example.com", "crm_id": "C-17"},
    "details": {"duration_seconds": 312},
    "source_fields": {"their": "word"},
}
JOURNEY = journey_of("email:anna@example.com")


def _status(answer: httpx.Response) -> str:
    document = answer.json()
    status: str = document["code"] if answer.status_code >= 400 else document["status"]
    return status


def _first(answer: httpx.Response) -> str:
    status: str = answer.json()["results"][0]["status"]
    return status


async def natively(client: httpx.AsyncClient, item: Item) -> str:
    return _status(await client.post("/v1/interactions", json=item))


async def in_an_array(client: httpx.AsyncClient, item: Item) -> str:
    return _first(await client.post("/v1/interactions/batch?results=all", json=[item]))


async def as_a_line(client: httpx.AsyncClient, item: Item) -> str:
    body = json.dumps(item).encode()
    return _first(await client.post("/v1/interactions/batch?results=all", content=body, headers=NDJSON))


def _event(item: Item) -> Item:
    said = {"source", "id", "occurred_at", "channel", "kind"}
    return {
        "specversion": "1.0",
        "source": item["source"],
        "id": item["id"],
        "time": item["occurred_at"],
        "type": f"com.example.{item['channel']}.{item['kind']}",
        "data": {name: value for name, value in item.items() if name not in said},
    }


async def as_an_event(client: httpx.AsyncClient, item: Item) -> str:
    headers = {"Content-Type": "application/cloudevents+json"}
    return _status(await client.post("/v1/cloudevents", json=_event(item), headers=headers))


async def as_headers(client: httpx.AsyncClient, item: Item) -> str:
    event = _event(item) | {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    data = event.pop("data")
    headers = {f"ce-{name}": value for name, value in event.items()}
    return _status(await client.post("/v1/cloudevents", json=data, headers=headers))


async def in_a_batch_of_events(client: httpx.AsyncClient, item: Item) -> str:
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    return _first(await client.post("/v1/cloudevents?results=all", json=[_event(item)], headers=headers))


WAYS: dict[str, Send] = {
    "native": natively,
    "array": in_an_array,
    "NDJSON": as_a_line,
    "CloudEvents": as_an_event,
    "CloudEvents in binary mode": as_headers,
    "CloudEvents in a batch": in_a_batch_of_events,
}
PAIRS = [pytest.param(WAYS[one], WAYS[other], id=f"{one}, {other}") for one, other in permutations(WAYS, 2)]


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_what_one_format_stored_is_a_duplicate_in_another(
    client: httpx.AsyncClient, first: Send, second: Send
) -> None:
    assert await first(client, INTERACTION) == "stored"
    assert await second(client, INTERACTION) == "duplicate"
    assert await first(client, INTERACTION) == "duplicate"
    assert await ids_at(client, JOURNEY) == ["call-1"]


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_what_says_something_else_in_another_format_is_a_conflict_as_in_the_same(
    client: httpx.AsyncClient, first: Send, second: Send
) -> None:
    assert await first(client, INTERACTION) == "stored"
    assert await second(client, INTERACTION | {"text": "something else"}) == "conflict"
    assert await second(client, INTERACTION | {"source_fields": {"their": "other word"}}) == "conflict"
    [stored] = await items_at(client, JOURNEY)
    assert "text" not in stored


@pytest.mark.parametrize(
    "written",
    ["2026-03-01T09:00:00Z", "2026-03-01T09:00:00.000Z", "2026-03-01T09:00:00+00:00", "2026-03-01t11:00:00.0000+02:00"],
)
async def test_each_format_and_client_may_write_the_same_moment_its_own_way(
    client: httpx.AsyncClient, written: str
) -> None:
    assert await natively(client, INTERACTION | {"ended_at": "2026-03-01T10:05:12+01:00"}) == "stored"
    for send in WAYS.values():
        again = INTERACTION | {"occurred_at": written, "ended_at": "2026-03-01T09:05:12.000Z"}
        assert await send(client, again) == "duplicate"
        assert await send(client, again | {"occurred_at": "2026-03-01T09:00:00.001Z"}) == "conflict"


async def as_a_call(client: httpx.AsyncClient, id_: str) -> None:
    call = {
        "messageId": id_,
        "userId": "C-17",
        "event": "Order Completed",
        "properties": {"order_id": "o-1", "total": 12.5, "currency": "EUR"},
        "context": {"traits": {"email": "anna@example.com"}},
        "timestamp": "2026-03-01T09:00:00.000Z",
    }
    assert (await client.post("/segment/v1/track", json=call)).json() == {"success": True}


async def as_a_resource(client: httpx.AsyncClient, id_: str) -> None:
    resource = {
        "externalIdentifier": [{"id": id_, "owner": "crm"}],
        "channel": [{"id": "support-line", "name": "call center"}],
        "direction": "inbounds",
        "reason": "billing question",
        "relatedParty": [{"id": "email:anna@example.com", "role": "customer"}],
        "interactionDate": {"startDateTime": "2026-03-01T10:00:00+01:00"},
        "unknown": {"member": [1, None]},
    }
    answer = await client.post("/tmf-api/partyInteraction/v4/partyInteraction", json=resource)
    assert answer.status_code in {200, 201}, answer.text


@pytest.mark.parametrize("foreign", [as_a_call, as_a_resource])
async def test_what_came_as_a_call_or_as_a_resource_is_the_same_in_every_other_format(
    client: httpx.AsyncClient, foreign: Callable[[httpx.AsyncClient, str], Awaitable[None]]
) -> None:
    await foreign(client, "one")
    [shown] = await items_at(client, JOURNEY)
    item = {
        name: value for name, value in shown.items() if name not in {"interaction_id", "customer_id", "received_at"}
    }
    item["attributes"] = {name: value for name, value in item.get("attributes", {}).items() if name != "tmf683"}
    for send in WAYS.values():
        assert await send(client, item) == "duplicate"
        assert await send(client, item | {"text": "something else"}) == "conflict"
    for number, send in enumerate(WAYS.values()):
        assert await send(client, item | {"id": f"other-{number}"}) == "stored"
        await foreign(client, f"other-{number}")
    assert len(await ids_at(client, JOURNEY)) == 1 + len(WAYS)


async def test_sent_in_every_format_at_once_it_is_stored_once(client: httpx.AsyncClient) -> None:
    statuses = await asyncio.gather(*(send(client, INTERACTION) for send in [*WAYS.values()] * 4))
    assert Counter(statuses) == {"stored": 1, "duplicate": len(statuses) - 1}
    assert await ids_at(client, JOURNEY) == ["call-1"]


@pytest.mark.parametrize("first", WAYS.values(), ids=WAYS)
async def test_what_was_deleted_comes_back_in_no_format(client: httpx.AsyncClient, first: Send) -> None:
    await first(client, INTERACTION)
    [stored] = await items_at(client, JOURNEY)
    assert (await client.delete(f"/v1/interactions/{stored['interaction_id']}")).status_code == 204
    for send in WAYS.values():
        assert await send(client, INTERACTION) == "duplicate"
    assert await ids_at(client, JOURNEY) == []
