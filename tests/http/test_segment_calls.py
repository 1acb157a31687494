"""Segment's and RudderStack's calls as their clients send them: stored once, answered as the clients understand."""

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from asyncpg import Connection, Record
from hypothesis import given
from hypothesis import strategies as st

from exchanges import Item, check_problem, healthy, items_at, journey_of
from percorso.formats.segment_bodies import BATCHES, CALLS
from support import KEY, Make, running
from writing import Way, until

AT = "2026-11-20T10:00:00.000Z"
BASIC = {"Authorization": f"Basic {base64.b64encode(f'{KEY}:'.encode()).decode()}"}
Calls = list[dict[str, Any]]


def call(**members: Any) -> Item:
    usual = {"type": "track", "messageId": "m-1", "userId": "anna", "event": "Signed Up", "timestamp": AT}
    return {name: value for name, value in (usual | members).items() if value is not None}


async def send(client: httpx.AsyncClient, path: str, body: Any, **headers: str) -> httpx.Response:
    return await client.post(f"/segment/v1/{path}", content=json.dumps(body), headers=headers)


def check_success(answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"success": True}


def check_refused(answer: httpx.Response, status: int, code: str) -> Item:
    """A problem that the clients, who read `code` and `message`, understand too; readable on any site."""
    document = check_problem(answer, status, code)
    assert document["message"] == document["detail"]
    assert answer.headers["access-control-allow-origin"] == "*"
    return document


async def journey(client: httpx.AsyncClient, customer: str = "user_id:anna") -> list[Item]:
    return (await items_at(client, journey_of(customer)))[::-1]


async def test_a_batch_is_stored_in_order_under_the_key_s_name(client: httpx.AsyncClient) -> None:
    calls = [call(messageId=f"m-{n}", timestamp=f"2026-11-20T10:00:0{n}.000Z") for n in range(5)]
    check_success(await send(client, "batch", {"batch": calls}))
    stored = await journey(client)
    assert [item["id"] for item in stored] == ["m-0", "m-1", "m-2", "m-3", "m-4"]
    assert {item["source"] for item in stored} == {"bootstrap"}
    assert stored[0]["occurred_at"] == "2026-11-20T10:00:00.000Z"


async def test_the_key_is_given_in_any_of_three_ways(client: httpx.AsyncClient) -> None:
    body = {"batch": [call()]}
    check_success(await send(client, "batch", body))
    del client.headers["Authorization"]
    check_success(await send(client, "batch", body, **BASIC))
    check_success(await send(client, "batch", body | {"writeKey": KEY}))
    check_success(await send(client, "track", call(writeKey=KEY)))
    check_success(await send(client, "batch", body | {"writeKey": "wrong"}, **BASIC))
    for wrong in ({}, {"writeKey": "wrong"}, {"writeKey": ""}, {"writeKey": 7}, {"writeKey": "\ud800"}):
        check_refused(await send(client, "batch", body | wrong), 401, "unauthorized")
    for bad in ("Basic wrong", "Basic d3Jvbmc6", "Bearer wrong", "Basic /////w=="):
        check_refused(await send(client, "batch", body | {"writeKey": KEY}, Authorization=bad), 401, "unauthorized")
    client.headers["Authorization"] = f"Bearer {KEY}"
    assert [item["id"] for item in await journey(client)] == ["m-1"]


async def test_a_key_without_the_scope_is_refused(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/keys", json={"name": "reader", "scopes": ["read"]})).json()
    del client.headers["Authorization"]
    refused = check_refused(await send(client, "track", call(writeKey=made["key"])), 403, "forbidden")
    assert "ingest" in refused["message"]


@pytest.mark.parametrize(
    "label", ["text/plain", "application/x-www-form-urlencoded", "image/png", "", "application/json"]
)
async def test_a_body_is_read_for_what_it_is_and_not_for_its_label(client: httpx.AsyncClient, label: str) -> None:
    plain = json.dumps({"batch": [call()]}).encode()
    headers = {"Content-Type": label} if label else {}
    for content, encoding in (
        (plain, {}),
        (gzip.compress(plain), {}),
        (gzip.compress(plain), {"Content-Encoding": "gzip"}),
    ):
        check_success(await client.post("/segment/v1/batch", content=content, headers=headers | encoding))
    assert len(await journey(client)) == 1


@pytest.mark.parametrize("path", [*CALLS, *BATCHES])
async def test_every_path_takes_its_call(client: httpx.AsyncClient, path: str) -> None:
    said = call(type=None, groupId="g", previousId="before")
    check_success(await send(client, path, {"batch": [call()]} if path in BATCHES else said))
    [stored] = await journey(client)
    assert stored["source_fields"]["type"] == CALLS.get(path, "track")


async def test_another_path_is_not_there(client: httpx.AsyncClient) -> None:
    check_refused(await send(client, "delete", call()), 404, "not_found")
    check_refused(await client.get("/segment/v1/track"), 405, "method_not_allowed")
    check_refused(await client.get("/segment/v2/track"), 404, "not_found")


async def test_a_bad_call_goes_into_quarantine_and_the_others_are_stored(client: httpx.AsyncClient) -> None:
    bad: list[Any] = [
        call(userId=None), call(userId={"a": 1}), call(event=""), call(event=None), call(type="delete"),
        call(type=None), call(timestamp="yesterday"), call(timestamp=7), call(type="alias"), "no call", None, 7, [],
        call(messageId="m" * 257), call(properties={"a": "\0"}), call(userId="u" * 600),
        call(timestamp="1066-10-14T09:00:00Z"), call(properties={"a": 10**400}), call(writeKey=KEY, event=None),
    ]  # fmt: skip
    mixed = [
        each for pair in zip((call(messageId=f"m-{n}") for n in range(len(bad))), bad, strict=True) for each in pair
    ]
    check_success(await send(client, "batch", {"batch": mixed}))
    assert len(await journey(client)) == len(bad)
    rejected = await items_at(client, "/v1/rejected")
    assert len(rejected) == len(bad)
    assert {item["format"] for item in rejected} == {"segment"}
    assert KEY not in json.dumps(rejected)
    kept = (await client.get(f"/v1/rejected/{rejected[-1]['rejection_id']}")).json()
    assert json.loads(kept["payload"]) in bad


async def test_a_number_that_json_has_not_fails_one_call_only(client: httpx.AsyncClient) -> None:
    calls = [call(messageId="m-0"), call(messageId="m-1", properties={"a": float("nan")}), call(messageId="m-2")]
    check_success(await send(client, "batch", {"batch": calls}))
    assert {item["id"] for item in await journey(client)} == {"m-0", "m-2"}
    assert len(await items_at(client, "/v1/rejected")) == 1


async def test_a_single_bad_call_is_refused_with_what_is_wrong_and_kept(client: httpx.AsyncClient) -> None:
    for wrong, pointer in (({"event": 7}, "/event"), ({"userId": None}, ""), ({"timestamp": "x"}, "/timestamp")):
        refused = check_refused(await send(client, "track", call(**wrong)), 400, "rejected")
        assert [error["pointer"] for error in refused["errors"]] == [pointer]
        assert (await client.get(f"/v1/rejected/{refused['rejection_id']}")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"7", b'"x"', b'{"batch": {}}', b'{"batch": [1', b"{}", b"\xff", b"\x1f", b"\x1f\x8bno",
     gzip.compress(b"{}")[:-3], b'{"batch": [' + b"[" * 100_000, b"[" * 100_000, b'{"batch": [{}], "sentAt": 1e999}'],
)  # fmt: skip
async def test_a_malformed_body_is_refused_as_the_clients_understand(client: httpx.AsyncClient, body: bytes) -> None:
    check_refused(await client.post("/segment/v1/batch", content=body), 400, "malformed_body")


async def test_mislabelled_and_oversized_bodies_are_refused(client: httpx.AsyncClient) -> None:
    plain = json.dumps({"batch": [call()]}).encode()
    for headers, status, code in (
        ({"Content-Encoding": "gzip"}, 400, "malformed_body"),
        ({"Content-Encoding": "br"}, 415, "unsupported_encoding"),
    ):
        check_refused(await client.post("/segment/v1/batch", content=plain, headers=headers), status, code)
    large = b" " * (4 * 1024 * 1024) + plain
    for content in (large, gzip.compress(large)):
        check_refused(await client.post("/segment/v1/batch", content=content), 413, "body_too_large")
    many: dict[str, Calls] = {"batch": [{}] * 10_001}
    check_refused(await send(client, "batch", many), 400, "malformed_body")


async def test_a_megabyte_of_calls_is_taken(client: httpx.AsyncClient) -> None:
    calls = [call(messageId=f"m-{n}", properties={"text": "x" * 1000}) for n in range(3000)]
    check_success(await client.post("/segment/v1/batch", content=gzip.compress(json.dumps({"batch": calls}).encode())))
    answer = await client.get("/v1/customers/user_id:anna")
    assert answer.status_code == 200
    assert (await client.get("/v1/interactions", params={"source": "bootstrap", "id": "m-2999"})).json()["items"]


async def test_a_call_sent_again_is_a_duplicate_also_by_a_clock_that_is_wrong(
    client: httpx.AsyncClient, database: "Connection[Record]"
) -> None:
    for hours in (0, 0, 3, 3):
        sent_at = datetime.now(UTC) - timedelta(hours=hours)
        said = call(messageId=f"m-{hours}", timestamp=(sent_at - timedelta(minutes=5)).isoformat(), properties={"n": 1})
        said |= {"timestamp": AT} if hours == 0 else {}
        if hours:
            said["timestamp"] = "2026-01-01T10:00:00.000Z"
            sent_at = datetime(2026, 1, 1, 10, 5, tzinfo=UTC)
        check_success(await send(client, "batch", {"batch": [said], "sentAt": sent_at.isoformat()}))
    stored = await journey(client)
    assert [item["id"] for item in stored] == ["m-0", "m-3"]
    late = datetime.now(UTC) - datetime.fromisoformat(stored[1]["occurred_at"])
    assert timedelta(minutes=5) < late < timedelta(minutes=6)
    assert stored[1]["source_fields"]["timestamp"] == "2026-01-01T10:00:00.000Z"
    assert await database.fetchval("SELECT count(*) FROM interactions") == 2


async def test_identify_says_traits_and_whose_the_identifiers_are(client: httpx.AsyncClient) -> None:
    before = call(messageId="m-0", userId=None, anonymousId="cookie", timestamp="2026-11-20T09:00:00Z")
    check_success(await send(client, "track", before))
    traits = {"email": "Anna@Example.com", "phone": "not one", "firstName": "Anna", "plan": "gold", "gone": None}
    said = call(type="identify", anonymousId="cookie", traits=traits)
    for _ in range(2):
        check_success(await send(client, "identify", said))
    for customer in ("user_id:anna", "anonymous_id:cookie", "email:anna@example.com"):
        assert [item["id"] for item in await journey(client, customer)] == ["m-0", "m-1"]
    now = (await client.get("/v1/customers/user_id:anna/traits")).json()["traits"]
    assert {name: trait["value"] for name, trait in now.items() if trait["value"] is not None} == {
        "email": "Anna@Example.com", "phone": "not one", "first_name": "Anna", "plan": "gold",
    }  # fmt: skip
    assert now["plan"]["occurred_at"] == "2026-11-20T10:00:00.000Z"
    assert now["plan"]["source"] == "bootstrap"
    history = await items_at(client, "/v1/customers/user_id:anna/traits/history")
    assert len(history) == 5


async def test_of_traits_what_occurred_last_holds_in_whatever_order_it_comes(client: httpx.AsyncClient) -> None:
    for number, plan in ((2, "gold"), (1, "free")):
        at = f"2026-11-20T10:00:0{number}.000Z"
        said = call(messageId=f"m-{number}", type="identify", timestamp=at, traits={"plan": plan})
        check_success(await send(client, "identify", said))
    assert (await client.get("/v1/customers/user_id:anna/traits")).json()["traits"]["plan"]["value"] == "gold"


async def test_a_trait_that_is_too_long_is_kept_as_an_attribute(client: httpx.AsyncClient) -> None:
    said = call(type="identify", traits={"bio": "x" * 9000, "plan": "gold"})
    check_success(await send(client, "identify", said))
    assert (await client.get("/v1/customers/user_id:anna/traits")).json()["traits"].keys() == {"plan"}
    [stored] = await journey(client)
    assert len(stored["attributes"]["bio"]) == 9000


async def test_an_alias_makes_one_customer_of_what_either_identifier_did(client: httpx.AsyncClient) -> None:
    check_success(await send(client, "track", call(messageId="m-0", userId="old")))
    check_success(await send(client, "track", call(messageId="m-1", userId=None, anonymousId="cookie")))
    check_success(await send(client, "track", call(messageId="m-2", userId="new")))
    for number, previous in ((3, "old"), (4, "cookie")):
        said = call(type="alias", messageId=f"m-{number}", userId="new", previousId=previous)
        check_success(await send(client, "alias", said))
    for customer in ("user_id:new", "user_id:old", "anonymous_id:cookie"):
        assert {item["id"] for item in await journey(client, customer)} == {"m-0", "m-1", "m-2", "m-3", "m-4"}


async def test_a_group_is_said_of_its_member_and_joins_nobody(client: httpx.AsyncClient) -> None:
    for user in ("anna", "beppe"):
        said = call(
            type="group",
            messageId=user,
            userId=user,
            groupId="acme",
            traits={"name": "Acme", "email": "info@acme.example"},
        )
        check_success(await send(client, "group", said))
    now = (await client.get("/v1/customers/user_id:anna/traits")).json()["traits"]
    assert {name: trait["value"] for name, trait in now.items()} == {
        "group_id": "acme", "group_name": "Acme", "group_email": "info@acme.example",
    }  # fmt: skip
    assert [item["id"] for item in await journey(client)] == ["anna"]


async def test_who_was_erased_is_not_taken_again_and_fails_nobody_else(client: httpx.AsyncClient) -> None:
    check_success(await send(client, "track", call(messageId="m-0")))
    assert (await client.delete("/v1/customers/user_id:anna")).status_code < 300
    again = [call(messageId="m-1", type="identify", traits={"plan": "gold"}), call(messageId="m-2", userId="beppe")]
    check_success(await send(client, "batch", {"batch": again}))
    check_refused(await send(client, "track", call(messageId="m-3")), 400, "erased")
    assert (await client.get("/v1/customers/user_id:anna")).status_code == 404
    assert [item["id"] for item in await journey(client, "user_id:beppe")] == ["m-2"]


async def test_a_refused_call_goes_with_whom_it_names(client: httpx.AsyncClient) -> None:
    check_success(await send(client, "track", call()))
    refused = [
        call(messageId="r-1", event=None),
        call(messageId="r-2", type="alias", userId="b", previousId="anna", timestamp="now"),
        call(messageId="r-3", userId=None, anonymousId="anna", event=None),
        call(messageId="r-4", userId="beppe", event=None),
        call(messageId="r-5", properties={"n": float("nan")}),
    ]
    check_success(await send(client, "batch", {"batch": refused}))
    kept = await items_at(client, "/v1/rejected")
    assert {(each["source"], each["id"]) for each in kept} == {("bootstrap", f"r-{n}") for n in range(1, 6)}
    assert (await client.delete("/v1/customers/user_id:anna")).status_code < 300
    assert {each["id"] for each in await items_at(client, "/v1/rejected")} == {"r-3", "r-4"}


async def test_the_same_interaction_through_the_native_route_is_a_duplicate(
    client: httpx.AsyncClient, make: Make
) -> None:
    said = call(properties={"plan": "gold"}, context={"library": {"name": "analytics.js"}})
    check_success(await send(client, "track", said))
    native = make(
        source="bootstrap", id="m-1", occurred_at=AT, channel="web", kind="signed_up", customer={"user_id": "anna"},
        attributes={"plan": "gold"},
        source_fields={"type": "track", "event": "Signed Up", "context": {"library": {"name": "analytics.js"}}},
    )  # fmt: skip
    answer = await client.post("/v1/interactions", json=native)
    assert (answer.status_code, answer.json()["status"]) == (200, "duplicate")


async def test_browsers_may_ask_from_any_site_here_and_nowhere_else(client: httpx.AsyncClient) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    for path in ("/segment/v1/t", "/segment/v1/projects/some-key/settings"):
        answer = await client.options(path, headers=asked)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert (await send(client, "t", call())).headers["access-control-allow-origin"] == "*"
    for path in ("/v1/interactions", "/v1/touchpoints"):
        answer = await client.options(path, headers=asked)
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers


async def test_the_browser_library_is_told_to_send_everything_here(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    answer = await client.get("/segment/v1/projects/some-key/settings")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    told = answer.json()
    assert told["integrations"].keys() == {"Segment.io"}
    assert told["integrations"]["Segment.io"]["apiKey"] == "some-key"
    assert told["integrations"]["Segment.io"]["apiHost"] == "percorso.test/segment/v1"
    assert told["plan"]["track"]["__default"]["enabled"] is True


async def test_what_could_not_be_stored_is_refused_for_a_moment_and_taken_whole_afterwards(database_url: str) -> None:
    calls = [
        call(messageId="m-0"),
        call(messageId="m-1", type="identify", traits={"plan": "gold"}),
        call(messageId="m-2", userId=None),
    ]
    limits = {"statement_timeout_seconds": 1, "connect_timeout_seconds": 1, "commit_timeout_seconds": 1}
    async with Way(database_url) as way, running(way.url, **limits) as (_, client):
        check_success(await send(client, "batch", {"batch": []}))
        way.open = False
        way.end()
        for path, body in (("batch", {"batch": calls}), ("track", calls[0])):
            answer = await send(client, path, body)
            check_refused(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        way.open = True

        async def taken() -> bool:
            return (await send(client, "batch", {"batch": calls})).status_code == 200

        await until(taken)
        assert {item["id"] for item in await journey(client)} == {"m-0", "m-1"}
        assert (await client.get("/v1/customers/user_id:anna/traits")).json()["traits"]["plan"]["value"] == "gold"


async def test_what_cannot_be_worked_on_is_refused_as_the_clients_understand(database_url: str) -> None:
    async with running(database_url) as (app, client):
        cast("Any", app).budgets._most = 0  # noqa: SLF001 - as if that many requests were worked on
        answer = await send(client, "track", call())
        assert int(answer.headers["retry-after"]) >= 1
        document = answer.json()
        assert (answer.status_code, document["code"]) == (503, "unavailable")
        assert document["message"] == document["detail"]
        assert answer.headers["access-control-allow-origin"] == "*"


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_NAMES = [
    "type", "messageId", "userId", "anonymousId", "previousId", "groupId", "event", "name", "timestamp", "sentAt",
    "originalTimestamp", "receivedAt", "properties", "traits", "context", "integrations", "channel", "_metadata",
    "writeKey",
]  # fmt: skip
_calls = st.dictionaries(st.sampled_from(_NAMES), _values) | st.fixed_dictionaries(
    {
        "type": st.sampled_from(sorted(set(CALLS.values()))),
        "userId": st.text(min_size=1, max_size=9),
        "event": st.text(),
    },
    optional=dict.fromkeys([name for name in _NAMES if name not in {"type", "userId", "event"}], _values),
)
_bodies = st.binary(max_size=200) | st.builds(
    lambda body: json.dumps(body).encode(),
    _values
    | _calls
    | st.fixed_dictionaries(
        {"batch": st.lists(_calls | _values, max_size=4)}, optional={"context": _values, "sentAt": _values}
    ),
)


@given(path=st.sampled_from([*BATCHES, *CALLS]), body=_bodies)
async def test_no_body_makes_it_fail_and_each_refusal_is_understood(
    client: httpx.AsyncClient, path: str, body: bytes
) -> None:
    answer = await client.post(f"/segment/v1/{path}", content=body)
    if answer.status_code == 200:
        check_success(answer)
    else:
        check_refused(answer, 400, answer.json()["code"])
    assert await healthy(client)
