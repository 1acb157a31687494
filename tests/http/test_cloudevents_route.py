"""POST /v1/cloudevents: events in every mode, what their senders are told, and the handshake."""

import asyncio
import base64
import gzip
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges import Item, check_problem, healthy, ids_at, items_at, journey_of, pointers
from support import KEY, Make, running

PATH = "/v1/cloudevents"
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
ANNA = {"customer": {"email": "anna@example.com"}}
JOURNEY = journey_of("email:anna@example.com")


def event(**members: Any) -> Item:
    """A sound event about a call, with what the test says otherwise; None leaves a member out."""
    usual = {
        "specversion": "1.0",
        "id": "call-1",
        "source": "https://crm.example.com",
        "type": "com.example.phone.support_call",
        "time": "2026-03-01T10:00:00Z",
        "data": ANNA,
    }
    return {name: value for name, value in (usual | members).items() if value is not None}


def headers_of(given: Item, content_type: str = "application/json") -> dict[str, str]:
    """The attributes of an event as headers."""
    named = {f"ce-{name}": str(value) for name, value in given.items() if not name.startswith("data")}
    return named | {"Content-Type": content_type}


async def send(client: httpx.AsyncClient, given: Any, mode: str = "structured") -> httpx.Response:
    if mode == "binary":
        return await client.post(PATH, content=json.dumps(given["data"]).encode(), headers=headers_of(given))
    headers = BATCH if mode == "batch" else STRUCTURED
    return await client.post(PATH, content=json.dumps(given).encode(), headers=headers)


async def read(client: httpx.AsyncClient, receipt: Item) -> Item:
    found: Item = (await client.get(f"/v1/interactions/{receipt['interaction_id']}")).json()
    return found


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_an_event_is_stored_and_its_receipt_is_that_of_an_interaction(
    client: httpx.AsyncClient, mode: str
) -> None:
    answer = await send(client, event(subject="call 7"), mode)
    assert answer.status_code == 201, answer.text
    receipt = answer.json()
    assert receipt.keys() == {"status", "interaction_id", "customer_id", "received_at"}
    assert answer.headers["location"] == f"/v1/interactions/{receipt['interaction_id']}"
    found = await read(client, receipt)
    assert (found["source"], found["id"]) == ("https://crm.example.com", "call-1")
    assert (found["channel"], found["kind"], found["occurred_at"]) == ("phone", "support_call", "2026-03-01T10:00:00Z")
    assert found["customer"] == ANNA["customer"]
    again = await send(client, event(subject="call 7"), mode)
    assert again.status_code == 200
    assert again.json() == receipt | {"status": "duplicate"}


async def test_the_same_event_in_every_mode_is_one_whatever_its_trace(client: httpx.AsyncClient) -> None:
    first = await send(client, event(traceparent="00-aa", sequence=1))
    assert first.status_code == 201
    for mode, trace in (("binary", "00-bb"), ("structured", "00-cc")):
        again = await send(client, event(traceparent=trace, sequence=2), mode)
        assert (again.status_code, again.json()["interaction_id"]) == (200, first.json()["interaction_id"])
    batch = (await send(client, [event(), event(subject="s")], "batch")).json()
    assert batch["duplicate"] == 2
    assert await ids_at(client, JOURNEY) == ["call-1"]


async def test_another_event_with_the_same_source_and_id_is_a_conflict(client: httpx.AsyncClient) -> None:
    receipt = (await send(client, event())).json()
    document = check_problem(await send(client, event(data=ANNA | {"text": "other"})), 409, "conflict")
    assert document["interaction_id"] == receipt["interaction_id"]
    foreign = event(id="b", subject="email:anna@example.com", data={"note": "one"})
    assert (await send(client, foreign)).status_code == 201
    check_problem(await send(client, foreign | {"data": {"note": "two"}}), 409, "conflict")


async def test_without_a_time_an_event_occurs_when_it_is_received(client: httpx.AsyncClient) -> None:
    receipt = (await send(client, event(time=None))).json()
    assert (await read(client, receipt))["occurred_at"] == receipt["received_at"]
    assert (await send(client, event(time=None))).status_code == 200


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_a_refused_event_is_in_quarantine_and_pointed_into(client: httpx.AsyncClient, mode: str) -> None:
    wrong = event(time="2019-02-30T10:00:00Z", data=ANNA)
    document = check_problem(await send(client, wrong, mode), 422, "rejected")
    assert pointers(document) == ["/time"]
    [item] = await items_at(client, "/v1/rejected")
    assert item["rejection_id"] == document["rejection_id"]
    assert item["errors"] == document["errors"]
    assert item["format"] == "cloudevents"
    assert json.loads(item["payload"]) == wrong | ({"datacontenttype": "application/json"} if mode == "binary" else {})


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_what_is_wrong_with_the_interaction_is_pointed_at_in_the_event(
    client: httpx.AsyncClient, mode: str
) -> None:
    for members, wrong in (
        ({"data": {"customer": {"email": "nobody"}}}, "/data/customer/email"),
        ({"data": {"kind": "x"}, "subject": "email:nobody"}, "/subject"),
        ({"data": ANNA | {"colour": "red"}}, "/data/colour"),
        ({"data": ANNA | {"feedback": [{"metric": "csat", "score": 9, "max": 5}]}}, "/data/feedback/0/score"),
        ({"type": "com.example.messaging.reply"}, "/data/details"),
        ({"time": "1989-01-01T00:00:00Z"}, "/time"),
        ({"id": "x" * 257}, "/id"),
        ({"source": "x" * 129}, "/source"),
    ):
        document = check_problem(await send(client, event(**members), mode), 422, "rejected")
        assert pointers(document) == [wrong]
        kept = (await client.get(f"/v1/rejected/{document['rejection_id']}")).json()
        assert kept["errors"] == document["errors"]
        assert kept["source"] == event(**members)["source"]


async def test_headers_may_be_quoted_percent_encoded_and_in_any_case(client: httpx.AsyncClient) -> None:
    headers = {
        "CE-SpecVersion": "1.0",
        "Ce-Id": '"a \\"b\\""',
        "cE-Source": "/crm%20%E2%82%AC",
        "ce-type": "com.example.phone",
        "ce-subject": "crm_id:Z%C3%BCrich",
    }
    answer = await client.post(PATH, content=b"hello", headers=headers | {"Content-Type": "text/plain; charset=utf-8"})
    assert answer.status_code == 201, answer.text
    found = await read(client, answer.json())
    assert (found["source"], found["id"], found["customer"]) == ("/crm €", 'a "b"', {"crm_id": "Zürich"})
    assert found["attributes"] == {"data": "hello"}
    assert found["source_fields"]["cloudevents"]["datacontenttype"] == "text/plain; charset=utf-8"


async def test_a_structured_event_may_have_headers_of_its_attributes_too(client: httpx.AsyncClient) -> None:
    headers = headers_of(event(id="other", source="/other")) | STRUCTURED
    answer = await client.post(PATH, content=json.dumps(event()).encode(), headers=headers)
    assert (await read(client, answer.json()))["id"] == "call-1"


@pytest.mark.parametrize("mode", ["structured", "binary", "batch"])
async def test_a_compressed_body_is_read(client: httpx.AsyncClient, mode: str) -> None:
    sent = {"structured": event(), "binary": ANNA, "batch": [event()]}[mode]
    headers = {"structured": STRUCTURED, "binary": headers_of(event()), "batch": BATCH}[mode]
    body = gzip.compress(json.dumps(sent).encode())
    answer = await client.post(PATH, content=body, headers=headers | {"Content-Encoding": "gzip"})
    assert answer.status_code in {200, 201}, answer.text
    assert await ids_at(client, JOURNEY) == ["call-1"]


async def test_each_event_of_a_batch_has_its_verdict_and_a_bad_one_fails_no_other(client: httpx.AsyncClient) -> None:
    await send(client, event())
    batch = [
        event(id="a"),
        event(),
        event(data=ANNA | {"text": "other"}),
        "no event",
        event(id="b", specversion="0.9"),
        event(id="c", data={"customer": {"email": "nobody"}}),
        event(id="d", data=None, data_base64=base64.b64encode(json.dumps(ANNA).encode()).decode()),
    ]
    answer = await send(client, batch, "batch")
    assert answer.status_code == 200
    receipt = answer.json()
    counts = {name: receipt[name] for name in ("received", "stored", "duplicate", "conflict", "rejected", "retry")}
    assert counts == {"received": 7, "stored": 2, "duplicate": 1, "conflict": 1, "rejected": 3, "retry": 0}
    results = receipt["results"]
    assert [(each["index"], each["status"]) for each in results] == [
        (1, "duplicate"),
        (2, "conflict"),
        (3, "rejected"),
        (4, "rejected"),
        (5, "rejected"),
    ]
    assert [pointers(each) for each in results[2:]] == [[""], ["/specversion"], ["/data/customer/email"]]
    kept = (await client.get(f"/v1/rejected/{results[2]['rejection_id']}")).json()
    assert (kept["payload"], kept["format"]) == ('"no event"', "cloudevents")
    every = (await client.post(f"{PATH}?results=all", content=json.dumps(batch).encode(), headers=BATCH)).json()
    assert [each["index"] for each in every["results"]] == list(range(7))


async def test_an_empty_batch_is_legal_and_a_long_one_is_stored(client: httpx.AsyncClient) -> None:
    receipt = (await send(client, [], "batch")).json()
    assert (receipt["received"], receipt["results"]) == (0, [])
    many = [event(id=f"e-{number:04}") for number in range(1200)]
    assert (await send(client, many, "batch")).json()["stored"] == 1200
    assert (await send(client, many, "batch")).json()["duplicate"] == 1200


async def test_a_batch_that_is_no_array_is_malformed_and_none_is_kept(client: httpx.AsyncClient) -> None:
    for body in (b"", b"{}", b"[1", json.dumps(event()).encode(), b"[{}] x", b"\xff"):
        answer = await client.post(PATH, content=body, headers=BATCH)
        check_problem(answer, 422, "malformed_body")
    assert await items_at(client, "/v1/rejected") == []


async def test_what_is_no_json_and_says_it_is_goes_to_quarantine(client: httpx.AsyncClient) -> None:
    document = check_problem(await client.post(PATH, content=b'{"id": ', headers=STRUCTURED), 422, "rejected")
    assert pointers(document) == [""]
    document = check_problem(await client.post(PATH, content=b'{"a', headers=headers_of(event())), 422, "rejected")
    assert pointers(document) == ["/data"]
    kept = (await client.get(f"/v1/rejected/{document['rejection_id']}")).json()
    assert json.loads(kept["payload"])["data"] == '{"a'
    for body, wrong in ((b'{"id": "a", "id": "b"}', "/id"), (b'{"x": NaN}', "/x"), (b'{"x": "\\u0000"}', "/x")):
        document = check_problem(await client.post(PATH, content=body, headers=STRUCTURED), 422, "rejected")
        assert pointers(document) == [wrong]


async def test_other_media_types_are_refused_and_the_right_ones_named(client: httpx.AsyncClient) -> None:
    for kind in ("application/json", "text/plain", "", "application/cloudevents+xml", "application/cloudevents"):
        answer = await client.post(PATH, content=json.dumps(event()).encode(), headers={"Content-Type": kind})
        assert "application/cloudevents+json" in check_problem(answer, 415, "unsupported_encoding")["detail"]
    assert await items_at(client, "/v1/rejected") == []


async def test_an_event_too_large_is_refused_in_every_mode_and_its_beginning_kept(client: httpx.AsyncClient) -> None:
    large = event(data=ANNA | {"text": "x" * 70_000})
    for mode in ("structured", "binary"):
        document = check_problem(await send(client, large, mode), 422, "rejected")
        assert "65536" in document["errors"][0]["detail"]
        kept = (await client.get(f"/v1/rejected/{document['rejection_id']}")).json()
        assert kept["truncated"] is True
        assert '"call-1"' in kept["payload"]
        assert kept["payload"].endswith("xxx")
    receipt = (await send(client, [event(), large], "batch")).json()
    assert (receipt["stored"], receipt["rejected"]) == (1, 1)
    body = b"[" * (16 * 1024 * 1024 + 1)
    check_problem(await client.post(PATH, content=body, headers=STRUCTURED), 413, "body_too_large")


async def test_who_was_erased_is_refused_at_the_place_in_the_event(client: httpx.AsyncClient) -> None:
    await send(client, event())
    await client.delete("/v1/customers/email:anna@example.com")
    for mode in ("structured", "binary"):
        assert pointers(check_problem(await send(client, event(id="b"), mode), 422, "erased")) == [
            "/data/customer/email"
        ]
    subject = event(id="c", data={"kind": "x"}, subject="email:anna@example.com")
    assert pointers(check_problem(await send(client, subject), 422, "erased")) == ["/subject"]


async def test_the_key_may_stand_in_the_query_as_webhooks_have_it(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    answer = await client.post(f"{PATH}?access_token={KEY}", json=event(), headers=STRUCTURED)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    check_problem(
        await client.post(f"{PATH}?access_token=wrong", json=event(), headers=STRUCTURED), 401, "unauthorized"
    )
    check_problem(await client.post(PATH, json=event(), headers=STRUCTURED), 401, "unauthorized")
    both = STRUCTURED | {"Authorization": "Bearer wrong"}
    check_problem(await client.post(f"{PATH}?access_token={KEY}", json=event(), headers=both), 401, "unauthorized")
    elsewhere = await client.get(f"{JOURNEY}?access_token={KEY}")
    assert pointers(check_problem(elsewhere, 422, "invalid_request")) == ["/query/access_token"]


async def test_the_handshake_allows_whoever_asks_at_any_rate(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    asked = {"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"}
    answer = await client.options(PATH, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventemitter.example.com"
    assert answer.headers["webhook-allowed-rate"] == "*"
    assert answer.headers["allow"] == "OPTIONS, POST"
    plain = await client.options(PATH)
    assert plain.status_code == 200
    assert "webhook-allowed-origin" not in plain.headers
    wrong = await client.options(PATH, headers={"WebHook-Request-Origin": "a b"})
    assert pointers(check_problem(wrong, 422, "invalid_request")) == ["/headers/webhook-request-origin"]
    refused = await client.get(PATH)
    check_problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST, OPTIONS"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
NAMES = ["id", "source", "type", "specversion", "time", "subject", "data", "data_base64", "datacontenttype", "x", "X-y"]
MODES = st.sampled_from(
    [
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/cloudevents+json; charset=utf-16",
        "application/json",
        "text/plain",
        "a/b;c=\xe9",
        "",
    ]
)
ALMOST = st.dictionaries(st.sampled_from(NAMES), JSON | st.just(ANNA), max_size=4).map(lambda drawn: event() | drawn)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    ALMOST.map(lambda value: json.dumps(value).encode()),
    st.lists(ALMOST | JSON, max_size=3).map(lambda value: json.dumps(value).encode()),
)
VALUES = st.sampled_from([b"1.0", b"a", b"com.example.phone.x", b"email:anna@example.com", b"%FF", b'"', b"%", b""])
HEADERS = st.dictionaries(
    st.sampled_from([f"ce-{name}".encode() for name in NAMES]),
    VALUES | st.binary(max_size=12).filter(lambda value: not {0, 10, 13} & set(value)),
    max_size=6,
)


async def test_no_event_whatever_brings_a_service_down(database_url: str, make: Make) -> None:
    async with running(database_url) as (_, client):
        await client.post("/v1/interactions", json=make())
        loop = asyncio.get_running_loop()

        @given(MODES, HEADERS, BODIES)
        def answers_below_500(kind: str, attributes: dict[bytes, bytes], body: bytes) -> None:
            headers = [(b"Content-Type", kind.encode("latin-1")), *attributes.items()]
            sending = client.post(PATH, content=body, headers=headers)
            answer = asyncio.run_coroutine_threadsafe(sending, loop).result(30)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                check_problem(answer, answer.status_code, answer.json()["code"])

        await asyncio.to_thread(answers_below_500)
        assert await healthy(client)
