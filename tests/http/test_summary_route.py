"""GET /v1/customers/{customer}/summary and /episodes."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest

from exchanges import Item, check_problem, items_at, journey_of, pointers, store, store_all, walk
from percorso import measures
from percorso.measures import Summary
from percorso.queries import contacts
from support import FIXTURES, Make, running
from writing import until

STORY: list[Item] = [json.loads(line) for line in (FIXTURES / "interactions.ndjson").read_text().splitlines()]
HER = "email:anna.bianchi@example.com"
ANNA = "email:anna@example.com"


def summary_of(customer: str) -> str:
    return f"/v1/customers/{quote(customer, safe='')}/summary"


def episodes_of(customer: str) -> str:
    return f"/v1/customers/{quote(customer, safe='')}/episodes"


async def read(client: httpx.AsyncClient, customer: str, **params: Any) -> Item:
    answer = await client.get(summary_of(customer), params=params)
    assert answer.status_code == 200, answer.text
    found: Item = answer.json()
    return found


async def test_a_story_is_summed_up_whoever_of_her_identifiers_is_asked(client: httpx.AsyncClient) -> None:
    await store_all(client, STORY)
    journey = {item["interaction_id"]: item for item in await items_at(client, journey_of(HER))}
    ids = {item["id"]: name for name, item in journey.items()}
    found = await read(client, HER, to="2025-05-21T00:00:00Z")
    assert found["as_of"] == "2025-05-21T00:00:00.000Z"
    assert (found["interactions"], found["truncated_before"]) == (26, None)
    assert (found["first_contact_at"], found["last_contact_at"]) == (
        "2025-02-03T18:41:07.118Z",
        "2025-05-20T19:15:38.275Z",
    )
    assert found["counts"]["by_channel"] == Counter(item["channel"] for item in STORY)
    assert found["counts"]["by_direction"] == Counter(item["direction"] for item in STORY)
    assert (found["preferred"]["channel"], found["preferred"]["time_zone"]) == ("phone", "+01:00")
    # The abandoned call was made good by the next one; the complaint of 07:51:16.222 was answered at 16:40:02.018.
    assert found["responses"]["overall"] == {"answered": 1, "median_seconds": 31725.796}
    assert found["responses"]["waiting"] == 0
    # The second call and the complaint in the same case, the review about the same noise.
    assert [each["interaction_id"] for each in found["repeats"]["latest"]] == [
        ids[name] for name in ("call-9911", "complaint-208", "rev-77210")
    ]
    # From the first call to sales, and in the case to the complaint desk and to customer success.
    assert found["effort"]["hand_offs"] == 3
    assert (found["effort"]["episodes"], found["cases"]["open"], found["cases"]["closed"]) == (2, 0, 1)
    [open_], [closed] = found["complaints"]["latest_open"], found["complaints"]["latest_closed"]
    assert open_["interaction_ids"] == [ids["rev-77210"]]
    assert (closed["interaction_ids"], closed["closed_by"]) == ([ids["complaint-208"]], ids["outreach-31"])
    assert (found["feedback"]["nps"]["latest_score"], found["feedback"]["csat"]["latest_score"]) == (7, 2)
    assert (found["sentiment"]["interactions"], found["sentiment"]["mean"]) == (6, -0.1833)
    assert found["buying"]["monetary"] == {"EUR": {"amount": 641.5, "purchases": 1, "mean": 641.5}}
    assert found["buying"]["latest"] == [ids["order-A-2041"]]
    assert found["relationship"]["state"] == "cracked"
    assert {reason["rule"]: reason["interaction_ids"] for reason in found["relationship"]["reasons"]} == {
        "open_complaint": [ids["rev-77210"]],
        "dissatisfied": [ids["call-9911"]],
        "felt_bad": [ids["rev-77210"], ids["complaint-208"], ids["call-9911"]],
        "came_back": [ids["rev-77210"], ids["complaint-208"], ids["call-9911"]],
        "settled_complaint": [ids["outreach-31"]],
    }
    assert await read(client, "crm_id:C-20417", to="2025-05-21T00:00:00Z") == found


async def test_a_story_has_its_episodes(client: httpx.AsyncClient) -> None:
    await store_all(client, STORY)
    journey = [item["interaction_id"] for item in await items_at(client, journey_of(HER), order="asc")]
    last, first = await items_at(client, episodes_of(HER))
    assert (first["first_interaction_id"], first["last_interaction_id"]) == (journey[0], journey[23])
    assert (first["interactions"], first["ended_by"], first["case"], first["hand_offs"]) == (
        24,
        "case_closed",
        "case-4",
        3,
    )
    assert (last["interactions"], last["by_channel"], last["ended_by"]) == (2, {"survey": 2}, "pause")
    by_day = await items_at(client, episodes_of(HER), gap="1d", order="asc")
    assert sum(each["interactions"] for each in by_day) == len(STORY)
    assert by_day[0]["interactions"] == 3
    assert len(by_day) > 15


async def test_the_counts_are_those_of_the_journey_over_every_identity(client: httpx.AsyncClient, make: Make) -> None:
    names = [{"email": f"anna.{number}@example.com"} for number in range(4)]
    items = [make(customer=names[number % 4], channel=["phone", "email", "fax"][number % 3]) for number in range(24)]
    joined = {"email": [name["email"] for name in names]}
    await store_all(client, [*items, make(customer=joined, channel="web")])
    found = await read(client, "email:anna.3@example.com")
    journey = await items_at(client, journey_of("email:anna.0@example.com"))
    assert found["interactions"] == len(journey) == 25
    assert found["counts"]["by_channel"] == Counter(item["channel"] for item in journey)
    assert found["customer_id"] == journey[0]["customer_id"]


async def test_a_summary_may_be_of_a_time_and_is_as_of_its_end(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(
        client,
        [
            make(id=str(month), occurred_at=f"2026-0{month}-01T00:00:00Z", conversation="a", channel="chat")
            for month in (1, 2, 3)
        ]
        + [make(id="q", occurred_at="2026-02-10T00:00:00Z", channel="email", conversation="a", direction="inbound")],
    )
    found = await read(client, ANNA, **{"from": "2026-02-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"})
    assert (found["interactions"], found["as_of"]) == (2, "2026-03-01T00:00:00.000Z")
    assert [each["waiting_seconds"] for each in found["responses"]["unanswered"]] == [19 * 86400]
    assert (await read(client, ANNA, **{"from": "2026-02-01T00:00:00Z"}))["interactions"] == 3
    assert (await read(client, ANNA, to="0001-01-01T00:00:00Z"))["interactions"] == 0
    nothing = await read(client, ANNA, **{"from": "2026-04-01T00:00:00Z"})
    assert (nothing["interactions"], nothing["first_contact_at"], nothing["preferred"]["hours"]) == (0, None, None)
    assert nothing["as_of"].endswith(":00.000Z")


async def test_the_hours_are_in_the_time_zone_that_a_trait_names(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(
        client,
        [make(occurred_at=f"2026-{month}-15T{hour}:30:00Z", channel="web") for month, hour in (("01", 17), ("07", 16))],
    )
    assert (await read(client, ANNA))["preferred"]["time_zone_from"] == "default"
    traits = f"/v1/customers/{ANNA}/traits"
    for name, value, zone in (
        ("time_zone", "nowhere", "UTC"),
        ("timezone", "Europe/Rome", "Europe/Rome"),
        ("time_zone", {"name": "Europe/Rome"}, "Europe/Rome"),
        ("time_zone", "Asia/Tokyo", "Asia/Tokyo"),
        ("time_zone", None, "Europe/Rome"),
    ):
        assert (await client.put(traits, json={"traits": {name: value}})).status_code == 200
        found = (await read(client, ANNA))["preferred"]
        assert (found["time_zone"], found["time_zone_from"]) == (zone, "default" if zone == "UTC" else "trait")
    assert found["by_hour"][18] == 2


async def test_pages_of_episodes_follow_each_other_without_gap_or_repetition(
    client: httpx.AsyncClient, make: Make
) -> None:
    await store_all(client, [make(occurred_at=f"2026-{month:02}-01T00:00:00Z") for month in range(1, 10)])
    for order in ("asc", "desc"):
        for limit in (1, 4, 9, 500):
            pages = [page async for page in walk(client, episodes_of(ANNA), order=order, limit=limit, gap="20d")]
            assert all(len(page) == limit for page in pages[:-1])
            began = [each["began_at"] for page in pages for each in page]
            assert began == sorted(
                (f"2026-{month:02}-01T00:00:00.000Z" for month in range(1, 10)), reverse=order == "desc"
            )


async def test_pages_of_episodes_stay_right_while_interactions_arrive(client: httpx.AsyncClient, make: Make) -> None:
    def at(month: int) -> Item:
        return make(occurred_at=f"2026-{month:02}-01T00:00:00Z")

    await store_all(client, [at(month) for month in (2, 4, 6, 8)])
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (
            await client.get(episodes_of(ANNA), params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [each["began_at"][:7] for each in page["items"]]
        cursor = page["next_cursor"]
        if len(seen) == 2:  # so far: 8 and 6
            await store_all(client, [at(month) for month in (1, 7, 9)])
    assert seen == ["2026-08", "2026-06", "2026-04", "2026-02", "2026-01"]


async def test_an_unchanged_answer_is_not_sent_again_and_a_changed_one_is(
    client: httpx.AsyncClient, make: Make
) -> None:
    [receipt] = await store(client, make(resolution="unresolved"))
    for path in (f"{summary_of(ANNA)}?to=2026-11-01T00:00:00Z", episodes_of(ANNA)):
        fresh = await client.get(path)
        tag = {"If-None-Match": fresh.headers["etag"]}
        assert (await client.get(path, headers=tag)).status_code == 304
        patched = {"resolution": "resolved"} if "summary" in path else {"resolution": "unresolved"}
        await client.patch(f"/v1/interactions/{receipt['interaction_id']}", json=patched)
        changed = await client.get(path, headers=tag)
        assert changed.status_code == 200
        assert changed.headers["etag"] != fresh.headers["etag"]


async def test_of_more_than_can_be_looked_at_the_latest_are_and_it_says_from_when(
    client: httpx.AsyncClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contacts, "MOST", 5)
    monkeypatch.setattr(contacts, "_SLICE", 2)
    both = {"email": ["anna@example.com", "other@example.com"]}
    await store_all(
        client,
        [make(occurred_at="2015-01-01T00:00:00Z", customer=both)]
        + [make(occurred_at=f"2026-01-0{day}T00:00:00Z") for day in (1, 3, 5)]
        + [make(occurred_at=f"2026-01-0{day}T00:00:00Z", customer={"email": "other@example.com"}) for day in (2, 4, 6)],
    )
    found = await read(client, ANNA)
    assert (found["interactions"], found["truncated_before"]) == (5, "2026-01-02T00:00:00.000Z")
    assert found["first_contact_at"] == found["truncated_before"]
    page = (await client.get(episodes_of(ANNA))).json()
    assert page["truncated_before"] == "2026-01-02T00:00:00.000Z"
    assert [each["interactions"] for each in page["items"]] == [5]
    whole = await read(client, ANNA, **{"from": "2026-01-02T00:00:00Z"})
    assert (whole["interactions"], whole["truncated_before"]) == (5, None)


async def test_what_cannot_be_taken_is_pointed_at(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    other = (await client.get(f"{journey_of(ANNA)}?limit=1")).json()["next_cursor"] or "AAAA"
    for path, query, wrong in (
        *(
            (episodes_of(ANNA), f"gap={gap}", "/query/gap")
            for gap in ("", "0d", "30", "d", "30m", "-1d", "1.5d", "10000d", "30D", "٣d")
        ),
        (episodes_of(ANNA), "gap=1d&gap=2d", "/query/gap"),
        (episodes_of(ANNA), "order=up", "/query/order"),
        (episodes_of(ANNA), "limit=0", "/query/limit"),
        (episodes_of(ANNA), f"cursor={other}", "/query/cursor"),
        (episodes_of(ANNA), "from=2026-01-01T00:00:00Z", "/query/from"),
        (summary_of(ANNA), "to=yesterday", "/query/to"),
        (summary_of(ANNA), "from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", "/query/to"),
        (summary_of(ANNA), "channel=phone", "/query/channel"),
        (summary_of("anna"), "", "/path/customer"),
    ):
        document = check_problem(await client.get(f"{path}?{query}"), 422, "invalid_request")
        assert pointers(document) == [wrong], query


async def test_a_cursor_of_another_gap_or_order_is_refused(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(client, [make(occurred_at=f"2026-0{month}-01T00:00:00Z") for month in (1, 5)])
    cursor = (await client.get(episodes_of(ANNA), params={"limit": 1})).json()["next_cursor"]
    assert (await client.get(episodes_of(ANNA), params={"cursor": cursor, "gap": "30d"})).status_code == 200
    for params in ({"gap": "31d"}, {"order": "asc"}):
        answer = await client.get(episodes_of(ANNA), params=params | {"cursor": cursor})
        assert pointers(check_problem(answer, 422, "invalid_request")) == ["/query/cursor"]


async def test_an_unknown_customer_has_no_summary_and_no_episodes(client: httpx.AsyncClient) -> None:
    for path in (summary_of("crm_id:C-18"), episodes_of("crm_id:C-18")):
        check_problem(await client.get(path), 404, "unknown_customer")


async def test_to_read_them_takes_the_scope_to_read(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    key = (await client.post("/v1/keys", json={"name": "n", "scopes": ["ingest"]})).json()["key"]
    for path in (summary_of(ANNA), episodes_of(ANNA)):
        assert (await client.get(path, headers={"Authorization": f"Bearer {key}"})).status_code == 403


async def test_neither_reading_nor_computing_is_done_where_requests_are_taken(
    client: httpx.AsyncClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: dict[str, int] = {}

    def noting(name: str) -> Callable[..., Any]:
        does = getattr(measures, name)

        def note(*given: Any, **named: Any) -> Any:
            done[name] = threading.get_ident()
            return does(*given, **named)

        return note

    for name in ("read", "summarise", "episodes"):
        monkeypatch.setattr(measures, name, noting(name))
    await store(client, make())
    for path in (summary_of(ANNA), episodes_of(ANNA)):
        assert (await client.get(path)).status_code == 200
    assert done.keys() == {"read", "summarise", "episodes"}
    assert threading.get_ident() not in done.values()


async def test_no_more_than_two_histories_are_in_memory_at_once(
    database_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, most = 0, 0
    go_on = threading.Event()
    summarise = measures.summarise

    def slowly(*given: Any, **named: Any) -> Summary:
        nonlocal together, most
        together += 1
        most = max(most, together)
        go_on.wait(10)
        together -= 1
        return summarise(*given, **named)

    monkeypatch.setattr(measures, "summarise", slowly)
    async with running(database_url) as (app, client):
        await store(client, make())
        reading = [asyncio.create_task(client.get(summary_of(ANNA))) for _ in range(5)]
        await until(lambda: together == 2 and app.state.services.measuring.locked())
        assert (await client.get(journey_of(ANNA))).status_code == 200
        go_on.set()
        assert [answer.status_code for answer in await asyncio.gather(*reading)] == [200] * 5
    assert most == 2


async def test_a_connection_that_is_lost_between_two_slices_is_answered_503_and_safe_to_repeat(
    client: httpx.AsyncClient,
    make: Make,
    database: "asyncpg.Connection[asyncpg.Record]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await store_all(client, [make() for _ in range(9)])
    monkeypatch.setattr(contacts, "_SLICE", 2)
    loop, read_one = asyncio.get_running_loop(), measures.read
    cut = threading.Event()

    def cutting(*given: Any) -> measures.Contact:
        if not cut.is_set():
            cut.set()
            ended = database.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = 'percorso' AND datname = current_database()"
            )
            asyncio.run_coroutine_threadsafe(ended, loop).result(10)
        return read_one(*given)

    monkeypatch.setattr(measures, "read", cutting)
    check_problem(await client.get(summary_of(ANNA)), 503, "unavailable")
    assert cut.is_set()
    assert (await read(client, ANNA))["interactions"] == 9
