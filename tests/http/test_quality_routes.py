"""Contact quality: each figure counts what it says, over any period and in any time zone."""

import csv
import io
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pyarrow as pa
import pytest
from fastapi import FastAPI

from exchanges import store_all
from following import follow
from percorso.analytics.dimensions import Dimension, Level
from percorso.analytics.quality import MEASURES
from percorso.analytics.steps import CHANNEL_CODES
from rolling import plainly, roll
from support import Make, running
from writing import Database

QUALITY = "/v1/analytics/contact-quality"
END = datetime(2026, 4, 2, tzinfo=UTC)
RANGE = {"from": (END - timedelta(days=6)).isoformat(), "to": END.isoformat()}
"""With the day in it on which clocks in Italy go forward: 29 March."""
Service = tuple[FastAPI, httpx.AsyncClient]
Item = dict[str, Any]


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    async with running(database_url) as (app, client):
        yield app, client


async def count(app: FastAPI) -> None:
    """Let what came of contacts be found out, and all that is stored be counted."""
    await follow(app.state.services)
    await roll(app.state.services)


async def read(client: httpx.AsyncClient, **params: Any) -> Item:
    answer = await client.get(QUALITY, params=RANGE | params)
    assert answer.status_code == 200, answer.text
    found: Item = answer.json()
    return found


def figures(item: Item) -> dict[str, tuple[int, int]]:
    """The counts of each figure."""
    return {name: (item[name]["count"], item[name]["of"]) for name in MEASURES}


def contact(make: Make, hour: float, customer: str, channel: str, **others: Any) -> Item:
    moment = END - timedelta(days=5) + timedelta(hours=hour)
    usual = {"direction": "inbound", "touchpoint": f"{channel}-desk"}
    return make(occurred_at=moment.isoformat(), customer={"crm_id": customer}, channel=channel, **(usual | others))


async def test_each_figure_counts_what_it_says(service: Service, make: Make) -> None:
    app, client = service
    await store_all(
        client,
        [
            contact(make, 0, "answered", "email", conversation="a"),
            contact(make, 2, "answered", "email", conversation="a", direction="outbound"),
            contact(make, 1, "waits", "email", conversation="b"),
            contact(make, 3, "helped", "phone", case="c", agent="ada", resolution="resolved"),
            contact(make, 3, "came-back", "phone", case="d", agent="ada", resolution="unresolved"),
            contact(make, 27, "came-back", "chat", case="d", agent="bob", resolution="resolved", kind="sales_chat"),
        ],
    )
    await count(app)
    found = await read(client)
    assert figures(found["total"]) == {
        "first_contact_resolution": (1, 2),
        "repeat_contact_rate": (1, 5),
        "hand_offs_per_contact": (1, 5),
        "channel_switch_rate": (1, 5),
        "unanswered_share": (1, 2),
    }
    assert found["total"]["repeat_contact_rate"]["value"] == 0.2
    assert [(item["name"], item["contacts"]) for item in found["items"]] == [
        ("email-desk", 2), ("phone-desk", 2), ("chat-desk", 1)
    ]  # fmt: skip
    mail, phone, chat = map(figures, found["items"])
    assert (mail["unanswered_share"], phone["unanswered_share"]) == ((1, 2), (0, 0))
    assert phone["first_contact_resolution"] == (1, 2)
    assert (phone["repeat_contact_rate"], chat["repeat_contact_rate"]) == ((0, 2), (1, 1))
    assert chat["hand_offs_per_contact"] == chat["channel_switch_rate"] == (1, 1)
    since = END - timedelta(days=5) + timedelta(hours=1)
    waiting = (datetime.fromisoformat(found["as_of"]) - since).total_seconds()
    assert found["items"][0]["waiting_seconds"] == found["total"]["waiting_seconds"] == pytest.approx(waiting)
    assert found["items"][1]["waiting_seconds"] is None
    kinds = await read(client, by="kind")
    assert [(item["name"], item["contacts"]) for item in kinds["items"]] == [(None, 4), ("sales_chat", 1)]
    channels = await read(client, by="channel", top=1)
    assert ([item["name"] for item in channels["items"]], channels["found"]) == (["phone"], 3)


async def test_an_answer_that_comes_later_ends_the_wait(service: Service, make: Make) -> None:
    app, client = service
    await store_all(client, [contact(make, 0, "a", "email", conversation="a")])
    await count(app)
    assert (await read(client))["total"]["unanswered_share"]["value"] == 1
    await store_all(client, [contact(make, 50, "a", "email", conversation="a", direction="outbound")])
    await count(app)
    total = (await read(client))["total"]
    assert (total["unanswered_share"]["value"], total["waiting_seconds"]) == (0, None)


async def test_what_changed_since_the_period_before_is_told_from_chance(service: Service, make: Make) -> None:
    app, client = service
    items = []
    for period, unresolved in ((0, 60), (1, 20)):
        for number in range(100):
            resolution = "unresolved" if number < unresolved else "resolved"
            hours = number - 24 * 6 * period
            items.append(contact(make, hours, f"{period}-{number}", "phone", case=f"{period}", resolution=resolution))
    await store_all(client, items)
    await count(app)
    found = await read(client, by="channel")
    assert found["before"]["to"] == found["from"]
    change = found["items"][0]["first_contact_resolution"]["change"]
    assert (change["before"], change["difference"]) == (0.8, -0.4)
    assert (change["significant"], change["test"]) == (True, "two-proportion z-test")
    assert change["p_value"] < 0.001
    unchanged = found["items"][0]["repeat_contact_rate"]["change"]
    assert (unchanged["difference"], unchanged["significant"], unchanged["test"]) == (0, None, None)


def mixed_up(make: Make, number: int) -> Item:
    """Some contact or answer of one of few customers."""
    rng = random.Random(number)
    channel = rng.choice(["phone", "email", "chat"])
    return make(
        occurred_at=(END - timedelta(days=7) + timedelta(minutes=rng.randrange(8 * 24 * 60))).isoformat(),
        customer={"crm_id": f"C-{rng.randrange(30)}"},
        channel=channel,
        touchpoint=f"{channel}-{rng.randrange(2)}",
        kind=rng.choice([None, "question", "order"]),
        direction=rng.choice(["inbound", "inbound", "outbound"]),
        conversation=rng.choice([None, f"v-{rng.randrange(60)}"]),
        case=rng.choice([None, f"c-{rng.randrange(40)}"]),
        agent=rng.choice([None, "ada", "bob"]),
        resolution=rng.choice([None, "resolved", "unresolved"]),
        topics=rng.choice([None, ["billing"], ["delivery"]]),
    )


@pytest.mark.parametrize(
    ("interval", "tz", "by"),
    [
        ("day", "Europe/Rome", "touchpoint"),
        ("hour", "UTC", "channel"),
        ("week", "America/New_York", "kind"),
        ("month", "Europe/Rome", "touchpoint"),
    ],
)
async def test_every_point_of_a_series_says_what_the_raw_table_does(
    service: Service, make: Make, database: Database, interval: str, tz: str, by: str
) -> None:
    app, client = service
    await store_all(client, [mixed_up(make, number) for number in range(600)])
    await count(app)
    zone = ZoneInfo(tz)
    expected: dict[tuple[str | None, datetime], Counter[str]] = defaultdict(Counter)
    slugs = {row["touchpoint_id"]: row["slug"] for row in await database.fetch("SELECT * FROM touchpoints")}
    codes = {code: channel for channel, code in CHANNEL_CODES.items()}
    for (scope, dimension, level, start, slot, key), cell in (await plainly(database)).cells.items():
        moment = start + timedelta(hours=slot)
        if scope == 0 and level == Level.HOUR and END - timedelta(days=6) <= moment < END:
            local = moment.astimezone(zone)
            begun = local.replace(hour=local.hour if interval == "hour" else 0)
            if interval == "week":
                begun = (local - timedelta(days=local.weekday())).replace(hour=0)
            if interval == "month":
                begun = begun.replace(day=1)
            names = {Dimension.TOUCHPOINT: slugs, Dimension.CHANNEL: codes, Dimension.KIND: {"": None}}.get(dimension)
            if names is not None and dimension == Dimension[by.upper()]:
                expected[names.get(key, key), begun].update(cell.counts)
    found = await read(client, interval=interval, tz=tz, by=by)
    points = {(item["name"], datetime.fromisoformat(p["start"])): p for item in found["items"] for p in item["series"]}
    assert expected.keys() <= points.keys()
    told = 0
    for place, point in points.items():
        counts = expected[place]
        assert figures(point) == {n: (counts[m.part], counts[m.whole]) for n, m in MEASURES.items()}, place
        told += counts["repeats"] + counts["hand_offs"] + counts["waiting"] + counts["switches"]
    assert told > 50
    for item in found["items"]:
        starts = [datetime.fromisoformat(point["start"]) for point in item["series"]]
        assert starts == sorted(set(starts))
        assert len(starts) == {"hour": 144, "day": 7, "week": 2, "month": 2}[interval]
        whole = {name: sum(point[name]["count"] for point in item["series"]) for name in MEASURES}
        assert whole == {name: item[name]["count"] for name in MEASURES}


async def test_contact_quality_is_a_table_of_items_or_of_points(service: Service, make: Make) -> None:
    app, client = service
    await store_all(client, [mixed_up(make, number) for number in range(60)])
    await count(app)
    found = await read(client, interval="day", tz="Europe/Rome")
    answer = await client.get(QUALITY, params=RANGE, headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["name"] for row in rows] == [item["name"] for item in found["items"]]
    for row, item in zip(rows, found["items"], strict=True):
        assert int(row["hand_offs_per_contact.count"]) == item["hand_offs_per_contact"]["count"]
        assert "repeat_contact_rate.change.p_value" in row
    params = RANGE | {"interval": "day", "tz": "Europe/Rome"}
    answer = await client.get(QUALITY, params=params, headers={"Accept": "application/vnd.apache.arrow.stream"})
    assert answer.headers["percorso-as-of"]
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.schema.field("start").type == pa.timestamp("ms", "UTC")
    expected = [
        (item["name"], datetime.fromisoformat(point["start"]), point["repeat_contact_rate"]["value"])
        for item in found["items"]
        for point in item["series"]
    ]
    columns = ("name", "start", "repeat_contact_rate.value")
    assert [tuple(row[name] for name in columns) for row in table.to_pylist()] == expected


async def test_nothing_stored_has_no_quality(service: Service) -> None:
    _, client = service
    found = await read(client, interval="day")
    assert (found["items"], found["found"], found["as_of"]) == ([], 0, None)
    assert found["total"]["repeat_contact_rate"]["value"] is None
