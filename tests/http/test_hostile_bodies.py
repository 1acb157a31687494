"""Bodies that no sender in its right mind sends: each alone, and as one item among good ones."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges import NDJSON, check_problem, healthy, ids_at, journey_of, pointers
from support import Make, running

Body = tuple[bytes, str]
GOOD = {"source": "hostile", "channel": "phone", "customer": {"email": "anna@example.com"}}
AT = "2026-03-01T10:00:00Z"


def event(**members: Any) -> bytes:
    return json.dumps({"id": "bad", "occurred_at": AT} | GOOD | members).encode()


def spliced(text: bytes) -> bytes:
    """A good event with this text, which may be no JSON, as one more member."""
    return event()[:-1] + b", " + text + b"}"


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


# What is sent, and where the refusal points.
HOSTILE: dict[str, Body] = {
    "no JSON": (b'{"source" "hostile"}', ""),
    "cut short": (event()[:-1], ""),
    "half a string": (b'{"source": "host', ""),
    "not UTF-8": (event(text="@").replace(b"@", b"\xff"), ""),
    "a number": (b"7", ""),
    "a list": (b"[1, 2]", ""),
    "null": (b"null", ""),
    "two documents": (event() + b" " + event(), ""),
    "wrong type": (event(text=7), "/text"),
    "wrong type within": (event(feedback=[{"metric": "csat", "score": "high"}]), "/feedback/0/score"),
    "unknown channel": (event(channel="fone"), "/channel"),
    "channel of a wrong type": (event(channel=["phone"]), "/channel"),
    "no identifier": (event(customer={}), "/customer"),
    "customer of a wrong type": (event(customer="anna"), "/customer"),
    "blank identifier": (event(customer={"email": " "}), "/customer/email"),
    "NUL in a value": (event(text="a\0b"), "/text"),
    "NUL deep within": (event(attributes={"a": [{"b": "\0"}]}), "/attributes/a/0/b"),
    "NUL in a name": (event(attributes={"a\0": 1}), "/attributes"),
    "raw NUL": (event(text="@").replace(b"@", b"\0"), ""),
    "half a pair": (event(text="\ud800"), "/text"),
    "half a pair deep within": (event(attributes={"a": ["\udfff"]}), "/attributes/a/0"),
    "half a pair as id": (event(id="\ud800"), "/id"),
    "a megabyte of text": (event(text="x" * 1_000_000), ""),
    "year 0": (event(occurred_at="0000-01-01T00:00:00Z"), "/occurred_at"),
    "year 1": (event(occurred_at="0001-01-01T00:00:00+14:00"), "/occurred_at"),
    "year 1989": (event(occurred_at="1989-12-31T23:59:59Z"), "/occurred_at"),
    "year 9999": (event(occurred_at="9999-12-31T23:59:59-14:00"), "/occurred_at"),
    "year 10000": (event(occurred_at="10000-01-01T00:00:00Z"), "/occurred_at"),
    "naive time": (event(occurred_at="2026-03-01T10:00:00"), "/occurred_at"),
    "Unix time": (event(occurred_at=1_772_359_200), "/occurred_at"),
    "impossible day": (event(occurred_at="2026-02-30T10:00:00Z"), "/occurred_at"),
    "impossible offset": (event(occurred_at="2026-03-01T10:00:00+99:99"), "/occurred_at"),
    "1e400": (spliced(b'"attributes": {"n": 1e400}'), "/attributes/n"),
    "-1e400 where a number is wanted": (spliced(b'"sentiment": {"score": -1e400}'), "/sentiment/score"),
    "NaN": (spliced(b'"attributes": {"n": NaN}'), "/attributes/n"),
    "Infinity": (spliced(b'"attributes": {"n": -Infinity}'), "/attributes/n"),
    "a number of 10,000 digits": (spliced(b'"attributes": {"n": ' + b"9" * 10_000 + b"}"), "/attributes/n"),
    "a name twice": (spliced(b'"text": "one", "text": "two"'), "/text"),
    "a name twice within": (spliced(b'"attributes": {"a": {"b": 1, "b": 1}}'), "/attributes/a/b"),
    "an escaped name twice": (spliced(b'"attributes": {"a": 1, "\\u0061": 2}'), "/attributes/a"),
    "an id of 10,000 characters": (event(id="x" * 10_000), "/id"),
    "an empty id": (event(id=""), "/id"),
    "a source of 10,000 characters": (event(source="x" * 10_000), "/source"),
    "an identifier of 10,000 characters": (event(customer={"crm_id": "x" * 10_000}), "/customer/crm_id"),
    "a touchpoint of 10,000 characters": (event(touchpoint="x" * 10_000), "/touchpoint"),
    "an unknown member": (event(colour="red"), "/colour"),
    "a member with an odd name": (event(**{"a/b~": 1}), "/a~1b~0"),
}
DEEP = spliced(b'"attributes": {"a": ' + deep(10_000) + b"}")


def assert_points(found: dict[str, Any], where: str, name: str) -> None:
    assert pointers(found) == [where], (name, found["errors"])


async def test_each_hostile_interaction_alone_is_refused_where_it_is_wrong(client: httpx.AsyncClient) -> None:
    for name, (body, where) in HOSTILE.items():
        answer = await client.post("/v1/interactions", content=body)
        assert answer.status_code == 422, (name, answer.text[:500])
        document = check_problem(answer, 422, "rejected")
        assert_points(document, where, name)
        assert len(answer.content) < 10_000, name
        kept = await client.get(f"/v1/rejected/{document['rejection_id']}")
        assert kept.json()["size"] == len(body), name
    assert await healthy(client)


@pytest.mark.parametrize("form", ["array", "lines"])
async def test_a_hostile_interaction_among_good_ones_is_the_only_one_refused(
    client: httpx.AsyncClient, form: str
) -> None:
    cases = {name: case for name, case in HOSTILE.items() if form == "lines" or name not in NO_ITEM_OF_AN_ARRAY}
    items: list[bytes] = []
    for number, (body, _) in enumerate(cases.values()):
        items += [event(id=f"good-{number}", occurred_at=f"2026-03-01T10:00:00.{number:03}Z"), body]
    content = b"[" + b",".join(items) + b"]" if form == "array" else b"\n".join(items)
    headers = {} if form == "array" else NDJSON
    answer = await client.post("/v1/interactions/batch", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    receipt = answer.json()
    assert (receipt["stored"], receipt["rejected"]) == (len(cases), len(cases))
    for result, (name, (_, where)) in zip(receipt["results"], cases.items(), strict=True):
        assert result["index"] % 2 == 1, name
        assert_points(result, where, name)
    good = await ids_at(client, journey_of("email:anna@example.com"), order="asc", limit=500)
    assert good == [f"good-{number}" for number in range(len(cases))]
    assert await healthy(client)


# What of these breaks the separation of items itself.
NO_ITEM_OF_AN_ARRAY = {"cut short", "half a string"}


async def test_nesting_of_10_000_levels_is_refused_in_every_form(client: httpx.AsyncClient) -> None:
    document = check_problem(await client.post("/v1/interactions", content=DEEP), 422, "rejected")
    [pointer] = pointers(document)
    assert pointer.startswith("/attributes/a/0/0")
    for content, headers in ((b"[" + event() + b"," + DEEP + b"]", {}), (event() + b"\n" + DEEP, NDJSON)):
        receipt = (await client.post("/v1/interactions/batch", content=content, headers=headers)).json()
        assert (receipt["received"], receipt["rejected"]) == (2, 1)
        assert pointers(receipt["results"][-1]) == [pointer]
    for raw in (deep(10_000), deep(1_000_000), b"[" * 1_000_000, b'{"a":' * 100_000):
        for path in ("/v1/interactions", "/v1/interactions/batch"):
            assert (await client.post(path, content=raw)).status_code in {200, 422}
    assert await healthy(client)


async def test_as_many_levels_as_are_allowed_come_back(client: httpx.AsyncClient) -> None:
    levels: Any = json.loads(deep(98))
    answer = await client.post("/v1/interactions", content=event(attributes={"a": levels}))
    assert answer.status_code == 201, answer.text
    assert (await client.get(answer.headers["location"])).json()["attributes"] == {"a": levels}


async def test_a_bomb_is_refused_early_and_what_came_before_it_stays(client: httpx.AsyncClient) -> None:
    compressing = zlib.compressobj(9, wbits=31)
    block = compressing.compress(b" " * 1_048_576) + compressing.flush(zlib.Z_FULL_FLUSH)
    good = gzip.compress(event(id="good") + b"\n")
    bomb = good + block + (compressing.compress(b" " * 1_048_576) + compressing.flush(zlib.Z_FULL_FLUSH)) * 300
    headers = {"Content-Encoding": "gzip"}
    document = check_problem(
        await client.post("/v1/interactions/batch", content=bomb, headers=headers | NDJSON), 413, "body_too_large"
    )
    assert (document["received"], document["stored"]) == (1, 1)
    for path in ("/v1/interactions", "/v1/interactions/batch"):
        check_problem(await client.post(path, content=bomb, headers=headers), 413, "body_too_large")
    check_problem(
        await client.put("/v1/touchpoints/a", content=gzip.compress(b" " * 100_000), headers=headers),
        413,
        "body_too_large",
    )
    assert await healthy(client)


async def test_slow_bodies_do_not_hold_up_others(client: httpx.AsyncClient, make: Make) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for byte in event(id="slow"):
            yield bytes((byte,))
            await asyncio.sleep(0.002)

    sending = [asyncio.create_task(client.post("/v1/interactions", content=slow())) for _ in range(3)]
    answers = [await client.post("/v1/interactions", json=make()) for _ in range(5)]
    assert not any(task.done() for task in sending)
    assert {answer.status_code for answer in answers} == {201}
    assert sorted([(await task).status_code for task in sending]) == [200, 200, 201]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "source",
        "id",
        "channel",
        "customer",
        "occurred_at",
        "details",
        "feedback",
        "attributes",
        "name",
        "scopes",
        "text",
    ]
)
ALMOST = st.dictionaries(FIELDS, JSON, max_size=4).map(lambda drawn: GOOD | drawn)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    ALMOST.map(lambda value: json.dumps(value).encode()),
    st.lists(ALMOST, max_size=3).map(lambda value: json.dumps(value).encode()),
)
KINDS = st.sampled_from(["application/json", "application/x-ndjson", "", "text/plain", "a/b;c=\xe9"])
ENCODINGS = st.sampled_from(["", "identity", "gzip", "zstd", "x"])


async def test_no_body_whatever_brings_a_service_down(database_url: str, make: Make) -> None:
    async with running(database_url) as (_, client):
        stored = (await client.post("/v1/interactions", json=make())).json()
        routes = [
            ("POST", "/v1/interactions"),
            ("POST", "/v1/interactions/batch"),
            ("PATCH", f"/v1/interactions/{stored['interaction_id']}"),
            ("PUT", "/v1/touchpoints/a"),
            ("POST", "/v1/keys"),
        ]
        loop = asyncio.get_running_loop()

        @given(st.sampled_from(routes), BODIES, KINDS, ENCODINGS)
        def answers_below_500(route: tuple[str, str], body: bytes, kind: str, encoding: str) -> None:
            headers = [(b"Content-Type", kind.encode("latin-1")), (b"Content-Encoding", encoding.encode())]
            sending = client.request(*route, content=body, headers=headers)
            answer = asyncio.run_coroutine_threadsafe(sending, loop).result(30)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                check_problem(answer, answer.status_code, answer.json()["code"])

        await asyncio.to_thread(answers_below_500)
        assert await healthy(client)


ESCAPES = "%00 %2F %2f %FF %C3 %ED%A0%80 %EF%B7%90 % %zz %0A %3F %23 %25 %22 .. // + : ?"
NAMED = "email:anna@example.com a phone journey interactions"
PIECES = st.sampled_from([*ESCAPES.split(), *NAMED.split(), " ", "'", "x" * 3000])
SEGMENT = st.lists(PIECES | st.text(max_size=6), max_size=4).map("".join)
NAMES = st.sampled_from(["from", "to", "channel", "limit", "cursor", "order", "kind", "source", "id", "details", "x"])
QUERY = st.lists(st.tuples(NAMES, SEGMENT), max_size=4).map(lambda pairs: "&".join("=".join(pair) for pair in pairs))


async def test_no_path_and_no_query_whatever_brings_a_service_down(database_url: str, make: Make) -> None:
    async with running(database_url) as (app, client):
        await client.post("/v1/interactions", json=make())
        templates = [path for path in app.openapi()["paths"] if path.startswith("/v1")]
        loop = asyncio.get_running_loop()

        @given(st.sampled_from(templates), SEGMENT, QUERY)
        def answers_below_500(template: str, segment: str, query: str) -> None:
            path = "/".join(segment if part.startswith("{") else part for part in template.split("/"))
            try:
                url = httpx.URL("http://percorso.test", raw_path=f"{path}?{query}".encode("ascii", "ignore"))
            except httpx.InvalidURL:
                return
            answer = asyncio.run_coroutine_threadsafe(client.get(url), loop).result(30)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                check_problem(answer, answer.status_code, answer.json()["code"])

        await asyncio.to_thread(answers_below_500)
        assert await healthy(client)
