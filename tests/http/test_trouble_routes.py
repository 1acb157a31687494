"""Problems and contact quality: what goes wrong is found, shown by its newest examples, and said with its counts."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pytest
from fastapi import FastAPI
from pyarrow import parquet
from test_statements import plan_of, statements_read

from exchanges import check_problem, pointers, store, store_all
from following import follow
from rolling import roll
from support import Make, running
from writing import Database

END = datetime(2026, 3, 30, tzinfo=UTC)
PERIOD = timedelta(days=10)
RANGE = {"from": (END - PERIOD).isoformat(), "to": END.isoformat()}
PROBLEMS, QUALITY = "/v1/analytics/problems", "/v1/analytics/contact-quality"
OTHERS = """
    INSERT INTO interactions (identity_id, id, received_at, touchpoint_id, channel, direction, document)
    SELECT md5(n::text)::uuid,
           (lpad(to_hex(1773500000000 + n * 20000), 12, '0') || '8000' || substr(md5(n::text), 1, 16))::uuid,
           now(), 1000 + n % 40, 'phone', 'inbound', '{"customer": {}}'
    FROM generate_series(1, 50000) AS n
"""
"""Interactions of other people at other places, of 14 to 26 March."""

Service = tuple[FastAPI, httpx.AsyncClient]
Item = dict[str, Any]


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    async with running(database_url) as (app, client):
        yield app, client


async def read(client: httpx.AsyncClient, path: str, **params: Any) -> Item:
    answer = await client.get(path, params=RANGE | params)
    assert answer.status_code == 200, answer.text
    found: Item = answer.json()
    return found


async def count(app: FastAPI) -> None:
    """Let all that is stored be counted, with what came of contacts."""
    await follow(app.state.services)
    await roll(app.state.services)


def at(periods_ago: int, number: int) -> str:
    """A moment in the period, or in one before: another one for each number up to 2,000."""
    return (END - PERIOD * (periods_ago + 1) + timedelta(minutes=7 * number)).isoformat()


def calls(make: Make, *, now: int, before: int = 5, topic: str, first: int) -> list[Item]:
    """100 calls about a topic in each of five periods, so many of which are of negative sentiment."""
    return [
        make(
            id=f"{topic}-{period}-{number}",
            occurred_at=at(period, first + number),
            customer={"crm_id": f"{topic}-{period}-{number}"},
            topics=[topic],
            touchpoint=f"{topic.strip('=').lower()}-line",
            kind="support_call",
            direction="inbound",
            sentiment={"label": "negative" if number < (now if period == 0 else before) else "neutral"},
        )
        for period in range(5)
        for number in range(100)
    ]


async def test_a_topic_that_grew_worse_is_found_with_its_newest_examples(service: Service, make: Make) -> None:
    app, client = service
    items = calls(make, topic="Billing", now=40, first=0) + calls(make, topic="delivery", now=5, first=200)
    await store_all(client, items)
    await count(app)
    found = await read(client, PROBLEMS, by="topic")
    assert found["from"] == "2026-03-20T00:00:00.000Z"
    assert found["history"] == {"from": "2026-02-08T00:00:00.000Z", "to": "2026-03-20T00:00:00.000Z"}
    assert found["total"] == {
        "interactions": 200, "complaints": 0, "negative": 45, "repeats": 0, "unresolved": 0, "trouble": 45
    }  # fmt: skip
    assert found["found"] == 1
    [worst] = found["items"]
    assert (worst["rank"], worst["by"], worst["name"]) == (1, "topic", "billing")
    assert (worst["interactions"], worst["trouble"], worst["share_of_trouble"]) == (100, 40, 0.888889)
    negative = worst["negative"]
    assert {name: negative[name] for name in ("count", "of", "share", "history", "others", "rising", "high")} == {
        "count": 40, "of": 100, "share": 0.4, "history": 0.05, "others": 0.05, "rising": True, "high": True,
    }  # fmt: skip
    assert negative["excess"] == worst["score"] == 35
    assert max(negative["history_p_value"], negative["others_p_value"]) < 0.001
    shown = [(await client.get(example["href"])).json() for example in worst["examples"]]
    assert [each["id"] for each in shown] == [f"Billing-0-{number}" for number in (39, 38, 37)]
    assert [each["interaction_id"] for each in shown] == [each["interaction_id"] for each in worst["examples"]]
    assert all(each.keys() == {"interaction_id", "href", "occurred_at", "signals"} for each in worst["examples"])
    assert {tuple(each["signals"]) for each in worst["examples"]} == {("negative",)}
    assert worst["examples"][0]["occurred_at"] == "2026-03-20T04:33:00.000Z"


async def test_each_dimension_names_its_own_items_and_examples(service: Service, make: Make) -> None:
    app, client = service
    items = calls(make, topic="billing", now=40, first=0) + calls(make, topic="delivery", now=5, first=200)
    for item in items:
        item["kind"] = "billing_call" if item["touchpoint"] == "billing-line" else "other_call"
    await store_all(client, items)
    await count(app)
    found = await read(client, PROBLEMS)
    named = {(item["by"], item["name"]): item for item in found["items"]}
    assert named.keys() == {("topic", "billing"), ("kind", "billing_call"), ("touchpoint", "billing-line")}
    shown = [each["interaction_id"] for each in named["topic", "billing"]["examples"]]
    assert len(shown) == 3
    for item in named.values():
        assert [each["interaction_id"] for each in item["examples"]] == shown
    one = await read(client, PROBLEMS, by="touchpoint,kind", top=1)
    assert (one["found"], len(one["items"])) == (2, 1)


async def test_examples_of_a_rare_topic_are_found_among_many_others_and_none_is_of_what_was_deleted(
    service: Service, make: Make
) -> None:
    app, client = service
    rare = calls(make, topic="rare", now=40, first=0)
    others = [
        make(
            id=f"other-{number}",
            occurred_at=(END - PERIOD + timedelta(hours=4, seconds=number)).isoformat(),
            customer={"crm_id": f"O-{number}"},
            topics=["common"],
            kind="complaint",
        )
        for number in range(400)
    ]
    receipt = await store(client, rare.pop(39))
    await store_all(client, rare + others)
    await count(app)
    await client.delete(f"/v1/interactions/{receipt[0]['interaction_id']}")
    [item] = [item for item in (await read(client, PROBLEMS, by="topic"))["items"] if item["name"] == "rare"]
    shown = [(await client.get(example["href"])).json()["id"] for example in item["examples"]]
    assert shown == [f"rare-0-{number}" for number in (38, 37, 36)]


async def test_complaints_repeats_and_unresolved_ones_are_trouble_too(service: Service, make: Make) -> None:
    app, client = service
    bad = [
        make(
            id=f"bad-{number}-{time}",
            occurred_at=(END - timedelta(days=3) + timedelta(minutes=number, days=time)).isoformat(),
            customer={"crm_id": f"B-{number}"},
            topics=["router"],
            touchpoint="bad-line",
            kind="support_call",
            outcome="complained",
            resolution="unresolved",
        )
        for number in range(15)
        for time in range(2)
    ]
    good = [
        make(
            id=f"good-{number}",
            occurred_at=at(0, number),
            customer={"crm_id": f"G-{number}"},
            touchpoint="good-line",
            resolution="resolved",
        )
        for number in range(200)
    ]
    await store_all(client, bad + good)
    await count(app)
    found = await read(client, PROBLEMS, by="touchpoint")
    [item] = found["items"]
    assert item["name"] == "bad-line"
    counts = {name: (item[name]["count"], item[name]["of"]) for name in ("complaints", "repeats", "unresolved")}
    assert counts == {"complaints": (30, 30), "repeats": (15, 30), "unresolved": (30, 30)}
    assert item["trouble"] == found["total"]["trouble"] == 75
    assert item["share_of_trouble"] == 1
    assert [item[name]["high"] for name in ("complaints", "negative", "repeats", "unresolved")] == [1, 0, 1, 1]
    assert item["score"] == 75
    assert item["examples"][0]["signals"] == ["complaints", "repeats", "unresolved"]


async def test_a_kind_of_complaint_is_no_problem_for_that(service: Service, make: Make) -> None:
    app, client = service
    items = [
        make(id=f"{kind}-{number}", occurred_at=at(0, number), customer={"crm_id": f"{kind}-{number}"}, kind=kind)
        for kind in ("complaint_filed", "question", None)
        for number in range(100)
    ]
    await store_all(client, items)
    await count(app)
    found = await read(client, PROBLEMS, by="kind")
    assert (found["total"]["complaints"], found["items"]) == (100, [])


async def test_touchpoints_that_were_merged_are_one(service: Service, make: Make) -> None:
    app, client = service
    items = calls(make, topic="billing", now=30, first=0) + calls(make, topic="accounts", now=30, first=200)
    await store_all(client, items + calls(make, topic="delivery", now=5, first=400))
    await count(app)
    apart = await read(client, PROBLEMS, by="touchpoint")
    assert sorted(item["name"] for item in apart["items"]) == ["accounts-line", "billing-line"]
    body = {"into": "billing-line", "reason": "The same people answer."}
    assert (await client.post("/v1/touchpoints/accounts-line/merge", json=body)).status_code == 200
    [item] = (await read(client, PROBLEMS, by="touchpoint"))["items"]
    assert (item["name"], item["interactions"], item["negative"]["count"]) == ("billing-line", 200, 60)
    shown = [(await client.get(example["href"])).json()["id"] for example in item["examples"]]
    assert shown == [f"accounts-0-{number}" for number in (29, 28, 27)]
    quality = await read(client, QUALITY, interval="week")
    counted = [(item["name"], item["contacts"]) for item in quality["items"]]
    assert counted == [("billing-line", 200), ("delivery-line", 100)]
    assert sum(point["repeat_contact_rate"]["of"] for point in quality["items"][0]["series"]) == 200
    await client.post("/v1/touchpoints/accounts-line/unmerge", json={"reason": "They do not."})
    again = await read(client, PROBLEMS, by="touchpoint")
    assert again["items"] == apart["items"]


async def test_what_is_read_for_problems_and_contact_quality_is_found_by_an_index(
    service: Service, make: Make, database: Database
) -> None:
    app, client = service
    await store_all(client, calls(make, topic="billing", now=30, first=0) + calls(make, topic="b", now=5, first=200))
    await count(app)
    await database.execute(OTHERS)
    await database.execute("VACUUM ANALYZE interactions, rollups, steps")
    plans = []
    for path, params in ((PROBLEMS, {}), (QUALITY, {"interval": "day"})):
        async with statements_read(app) as seen:
            assert len((await read(client, path, **params))["items"]) >= 2
        for statement in seen:
            facts = "FROM interactions" in statement[0]
            if facts or "rollups" in statement[0] or "FROM steps" in statement[0]:
                # Of rollups and steps there are so few here that all would be read sooner than an index.
                await database.execute(f"SET enable_seqscan = {'on' if facts else 'off'}")
                plans.append(await plan_of(database, statement, generic=True))
    assert not any("Seq Scan on" in plan for plan in plans), plans
    for index in ("rollups_pkey", "steps_pkey", "touchpoint_id_id_idx"):
        assert any(index in plan for plan in plans), index


async def test_problems_are_a_table(service: Service, make: Make) -> None:
    app, client = service
    await store_all(client, calls(make, topic="billing", now=40, first=0))
    await store_all(client, calls(make, topic="=other", now=5, first=200))
    await count(app)
    document = await read(client, PROBLEMS)
    expected = [
        (item["name"], item["score"], item["negative"]["others"], item["negative"]["rising"], item["interactions"])
        for item in document["items"]
    ]
    examples = [[each["interaction_id"] for each in item["examples"]] for item in document["items"]]

    async def rows(accept: str) -> bytes:
        answer = await client.get(PROBLEMS, params=RANGE, headers={"Accept": accept})
        assert answer.headers["content-type"].startswith(accept)
        return answer.content

    arrow = pa.ipc.open_stream(await rows("application/vnd.apache.arrow.stream")).read_all()
    file = parquet.read_table(io.BytesIO(await rows("application/vnd.apache.parquet")))
    assert arrow.equals(file)
    names = ("name", "score", "negative.others", "negative.rising", "interactions")
    assert [tuple(row[name] for name in names) for row in arrow.to_pylist()] == expected
    assert arrow.column("examples").to_pylist() == examples
    plain = list(csv.DictReader(io.StringIO((await rows("text/csv")).decode())))
    assert [row["name"] for row in plain] == [name for name, *_ in expected]
    assert list(plain[0]) == arrow.column_names


async def test_nothing_stored_is_no_problem(service: Service) -> None:
    _, client = service
    found = await read(client, PROBLEMS)
    assert (found["items"], found["found"], found["as_of"]) == ([], 0, None)
    assert found["total"]["trouble"] == found["method"]["comparisons"] == 0


@pytest.mark.parametrize(
    ("path", "params", "wrong"),
    [
        (PROBLEMS, {"by": "channel"}, "/query/by"),
        (PROBLEMS, {"by": ""}, "/query/by"),
        (PROBLEMS, {"by": "topic,topic"}, "/query/by"),
        (PROBLEMS, {"top": "0"}, "/query/top"),
        (PROBLEMS, {"top": "101"}, "/query/top"),
        (PROBLEMS, {"interval": "day"}, "/query/interval"),
        (PROBLEMS, {"from": RANGE["to"], "to": RANGE["from"]}, "/query/to"),
        (PROBLEMS, {"from": "1990-01-01T00:00:00Z"}, "/query/from"),
        (QUALITY, {"by": "topic"}, "/query/by"),
        (QUALITY, {"interval": "year"}, "/query/interval"),
        (QUALITY, {"interval": "hour", "from": "2025-03-01T00:00:00Z"}, "/query/interval"),
        (QUALITY, {"interval": "day", "top": "500", "from": "2026-01-01T00:00:00Z"}, "/query/interval"),
        (QUALITY, {"tz": "Rome"}, "/query/tz"),
        (QUALITY, {"top": "501"}, "/query/top"),
    ],
)
async def test_what_cannot_be_asked_is_pointed_at_with_what_can(
    client: httpx.AsyncClient, path: str, params: dict[str, str], wrong: str
) -> None:
    document = check_problem(await client.get(path, params=RANGE | params), 422, "invalid_request")
    assert pointers(document) == [wrong]
