"""The feed by pages: what its events say, what it is narrowed to, how far back it goes."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from exchanges import Item, check_problem, pointers, store, store_all
from feeding import FEED, page, read, told
from percorso.http.services import Services
from percorso.queries import feed
from percorso.queries.retention import Policy
from percorso.workers import retention
from support import Make, running, settings_for
from writing import Database, take, until


async def test_what_happened_is_told_in_order_as_it_was_then(client: httpx.AsyncClient, make: Make) -> None:
    begin = (await page(client, "now"))["next_cursor"]
    [receipt] = await store(client, make(text="first", details={"queue": "a"}))
    path = f"/v1/interactions/{receipt['interaction_id']}"
    await client.patch(path, json={"text": "second"})
    await client.patch(path, json={"text": "third"})
    await client.put("/v1/customers/email:anna@example.com/traits", json={"traits": {"city": "Milano"}})
    await store(client, make(customer={"crm_id": "C-1"}))
    merge = {"into": "crm_id:C-1", "reason": "the same"}
    assert (await client.post("/v1/customers/email:anna@example.com/merge", json=merge)).status_code == 200
    items = await read(client, begin)
    assert told(items) == [
        ("interaction.stored", "event-1"),
        ("interaction.changed", "event-1"),
        ("interaction.changed", "event-1"),
        ("customer.said", ""),
        ("interaction.stored", "event-2"),
        ("customer.identity_changed", ""),
    ]
    assert [item["interaction"]["text"] for item in items[:3]] == ["first", "second", "third"]
    assert [item["revision"] for item in items[:3]] == [0, 1, 2]
    shown = (await client.get(path)).json()
    assert items[2]["interaction"] == shown
    assert items[3]["customer_ids"] == items[5]["customer_ids"] == [shown["customer_id"]]
    assert set(items[5]["identity_ids"]) >= {*items[3]["identity_ids"]}
    assert len({item["id"] for item in items}) == len(items)
    for number, item in enumerate(items):
        assert await read(client, item["cursor"]) == items[number + 1 :]


async def test_what_is_deleted_is_told_without_what_it_said_wherever_it_was_told(
    client: httpx.AsyncClient, make: Make
) -> None:
    receipts = await store(client, make(text="secret"), make())
    before = await read(client)
    gone = f"/v1/interactions/{receipts[0]['interaction_id']}"
    await client.patch(gone, json={"text": "more secret"})
    await client.delete(gone)
    items = await read(client)
    id_only = {"interaction_id": receipts[0]["interaction_id"]}
    assert [(item["event"], item["interaction"] == id_only) for item in items] == [
        ("interaction.deleted", True),
        ("interaction.stored", False),
        ("interaction.deleted", True),
        ("interaction.deleted", True),
    ]
    assert [item["id"] for item in items[:2]] == [item["id"] for item in before]
    assert told(await read(client, event="interaction.stored")) == [("interaction.stored", "event-2")]
    assert len(await read(client, event="interaction.deleted")) == 1


@pytest.mark.parametrize("limit", [1, 3, 7, 500])
async def test_a_cursor_stands_within_a_commit(client: httpx.AsyncClient, make: Make, limit: int) -> None:
    await store_all(client, [make() for _ in range(10)])
    await store_all(client, [make() for _ in range(4)])
    items = await read(client, limit=limit)
    assert told(items) == told(await read(client))
    assert sorted(item["interaction"]["id"] for item in items) == sorted(f"event-{n}" for n in range(1, 15))
    for item, following in pairwise(items):
        assert (await page(client, item["cursor"], limit=1))["items"] == [following]


async def test_the_feed_is_narrowed_by_what_an_interaction_is(client: httpx.AsyncClient, make: Make) -> None:
    await store(
        client,
        make(id="a", channel="phone", kind="complaint", touchpoint="line", function="service", direction="inbound"),
        make(id="b", channel="email", kind="offer", source="shop", function="sales", direction="outbound"),
        make(id="c", channel="web", customer={"email": "beppe@example.com"}),
    )
    for params, ids in (
        ({"channel": "phone"}, "a"),
        ({"channel": ["phone", "web"]}, "ac"),
        ({"source": "shop"}, "b"),
        ({"touchpoint": "line"}, "a"),
        ({"kind": ["complaint", "offer"]}, "ab"),
        ({"function": "sales"}, "b"),
        ({"direction": "inbound"}, "ac"),
        ({"customer": "email:beppe@example.com"}, "c"),
        ({"customer": "email:nobody@example.com"}, ""),
        ({"channel": "phone", "function": "sales"}, ""),
        ({"event": "interaction.stored"}, "abc"),
        ({"event": "interaction.changed"}, ""),
    ):
        assert "".join(item["interaction"]["id"] for item in await read(client, **params)) == ids, params


async def test_customers_are_followed_by_all_their_identifiers_and_with_what_is_deleted(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store(client, make(id="a"), make(id="b", customer={"email": "beppe@example.com"}))
    [receipt] = await store(client, make(id="c", customer={"email": "anna@example.com", "crm_id": "C-1"}))
    await client.put("/v1/customers/email:beppe@example.com/traits", json={"traits": {"city": "Roma"}})
    await client.put("/v1/customers/crm_id:C-1/traits", json={"traits": {"city": "Milano"}})
    await client.delete(f"/v1/interactions/{receipt['interaction_id']}")
    for who in ("email:anna@example.com", "crm_id:C-1", receipt["customer_id"]):
        assert told(await read(client, customer=who)) == [
            ("interaction.stored", "a"),
            ("interaction.deleted", "-"),
            ("customer.said", ""),
            ("interaction.deleted", "-"),
        ]


async def test_a_page_looks_at_so_much_and_then_says_where_to_go_on(
    client: httpx.AsyncClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_LOOKED_AT", 20)
    monkeypatch.setattr(feed, "_TOGETHER", 6)
    await store_all(client, [make(channel="web") for _ in range(50)])
    await store(client, make(id="last"))
    pages = [await page(client, channel="phone")]
    while not pages[-1]["caught_up"]:
        pages.append(await page(client, pages[-1]["next_cursor"], channel="phone"))
    assert 3 <= len(pages) <= 8
    assert [len(each["items"]) for each in pages] == [0] * (len(pages) - 1) + [1]
    assert pages[-1]["items"][0]["interaction"]["id"] == "last"


async def test_a_page_ends_once_it_is_large(
    client: httpx.AsyncClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_BYTES", 25_000)
    await store_all(client, [make(text="x" * 10_000) for _ in range(7)])
    first = await page(client)
    assert (len(first["items"]), first["caught_up"]) == (3, False)
    assert len(await read(client)) == 7


async def test_an_empty_page_goes_on_and_never_back(client: httpx.AsyncClient, make: Make, database: Database) -> None:
    await store(client, make())
    end = feed.decode((await page(client))["next_cursor"], pointer="")
    for _ in range(3):
        await database.execute("SELECT pg_current_xact_id()")
        found = await page(client, end.encoded())
        assert (found["items"], found["caught_up"]) == ([], True)
        following = feed.decode(found["next_cursor"], pointer="")
        assert following > end
        end = following
    await store(client, make(id="after"))
    assert told(await read(client, end.encoded())) == [("interaction.stored", "after")]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("after=nonsense", "/query/after"),
        ("after=", "/query/after"),
        ("event=interaction.eaten", "/query/event/0"),
        ("channel=pigeon", "/query/channel/0"),
        ("customer=anna", "/query/customer/0"),
        ("cursor=x", "/query/cursor"),
        ("limit=501", "/query/limit"),
        ("wait=31", "/query/wait"),
        ("source=", "/query/source/0"),
        ("kind=" + "&kind=".join("abcdefghijklmnopqrstuvwxyzabcdefghi"), "/query/kind"),
    ],
)
async def test_what_cannot_be_asked_is_pointed_at(client: httpx.AsyncClient, query: str, pointer: str) -> None:
    for path in (FEED, f"{FEED}/stream") if not query.startswith(("limit", "wait")) else (FEED,):
        problem = check_problem(await client.get(f"{path}?{query}"), 422, "invalid_request")
        assert pointers(problem) == [pointer]


async def test_a_cursor_of_another_list_is_none_of_the_feed(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make(), make())
    journey = (await client.get("/v1/customers/email:anna@example.com/journey?limit=1")).json()["next_cursor"]
    check_problem(await client.get(FEED, params={"after": journey}), 422, "invalid_request")


async def age(database: Database, days: int) -> None:
    """Let all that was committed have been so many days ago."""
    for [name] in await database.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'commits'::regclass"
    ):
        await database.execute(f"ALTER TABLE commits DETACH PARTITION {name}")
        await database.execute(f"UPDATE {name} SET at = at - interval '{days} days'")  # noqa: S608 - constants of the test
        day = (await database.fetchval(f"SELECT min(at)::date FROM {name}")) or datetime.now(UTC).date()  # noqa: S608
        await database.execute(f"ALTER TABLE {name} RENAME TO commits_{day:%Y_%m_%d}")
        await database.execute(
            f"ALTER TABLE commits ATTACH PARTITION commits_{day:%Y_%m_%d} "
            f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
        )


async def test_a_cursor_behind_what_is_kept_is_gone_and_says_from_where_to_go_on(
    client: httpx.AsyncClient, make: Make, database: Database, database_url: str
) -> None:
    [*_] = await store_all(client, [make() for _ in range(3)])
    old = await page(client, limit=2)
    end = (await page(client))["next_cursor"]
    await age(database, 30)
    settings = settings_for(database_url)
    await retention.run(database_url, settings, Policy.of(settings), datetime.now(UTC))
    await store(client, make(id="new"))
    for path in (FEED, f"{FEED}/stream"):
        problem = check_problem(await client.get(path, params={"after": old["next_cursor"]}), 410, "cursor_gone")
        assert told(await read(client, problem["oldest_cursor"])) == [("interaction.stored", "new")]
        assert await read(client, problem["now_cursor"]) == []
    # Of who had read all that is gone nothing is missing.
    assert told(await read(client, end)) == told(await read(client)) == [("interaction.stored", "new")]


async def test_nothing_is_gone_where_a_day_without_commits_or_one_that_was_read_is_dropped(
    client: httpx.AsyncClient, make: Make, database: Database, database_url: str
) -> None:
    await store(client, make())
    await age(database, 30)
    idle = (await page(client))["next_cursor"]
    settings = settings_for(database_url)
    await retention.run(database_url, settings, Policy.of(settings), datetime.now(UTC))
    assert await read(client, idle) == []


async def test_a_cursor_ahead_of_the_database_is_gone(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    end = feed.decode((await page(client))["next_cursor"], pointer="")
    ahead = end._replace(xid8=end.xid8 + 10**6)
    problem = check_problem(await client.get(FEED, params={"after": ahead.encoded()}), 410, "cursor_gone")
    assert "ahead" in problem["detail"]


async def test_a_month_that_is_dropped_is_told_as_one(client: httpx.AsyncClient, make: Make, database_url: str) -> None:
    await store(client, make(occurred_at="2025-03-02T10:00:00Z"), make(occurred_at="2025-03-31T23:00:00Z"))
    begin = (await page(client))["next_cursor"]
    settings = settings_for(database_url, retention_days=100)
    await retention.run(database_url, settings, Policy.of(settings), datetime(2026, 3, 1, tzinfo=UTC))
    items = await read(client, begin)
    assert [(item["event"], item["from"], item["to"]) for item in items] == [
        ("interactions.expired", "2025-03-01T00:00:00.000Z", "2025-04-01T00:00:00.000Z")
    ]
    assert [item["event"] for item in await read(client, event="interaction.stored")] == []


@pytest.mark.parametrize("erasure", ["delete", "anonymise"])
async def test_of_who_was_erased_ids_are_told_alone_and_not_what_is_left_of_it(
    database_url: str, make: Make, erasure: str
) -> None:
    async with running(database_url, erasure=erasure) as (_, client):
        await store(client, make(text="secret"), make(text="secret"))
        assert (await client.delete("/v1/customers/email:anna@example.com")).status_code == 200
        for limit in (1, 100):
            items = await read(client, limit=limit)
            assert [item["event"] for item in items] == [
                "interaction.deleted",
                "interaction.deleted",
                "customer.identity_changed",
                "interaction.deleted",
                "interaction.deleted",
            ]
            assert items[2]["customer_ids"] == []
            assert "secret" not in str(items)
            assert "erased" not in str(items)


async def test_another_generation_comes_after(client: httpx.AsyncClient, make: Make, database: Database) -> None:
    await store(client, make(id="a"))
    await database.execute("UPDATE commits SET xid8 = (xid8::text::bigint + 1000000)::text::xid8")
    await database.execute("UPDATE deployment SET generation = 2")
    first = await read(client)
    assert told(first) == [("interaction.stored", "a")]
    end = (await page(client))["next_cursor"]
    await database.execute(
        "INSERT INTO commits (generation, at, what, hours, identity_ids, interaction_ids) "
        "SELECT 2, now(), 'changed', hours, identity_ids, interaction_ids FROM commits"
    )
    for cursor in (end, first[0]["cursor"]):
        assert told(await read(client, cursor)) == [("interaction.changed", "a")]


async def test_one_who_waits_is_answered_once_there_is_something(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    end = (await page(client))["next_cursor"]
    waiting = asyncio.create_task(page(client, end, wait=30))
    narrow = asyncio.create_task(page(client, end, wait=30, channel="email"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await store(client, make(id="b"))
    assert told((await asyncio.wait_for(waiting, 10))["items"]) == [("interaction.stored", "b")]
    await store(client, make(id="c", channel="email"))
    assert told((await asyncio.wait_for(narrow, 10))["items"]) == [("interaction.stored", "c")]
    found = await page(client, "now", wait=1)
    assert (found["items"], found["caught_up"]) == ([], True)


async def test_no_more_may_wait_than_the_settings_say(database_url: str, make: Make) -> None:
    async with running(database_url, feed_readers=1) as (app, client):
        services: Services = app.state.services
        async with services.news.place():
            problem = check_problem(await client.get(FEED, params={"wait": 5}), 503, "unavailable")
            assert "pages" in problem["detail"]
            await store(client, make())
            assert len((await page(client, wait=5))["items"]) == 1
        assert (await page(client, "now", wait=1))["items"] == []


async def test_who_read_the_feed_is_put_down_once_a_page_that_shows_anything(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store(client, *(make() for _ in range(3)))
    await read(client, limit=2)
    await read(client, "now")

    async def entries() -> list[Item]:
        found: list[Item] = (await client.get("/v1/audit", params={"act": "read_feed"})).json()["items"]
        return found

    async def both() -> bool:
        return len(await entries()) >= 2

    await until(both)
    assert sorted(each["details"]["events"] for each in await entries()) == [1, 2]
    assert {each["actor"] for each in await entries()} == {"bootstrap"}


async def test_documents_are_given_as_in_a_journey(services: Services, client: httpx.AsyncClient, make: Make) -> None:
    given: dict[str, Any] = make(customer={"email": "Anna@EXAMPLE.com"}, text="ünï\n\u2028 \\u0000x"[:6])
    await take(services, given)
    [item] = await read(client)
    journey = (await client.get("/v1/customers/email:anna@example.com/journey")).json()["items"]
    assert item["interaction"] == journey[0]
