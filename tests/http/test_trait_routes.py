"""Traits of a customer: what is said, by whom and since when, what holds now, and what was said before."""

import asyncio
import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from exchanges import Item, check_problem, items_at, pointers, store, walk
from support import Make
from writing import count, until

ANNA = "/v1/customers/email:anna@example.com"


@pytest.fixture
async def anna(client: httpx.AsyncClient, make: Make) -> httpx.AsyncClient:
    """A client of a service that knows Anna."""
    await store(client, make())
    return client


async def say(client: httpx.AsyncClient, customer: str = ANNA, **body: Any) -> Item:
    """Say this of a customer; what holds then."""
    answer = await client.put(f"{customer}/traits", json=body)
    assert answer.status_code == 200, answer.text
    traits: Item = answer.json()["traits"]
    return traits


def day(number: int) -> str:
    return f"2026-03-{number:02}T12:00:00.000Z"


async def test_a_trait_has_its_source_and_its_time_and_who_said_it(anna: httpx.AsyncClient) -> None:
    before = datetime.now(UTC)
    key = (await anna.post("/v1/keys", json={"name": "connector", "scopes": ["write"]})).json()["key"]
    body = {
        "traits": {"city": "Roma", "tier": {"points": 1, "name": "gold"}},
        "occurred_at": "2026-03-01T13:00:00+01:00",
    }
    answer = await anna.put(f"{ANNA}/traits", json=body | {"source": "crm"}, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    traits = answer.json()["traits"]
    assert {name: trait["value"] for name, trait in traits.items()} == body["traits"]
    for trait in traits.values():
        assert (trait["occurred_at"], trait["source"], trait["set_by"]) == (day(1), "crm", "connector")
        assert before - timedelta(milliseconds=1) <= datetime.fromisoformat(trait["received_at"]) <= datetime.now(UTC)
    assert (await anna.get(f"{ANNA}/traits")).json() == answer.json()
    customer = (await anna.get(ANNA)).json()
    assert customer["traits"] == traits
    assert customer["customer_id"] == answer.json()["customer_id"]


async def test_what_is_left_out_is_the_time_of_receipt_and_the_name_of_the_key(anna: httpx.AsyncClient) -> None:
    trait = (await say(anna, traits={"city": "Roma"}))["city"]
    assert (trait["source"], trait["set_by"]) == ("bootstrap", "bootstrap")
    assert trait["occurred_at"] == trait["received_at"]


async def test_what_occurred_last_holds_whatever_arrives_last(anna: httpx.AsyncClient) -> None:
    await say(anna, traits={"city": "Roma"}, occurred_at=day(5))
    traits = await say(anna, traits={"city": "Milano", "tier": "gold"}, occurred_at=day(3))
    assert {name: trait["value"] for name, trait in traits.items()} == {"city": "Roma", "tier": "gold"}
    traits = await say(anna, traits={"city": "Torino"}, occurred_at=day(6), source="other")
    assert (traits["city"]["value"], traits["city"]["source"]) == ("Torino", "other")


async def test_of_two_at_the_same_moment_the_one_received_last_holds(anna: httpx.AsyncClient) -> None:
    for value in ("Rmoa", "Roma", "Rom"):
        assert (await say(anna, traits={"city": value}, occurred_at=day(1)))["city"]["value"] == value
    history = await items_at(anna, f"{ANNA}/traits/history")
    assert [item["value"] for item in history] == ["Rom", "Roma", "Rmoa"]


async def test_null_takes_a_trait_away_from_then_on_and_only_what_is_named_changes(anna: httpx.AsyncClient) -> None:
    await say(anna, traits={"city": "Roma", "tier": "gold"}, occurred_at=day(1))
    assert (await say(anna, traits={"city": None}, occurred_at=day(3))).keys() == {"tier"}
    assert (await say(anna, traits={"city": "Milano"}, occurred_at=day(2))).keys() == {"tier"}
    history = await items_at(anna, f"{ANNA}/traits/history", name="city")
    assert [(item["occurred_at"], item["value"]) for item in history] == [
        (day(3), None),
        (day(2), "Milano"),
        (day(1), "Roma"),
    ]
    assert (await say(anna, traits={"city": "Torino"}, occurred_at=day(4)))["city"]["value"] == "Torino"


async def test_any_json_comes_back_as_the_same_json(anna: httpx.AsyncClient) -> None:
    values: Item = {
        "text": 'Ü"\\\n\u2028😀',
        "whole": 2**53 + 1,
        "huge": 10**100,
        "fraction": -0.125,
        "small": 5e-324,
        "large": 1.7976931348623157e308,
        "yes": True,
        "no": False,
        "empty": "",
        "list": [1, None, [{}], {"b": None, "a": []}],
        "deep": json.loads("[" * 90 + "]" * 90),
        "x.y-z_9": {"traits": {"city": "Roma"}},
    }
    said = await say(anna, traits=values)
    assert {name: trait["value"] for name, trait in said.items()} == values


async def test_to_say_the_same_again_changes_nothing(
    anna: httpx.AsyncClient, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    body: Item = {"traits": {"tier": {"a": 1, "b": [1, 2]}, "city": "Roma"}, "occurred_at": day(1), "source": "crm"}
    first = await anna.put(f"{ANNA}/traits", json=body)
    again = b'{"source": "crm", "traits": {"city": "R\\u006fma", "tier": {"b": [1, 2], "a": 1}}, "occurred_at": "%b"}'
    answer = await anna.put(f"{ANNA}/traits", content=again % b"2026-03-01T13:00:00+01:00")
    assert answer.json() == first.json()
    assert answer.headers["etag"] == first.headers["etag"]
    assert len(await items_at(anna, f"{ANNA}/traits/history")) == 2
    said = await database.fetch("SELECT * FROM commits WHERE what = 'said'")
    assert len(said) == 1
    identity = await database.fetchval("SELECT identity_id FROM identities")
    assert (said[0]["identity_ids"], said[0]["hours"], said[0]["interaction_ids"]) == ([identity], [], [])
    await say(anna, **(body | {"source": "shop"}))
    assert len(await items_at(anna, f"{ANNA}/traits/history")) == 4
    assert await database.fetchval("SELECT count(*) FROM commits WHERE what = 'said'") == 2


async def test_many_who_say_the_same_at_once_neither_double_it_nor_wait_for_each_other_in_a_circle(
    anna: httpx.AsyncClient, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    names = [f"t{number}" for number in range(50)]
    bodies = [
        {"traits": dict.fromkeys(order, "x"), "occurred_at": day(1)}
        for order in (names, names[::-1])
        for _ in range(10)
    ]
    answers = await asyncio.gather(*(anna.put(f"{ANNA}/traits", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert await database.fetchval("SELECT count(*) FROM traits") == 50
    assert await database.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


async def test_the_history_is_paged_newest_first_and_stays_right_while_more_is_said(anna: httpx.AsyncClient) -> None:
    for number in range(1, 8):
        await say(anna, traits={"a": number, "b": -number}, occurred_at=day(number))
    pages = walk(anna, f"{ANNA}/traits/history", limit=3, name="a")
    seen = await anext(pages)
    await say(anna, traits={"a": 99}, occurred_at=day(20))
    async for page in pages:
        assert len(page) <= 3
        seen += page
    assert [item["value"] for item in seen] == [7, 6, 5, 4, 3, 2, 1]
    everything = [item async for page in walk(anna, f"{ANNA}/traits/history", limit=4) for item in page]
    assert len({json.dumps(item) for item in everything}) == len(everything) == 15
    moments = [item["occurred_at"] for item in everything]
    assert moments == sorted(moments, reverse=True)
    assert await items_at(anna, f"{ANNA}/traits/history", name="unknown") == []


async def test_a_forged_cursor_of_a_history_leads_to_a_page_or_is_refused(anna: httpx.AsyncClient) -> None:
    await say(anna, traits={"a": 1, "b": 2})
    await anna.put(f"{ANNA}/consents", json={"consents": [{"purpose": "a", "status": "granted"}] * 2})
    cursor = (await anna.get(f"{ANNA}/traits/history", params={"limit": 1})).json()["next_cursor"]
    for path, given in (("traits", "x"), ("traits", cursor[:-4]), ("consents", cursor)):
        answer = await anna.get(f"{ANNA}/{path}/history", params={"cursor": given})
        assert pointers(check_problem(answer, 422, "invalid_request")) == ["/query/cursor"]
    # Positions before and after every moment that a calendar has.
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for ticks, found in ((-(2**63), 0), (2**63 - 1, 2)):
        forged = raw[:1] + ticks.to_bytes(8, "big", signed=True) * 2 + raw[17:]
        given = base64.urlsafe_b64encode(forged).decode().rstrip("=")
        assert len(await items_at(anna, f"{ANNA}/traits/history", cursor=given)) == found


async def test_what_cannot_be_taken_is_pointed_at(anna: httpx.AsyncClient) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=25)).isoformat()
    for body, wrong in (
        ({}, ["/traits"]),
        ({"traits": {}}, ["/traits"]),
        ({"traits": []}, ["/traits"]),
        ({"traits": None}, ["/traits"]),
        ([], [""]),
        ({"traits": {f"t{number}": 1 for number in range(101)}}, ["/traits"]),
        (
            {"traits": {"City": 1, "a b": 1, "": 1, "-x": 1, "x" * 65: 1, "a/b~": 1}},
            ["/traits/City", "/traits/a b", "/traits/", "/traits/-x", f"/traits/{'x' * 65}", "/traits/a~1b~0"],
        ),
        ({"traits": {"city": "x" * 8191, "fine": "x" * 8190}}, ["/traits/city"]),
        ({"traits": {"city": ["é" * 4095]}}, ["/traits/city"]),
        ({"traits": {"city": 1}, "occurred_at": soon}, ["/occurred_at"]),
        ({"traits": {"city": 1}, "occurred_at": "1989-12-31T23:59:59Z"}, ["/occurred_at"]),
        ({"traits": {"city": 1}, "occurred_at": "2026-03-01T12:00:00"}, ["/occurred_at"]),
        ({"traits": {"city": 1}, "occurred_at": "2026-02-30T12:00:00Z"}, ["/occurred_at"]),
        ({"traits": {"city": 1}, "occurred_at": 1}, ["/occurred_at"]),
        ({"traits": {"city": 1}, "source": ""}, ["/source"]),
        ({"traits": {"city": 1}, "source": "x" * 129}, ["/source"]),
        ({"traits": {"city": 1}, "set_by": "me"}, ["/set_by"]),
    ):
        document = check_problem(await anna.put(f"{ANNA}/traits", json=body), 422, "invalid_request")
        assert pointers(document) == wrong, body
        assert all(re.fullmatch(r"(is|must|has) .+", error["detail"]) for error in document["errors"]), document
    for raw in (
        b"",
        b"{",
        b'{"traits": {"a": 1, "a": 2}}',
        b'{"traits": {"a": "\\u0000"}}',
        b'{"traits": {"a": 1e999}}',
    ):
        check_problem(await anna.put(f"{ANNA}/traits", content=raw), 422, "malformed_body")
    check_problem(await anna.put(f"{ANNA}/traits", content=b" " * (1024 * 1024 + 1)), 413, "body_too_large")
    assert (await anna.get(f"{ANNA}/traits")).json()["traits"] == {}


async def test_as_much_as_is_allowed_is_taken_at_once(anna: httpx.AsyncClient) -> None:
    traits = {f"{number:064}": "x" * 8190 for number in range(100)}
    assert len(await say(anna, traits=traits)) == 100


async def test_traits_of_nobody_are_not_found_and_parameters_are_looked_at(anna: httpx.AsyncClient) -> None:
    nobody = "/v1/customers/email:nobody@example.com"
    for sent in (
        anna.get(f"{nobody}/traits"),
        anna.get(f"{nobody}/traits/history"),
        anna.put(f"{nobody}/traits", json={"traits": {"a": 1}}),
    ):
        check_problem(await sent, 404, "unknown_customer")
    for path, wrong in (
        ("traits?name=a", "/query/name"),
        ("traits/history?channel=email", "/query/channel"),
        ("traits/history?limit=0", "/query/limit"),
        (f"traits/history?name={'x' * 65}", "/query/name"),
    ):
        assert pointers(check_problem(await anna.get(f"{ANNA}/{path}"), 422, "invalid_request")) == [wrong]
    answer = await anna.put("/v1/customers/email:nobody/traits", json={"traits": {"a": 1}})
    assert pointers(check_problem(answer, 422, "invalid_request")) == ["/path/customer"]


async def test_what_is_said_of_any_identifier_is_said_of_the_customer_and_goes_with_it(
    client: httpx.AsyncClient, make: Make
) -> None:
    phone = "/v1/customers/phone:+39066982"
    await store(client, make(), make(customer={"phone": "+39066982"}))
    await say(client, traits={"city": "Roma", "tier": "gold"}, occurred_at=day(1))
    await say(client, phone, traits={"city": "Milano", "pets": 2}, occurred_at=day(2))
    assert (await client.get(f"{ANNA}/traits")).json()["traits"].keys() == {"city", "tier"}
    await store(client, make(customer={"email": "anna@example.com", "phone": "+39066982"}))
    both = (await client.get(f"{ANNA}/traits")).json()
    assert {name: trait["value"] for name, trait in both["traits"].items()} == {
        "city": "Milano",
        "tier": "gold",
        "pets": 2,
    }
    assert (await client.get(f"{phone}/traits")).json() == both
    assert (await client.get(f"/v1/customers/{both['customer_id']}/traits")).json() == both
    history = await items_at(client, f"{phone}/traits/history", name="city")
    assert [item["value"] for item in history] == ["Milano", "Roma"]


async def test_what_is_said_while_its_identity_is_deleted_finds_nobody_and_leaves_nothing(
    anna: httpx.AsyncClient, database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    body = {"consents": [{"purpose": "marketing", "status": "granted"}]}
    eraser = await asyncpg.connect(database_url)
    async with eraser.transaction():
        await eraser.execute("DELETE FROM identities")
        saying = [
            asyncio.create_task(anna.put(f"{ANNA}/traits", json={"traits": {"city": "Roma"}})),
            asyncio.create_task(anna.put(f"{ANNA}/consents", json=body)),
        ]
        waiting = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await until(lambda: _are(database, waiting, 2))
    await eraser.close()
    for sent in saying:
        check_problem(await sent, 404, "unknown_customer")
    assert await count(database, "traits") == await count(database, "consents") == 0


async def _are(database: "asyncpg.Connection[asyncpg.Record]", rows: str, number: int) -> bool:
    return await count(database, rows) == number


async def test_current_traits_and_histories_have_an_etag(anna: httpx.AsyncClient) -> None:
    await say(anna, traits={"a": 1})
    for path in ("traits", "traits/history"):
        tag = (await anna.get(f"{ANNA}/{path}")).headers["etag"]
        assert (await anna.get(f"{ANNA}/{path}", headers={"If-None-Match": tag})).status_code == 304
        await say(anna, traits={"a": path})
        assert (await anna.get(f"{ANNA}/{path}", headers={"If-None-Match": tag})).status_code == 200
