"""How touchpoints perform: figures of any range, against the same question asked of what was stored."""

import csv
import io
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exchanges import Item, check_problem, pointers, store_all, walk
from following import follow
from percorso.http.services import Services
from rolling import roll
from support import Make

HOUR = timedelta(hours=1)
BEGIN = datetime(2024, 11, 28, 21, tzinfo=UTC)
DAYS = 500


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def world(make: Make, count: int) -> list[Item]:
    """Interactions of all kinds at three touchpoints, over more than a year."""
    choose = random.Random(5)
    items = []
    for _ in range(count):
        at = BEGIN + timedelta(hours=choose.randrange(24 * DAYS), minutes=choose.randrange(60))
        channel = choose.choice(["phone", "chat", "web", "mail"])
        item = make(
            occurred_at=at.isoformat(),
            channel=channel,
            touchpoint=choose.choice(["line", "line", "site", "shop/1"]),
            kind=choose.choice(["a", "b", None]),
            direction=choose.choice(["inbound", "inbound", "outbound"]),
            directness=choose.choice(["direct", "indirect"]),
            customer={"email": f"c{choose.randrange(60)}@example.com"},
            resolution=choose.choice(["resolved", "unresolved", "escalated", None]),
            agent=choose.choice([*"ABCDE", None]),
        )
        if choose.random() < 0.5:
            item["sentiment"] = choose.choice([
                {"score": 0.5}, {"score": -0.25}, {"label": "negative"}, {"score": -0.5, "label": "mixed"}
            ])  # fmt: skip
        if choose.random() < 0.3:
            item["feedback"] = [
                {"metric": "nps", "score": choose.randrange(11), "min": 0, "max": 10},
                {"metric": "csat", "score": choose.randint(1, 5), "min": 1, "max": 5},
                {"metric": "ces", "score": choose.randint(1, 7), "min": 1, "max": 7},
            ]
        if channel == "phone":
            item["details"] = {"duration_seconds": choose.randrange(600), "wait_seconds": choose.randrange(90)}
            item["outcome"] = choose.choice(["answered", "abandoned"])
        if channel == "mail":
            item["details"] = {"cost": {"amount": choose.randrange(100) / 4, "currency": choose.choice(["EUR", "CHF"])}}
        items.append(item)
    return items


def mean(values: list[float]) -> Any:
    return pytest.approx(fmean(values), abs=1e-6) if values else None


def share(part: int, whole: int, times: int = 1) -> Any:
    return pytest.approx(times * part / whole, abs=1e-6) if whole else None


def expected(items: list[Item]) -> dict[str, Any]:
    """The figures of these, computed plainly."""
    n = len(items)
    inbound = [item for item in items if item["direction"] == "inbound"]
    direct = sum(item["directness"] == "direct" for item in items)
    felt = [item["sentiment"] for item in items if "sentiment" in item]
    scores = [each["score"] for each in felt if "score" in each]
    negative = sum(each["label"] == "negative" if "label" in each else each["score"] < 0 for each in felt)
    answers: dict[str, list[float]] = defaultdict(list)
    for item in items:
        for each in item.get("feedback", ()):
            answers[each["metric"]].append(each["score"])
    nps = [1 if score >= 9 else -1 if score <= 6 else 0 for score in answers["nps"]]
    unresolved = sum(item.get("resolution") in {"unresolved", "escalated"} for item in items)
    calls = [item["details"] for item in items if item["channel"] == "phone"]
    queued = [item for item in inbound if item["channel"] in {"phone", "chat"}]
    costs: dict[str, float] = defaultdict(float)
    for item in items:
        if item["channel"] == "mail":
            costs[item["details"]["cost"]["currency"]] += item["details"]["cost"]["amount"]
    return {
        "interactions": n,
        "customers": len({item["customer"]["email"] for item in items}),
        "inbound_share": share(len(inbound), n),
        "direct": direct,
        "indirect": n - direct,
        "sentiment": {
            "scored": len(scores), "mean": mean(scores), "felt": len(felt), "negative_share": share(negative, len(felt))
        },
        "nps": {"answers": len(nps), "score": share(sum(nps), len(nps), 100)},
        "csat": {
            "answers": len(answers["csat"]),
            "score": share(sum(score >= 4 for score in answers["csat"]), len(answers["csat"])),
        },
        "ces": {"answers": len(answers["ces"]), "score": mean(answers["ces"])},
        "unresolved": unresolved,
        "unresolved_per_100": share(unresolved, n, 100),
        "wait_time": {"measured": len(calls), "mean": mean([each["wait_seconds"] for each in calls])},
        "handling_time": {"measured": len(calls), "mean": mean([each["duration_seconds"] for each in calls])},
        "abandonment": {
            "offered": len(queued),
            "share": share(sum(item.get("outcome") == "abandoned" for item in queued), len(queued)),
        },
        "costs": pytest.approx(costs),
    }  # fmt: skip


def agrees(figures: Item, items: list[Item]) -> None:
    """These figures are those of these interactions; so few customers are counted nearly exactly.

    Up to 60 customers, whose hashes differ from run to run, share a register of 2,048 with another 0.9 times on
    average: more than six times in one run of thirty thousand.
    """
    wanted = expected(items)
    found = {name: figures[name] for name in wanted}
    assert abs(found.pop("customers") - wanted.pop("customers")) <= 6
    assert found == wanted


def within(items: list[Item], start: datetime, end: datetime, **members: Any) -> list[Item]:
    return [
        item
        for item in items
        if start <= datetime.fromisoformat(item["occurred_at"]) < end
        and all(item.get(name) == value for name, value in members.items())
    ]


async def told(client: httpx.AsyncClient, path: str, **params: Any) -> Item:
    names = {"start": "from", "end": "to"}
    given = {names.get(n, n): text(v) if isinstance(v, datetime) else v for n, v in params.items()}
    answer = await client.get(path, params=given)
    assert answer.status_code == 200, answer.text
    document: Item = answer.json()
    return document


async def test_figures_of_any_range_are_those_of_what_was_stored(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    items = world(make, 1500)
    await store_all(client, items)
    await follow(services)
    await roll(services)
    choose = random.Random(9)
    hours = 24 * DAYS
    spans = [sorted(choose.sample(range(hours + 1), 2)) for _ in range(12)]
    spans += [[0, hours], [3, 5], [27, 28], [27, 27 + 24], [51, 51 + 24 * 40]]
    for first, last in spans:
        start, end = BEGIN + first * HOUR, BEGIN + last * HOUR
        document = await told(client, "/v1/touchpoints", start=start, end=end)
        assert document["before"]["to"] == document["from"]
        for item in document["items"]:
            agrees(item, within(items, start, end, touchpoint=item["slug"]))
        counts = [item["interactions"] for item in document["items"]]
        assert counts == sorted(counts, reverse=True)
        channels = await told(client, "/v1/analytics/channels", start=start, end=end)
        agrees(channels["total"], within(items, start, end))
        for item in channels["items"]:
            agrees(item, within(items, start, end, channel=item["channel"]))
        stats = await told(client, "/v1/touchpoints/line/stats", start=start, end=end, interval="month", by="agent")
        agrees(stats["total"], within(items, start, end, touchpoint="line"))
        for group in stats["groups"]:
            agrees(group, within(items, start, end, touchpoint="line", agent=group["value"]))


async def test_every_figure_is_compared_with_the_period_before(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    start = datetime(2026, 3, 10, tzinfo=UTC)
    items = [
        make(
            occurred_at=(start + timedelta(hours=number % 24 - 24 * (number % 2))).isoformat(),
            touchpoint="line",
            direction="inbound",
            outcome="abandoned" if number % 2 or number % 20 == 0 else "answered",
            sentiment={"score": 0.1 + number % 3 / 10},
            details={"wait_seconds": 60 * (number % 2) + number % 5},
        )
        for number in range(200)
    ]
    await store_all(client, items)
    await roll(services)
    document = await told(client, "/v1/touchpoints", start=start, end=start + 24 * HOUR)
    assert document["before"] == {"from": "2026-03-09T00:00:00.000Z", "to": "2026-03-10T00:00:00.000Z"}
    [line] = document["items"]
    change = line["change"]
    assert change["interactions"] == {"before": 100, "difference": 0, "significant": None, "test": None}
    assert change["abandonment"]["share"] == {
        "before": 1.0, "difference": -0.9, "significant": True, "test": "two-proportion z-test"
    }  # fmt: skip
    assert change["wait_time"]["mean"] == {
        "before": 62.0, "difference": -60.0, "significant": True, "test": "Welch's t-test"
    }  # fmt: skip
    assert change["sentiment"]["mean"]["significant"] is False
    assert change["nps"]["score"] == {"before": None, "difference": None, "significant": None, "test": None}
    assert change["complaints_per_100"]["test"] is None


async def test_touchpoints_are_listed_by_what_is_asked_for_page_by_page(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    for slug in ("never", "z", "y", "x"):
        await client.put(f"/v1/touchpoints/{slug}", json={})
    items = [
        make(touchpoint=slug, resolution="unresolved" if number < worse else "resolved")
        for slug, count, worse in (("x", 3, 1), ("y", 3, 3), ("w", 5, 0))
        for number in range(count)
    ]
    await store_all(client, items)
    await roll(services)
    march = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
    for sort, slugs in (
        ("interactions", ["w", "y", "x", "never", "z"]),
        ("unresolved", ["y", "x", "never", "z", "w"]),
        ("registered", ["never", "z", "y", "x", "w"]),
    ):
        for limit in (1, 2, 3, 5, 50):
            pages = [page async for page in walk(client, "/v1/touchpoints", **march, sort=sort, limit=limit)]
            assert [item["slug"] for page in pages for item in page] == slugs
            assert all(len(page) == limit for page in pages[:-1])
    first = (await client.get("/v1/touchpoints", params=march | {"limit": 1})).json()
    answer = await client.get("/v1/touchpoints", params={"cursor": first["next_cursor"], "sort": "unresolved"})
    assert pointers(check_problem(answer, 422, "invalid_request")) == ["/query/cursor"]


async def test_without_a_range_it_is_the_last_thirty_days_with_the_hour_that_is_running(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    now = datetime.now(UTC)
    moments = [now, now - timedelta(days=29, hours=22), now - timedelta(days=31)]
    await store_all(client, [make(occurred_at=moment.isoformat(), touchpoint="line") for moment in moments])
    await roll(services)
    document = await told(client, "/v1/touchpoints")
    [line] = document["items"]
    assert (line["interactions"], line["change"]["interactions"]["before"]) == (2, 1)
    assert datetime.fromisoformat(document["to"]) - datetime.fromisoformat(document["from"]) == timedelta(days=30)
    assert document["as_of"] is not None
    assert document["errors"] == {"customers": 0.023, "response_times": 0.0196}


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Rome", "2026-03-29", 23),
        ("Europe/Rome", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("Africa/Cairo", "2026-04-24", 23),
        ("Australia/Lord_Howe", "2026-04-05", 25),
        ("Asia/Kolkata", "2026-03-29", 24),
        ("UTC", "2026-03-29", 24),
    ],
)
async def test_days_are_those_of_the_zone_where_clocks_change(
    client: httpx.AsyncClient, services: Services, make: Make, zone: str, day: str, hours: int
) -> None:
    """One interaction in each hour of UTC; an hour counts where it begins."""
    middle = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    start = middle - timedelta(days=3)
    moments = [start + number * HOUR for number in range(24 * 6)]
    await store_all(client, [make(occurred_at=moment.isoformat(), touchpoint="line") for moment in moments])
    await roll(services)
    place = ZoneInfo(zone)
    wanted: dict[str, int] = defaultdict(int)
    for moment in moments:
        wanted[moment.astimezone(place).date().isoformat()] += 1
    document = await told(
        client, "/v1/touchpoints/line/stats", start=start, end=moments[-1] + HOUR, tz=zone, interval="day"
    )
    found = {item["start"][:10]: item["interactions"] for item in document["items"]}
    assert found == wanted
    assert found[day] == hours
    assert document["tz"] == zone
    document = await told(
        client, "/v1/touchpoints/line/stats", start=start, end=moments[-1] + HOUR, tz=zone, interval="hour"
    )
    starts = [item["start"] for item in document["items"]]
    assert len(set(starts)) == 24 * 6
    assert [datetime.fromisoformat(each) for each in starts] == moments
    assert {item["interactions"] for item in document["items"]} == {1}
    heat = (await told(client, "/v1/analytics/channels", start=start, end=moments[-1] + HOUR, tz=zone))["total"]
    plain = [[0] * 24 for _ in range(7)]
    for moment in moments:
        local = moment.astimezone(place)
        plain[local.weekday()][local.hour] += 1
    assert heat["heat_map"] == plain


async def test_a_series_has_no_gaps_and_says_null_of_what_is_not_known(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    for at in ("2026-03-03T10:00:00Z", "2026-03-19T10:00:00Z"):
        await store_all(client, [make(occurred_at=at, touchpoint="line")])
    await roll(services)
    params = {"from": "2026-03-01T00:00:00+01:00", "to": "2026-04-01T00:00:00+02:00", "tz": "Europe/Rome"}
    for interval, starts, counts in (
        ("month", ["2026-03-01T00:00:00+01:00"], [2]),
        (
            "week",
            [
                "2026-02-23T00:00:00+01:00",
                "2026-03-02T00:00:00+01:00",
                "2026-03-09T00:00:00+01:00",
                "2026-03-16T00:00:00+01:00",
                "2026-03-23T00:00:00+01:00",
                "2026-03-30T00:00:00+02:00",
            ],
            [0, 1, 0, 1, 0, 0],
        ),
    ):
        document = await told(client, "/v1/touchpoints/line/stats", **params, interval=interval)
        assert [item["start"] for item in document["items"]] == starts
        assert [item["interactions"] for item in document["items"]] == counts
    document = await told(client, "/v1/touchpoints/line/stats", **params)
    assert len(document["items"]) == 31
    empty = document["items"][0]
    assert (empty["customers"], empty["inbound_share"], empty["response_time"]["p50"]) == (0, None, None)
    for path in ("/v1/touchpoints/line/stats", "/v1/analytics/channels"):
        document = await told(
            client, path, start=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2020, 1, 2, tzinfo=UTC)
        )
        assert document["total"]["interactions"] == 0


async def test_of_many_values_those_with_most_interactions_are_told_apart(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    items = [
        make(
            touchpoint="line",
            agent=agent,
            occurred_at=f"2026-03-0{day}T10:00:00Z",
            kind="k",
            campaign="c",
            location="l",
        )
        for agent, count in (("A", 1), ("B", 3), (None, 4), ("D", 2))
        for number in range(count)
        for day in (1 + number % 2,)
    ]
    await store_all(client, items)
    await roll(services)
    params = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-03T00:00:00Z"}
    document = await told(client, "/v1/touchpoints/line/stats", **params, by="agent", top=2)
    groups = [(group["value"], group["other"], group["interactions"]) for group in document["groups"]]
    assert groups == [(None, False, 4), ("B", False, 3), (None, True, 3)]
    rows = [(item["value"], item["other"], item["start"][:10], item["interactions"]) for item in document["items"]]
    assert rows == [
        (None, False, "2026-03-01", 2),
        (None, False, "2026-03-02", 2),
        ("B", False, "2026-03-01", 2),
        ("B", False, "2026-03-02", 1),
        (None, True, "2026-03-01", 2),
        (None, True, "2026-03-02", 1),
    ]
    for by, value in (("channel", "phone"), ("function", None), ("kind", "k"), ("campaign", "c"), ("location", "l")):
        document = await told(client, "/v1/touchpoints/line/stats", **params, by=by)
        assert [(group["value"], group["interactions"]) for group in document["groups"]] == [(value, 10)]


async def test_channels_say_how_many_of_them_customers_use(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    used = {"a": ["phone"], "b": ["phone", "phone"], "c": ["phone", "email"], "d": ["phone", "email", "chat", "web"]}
    items = [
        make(channel=channel, customer={"email": f"{name}@example.com"}, occurred_at=f"2026-0{2 + number}-03T10:00:00Z")
        for name, channels in used.items()
        for number, channel in enumerate(channels)
    ]
    await store_all(client, items)
    await roll(services)
    document = await told(
        client,
        "/v1/analytics/channels",
        start=datetime(2026, 1, 1, 5, tzinfo=UTC),
        end=datetime(2026, 7, 1, tzinfo=UTC),
    )
    assert document["channels_used"] == {"sampled": 4, "one": 0.5, "two": 0.25, "three_or_more": 0.25}
    assert document["items"][0]["channel"] == "phone"
    document = await told(
        client, "/v1/analytics/channels", start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 4, 1, tzinfo=UTC)
    )
    assert document["channels_used"] == {"sampled": 3, "one": 1.0, "two": 0.0, "three_or_more": 0.0}


async def test_response_times_are_within_their_error(client: httpx.AsyncClient, services: Services, make: Make) -> None:
    begin = datetime(2026, 3, 2, 9, tzinfo=UTC)
    seconds = [60 * (number + 1) for number in range(40)]
    items = []
    for number, each in enumerate(seconds):
        customer = {"email": f"c{number}@example.com"}
        asked = begin + timedelta(minutes=number)
        about = {
            "channel": "email",
            "touchpoint": "box",
            "customer": customer,
            "conversation": f"conversation-{number}",
        }
        for at, direction in ((asked, "inbound"), (asked + timedelta(seconds=each), "outbound")):
            items.append(make(occurred_at=at.isoformat(), direction=direction, **about))
    await store_all(client, items)
    await follow(services)
    await roll(services)
    [box] = (await told(client, "/v1/touchpoints", start=begin, end=begin + 24 * HOUR))["items"]
    times = box["response_time"]
    assert times["responses"] == 40
    assert times["p50"] == pytest.approx(1200, rel=0.02)
    assert times["p90"] == pytest.approx(2160, rel=0.02)
    assert times["p99"] == pytest.approx(2400, rel=0.02)


async def test_a_touchpoint_that_was_merged_counts_in_the_other_and_is_parted_again(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    customer = {"email": "anna@example.com"}
    items = [
        make(touchpoint=slug, customer=customer) for slug, count in (("a", 1), ("b", 2), ("c", 3)) for _ in range(count)
    ]
    await store_all(client, items)
    await roll(services)
    march = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}

    async def counted() -> list[tuple[str, int, int]]:
        found = (await told(client, "/v1/touchpoints", **march))["items"]
        return [(item["slug"], item["interactions"], item["customers"]) for item in found]

    apart = [("c", 3, 1), ("b", 2, 1), ("a", 1, 1)]
    assert await counted() == apart
    answer = await client.post("/v1/touchpoints/a/merge", json={"into": "c", "reason": "one desk"})
    assert answer.status_code == 200, answer.text
    assert await counted() == [("c", 4, 1), ("b", 2, 1)]
    for slug in ("a", "c"):
        document = await told(client, f"/v1/touchpoints/{slug}/stats", **march)
        assert (document["slug"], document["total"]["interactions"], document["total"]["customers"]) == ("c", 4, 1)
    await client.post("/v1/touchpoints/a/unmerge", json={"reason": "two desks"})
    assert await counted() == apart
    described = {"channel": "phone"}
    await client.put("/v1/touchpoints/b", json=described)
    found = (await told(client, "/v1/touchpoints", **march, discovered="true"))["items"]
    assert [item["slug"] for item in found] == ["c", "a"]


async def test_figures_are_tables_too(client: httpx.AsyncClient, services: Services, make: Make) -> None:
    cost = {"cost": {"amount": 2.5, "currency": "EUR"}}
    await store_all(client, [make(touchpoint="line"), make(touchpoint="line", channel="mail", details=cost)])
    await roll(services)
    march = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
    for path, rows in (
        ("/v1/touchpoints", 1),
        ("/v1/touchpoints/line/stats?by=channel&interval=week", 12),
        ("/v1/touchpoints/line/stats", 31),
        ("/v1/analytics/channels", 2),
    ):
        route, _, query = path.partition("?")
        params = march | dict(pair.split("=") for pair in query.split("&") if pair)
        items = (await told(client, route, **params))["items"]
        assert len(items) == rows
        answer = await client.get(route, params=params, headers={"Accept": "text/csv"})
        in_csv = list(csv.DictReader(io.StringIO(answer.text)))
        answer = await client.get(route, params=params, headers={"Accept": "application/vnd.apache.arrow.stream"})
        in_arrow = pa.ipc.open_stream(answer.content).read_all()
        answer = await client.get(route, params=params, headers={"Accept": "application/vnd.apache.parquet"})
        in_parquet = pq.read_table(io.BytesIO(answer.content))
        assert in_parquet.equals(in_arrow)
        assert in_arrow.column_names == list(in_csv[0])
        assert in_arrow.schema.metadata[b"from"] == b"2026-03-01T00:00:00.000Z"
        for item, row, plain in zip(items, in_arrow.to_pylist(), in_csv, strict=True):
            assert row["nps.score"] is None
            assert plain["nps.score"] == ""
            assert row["interactions"] == item["interactions"] == int(plain["interactions"])
            assert row["costs.EUR"] == item["costs"].get("EUR")
            assert row["inbound_share"] == item["inbound_share"]
            if "change" in item:
                assert row["change.interactions.before"] == item["change"]["interactions"]["before"]
            if "start" in item:
                assert row["start"] == datetime.fromisoformat(item["start"])


async def test_what_cannot_be_answered_is_pointed_at(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(client, [make(touchpoint="line")])
    stats, channels = "/v1/touchpoints/line/stats", "/v1/analytics/channels"
    for path in ("/v1/touchpoints", stats, channels):
        for params, wrong in (
            ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}, "/query/to"),
            ({"from": "2026-03-01T10:10:00Z", "to": "2026-03-01T10:50:00Z"}, "/query/to"),
            ({"from": "2015-03-01T10:10:00Z", "to": "2026-03-01T10:50:00Z"}, "/query/from"),
            ({"from": "2999-03-01T10:10:00Z"}, "/query/from"),
            ({"from": "2050-03-01T10:10:00Z"}, "/query/from"),
            ({"to": "0001-03-01T10:10:00Z"}, "/query/to"),
            ({"from": "yesterday"}, "/query/from"),
            ({"from": "2026-03-01T10:10:00"}, "/query/from"),
            ({"colour": "red"}, "/query/colour"),
        ):
            assert pointers(check_problem(await client.get(path, params=params), 422, "invalid_request")) == [wrong]
    for path in (stats, channels):
        for zone in ("Rome", "europe/rome", "", "../etc/passwd", "+01:00"):
            document = check_problem(await client.get(path, params={"tz": zone}), 422, "invalid_request")
            assert pointers(document) == ["/query/tz"]
    for params, wrong, said in (
        ({"interval": "minute"}, "/query/interval", "'hour', 'day', 'week' or 'month'"),
        ({"by": "colour"}, "/query/by", "'channel'"),
        ({"by": "agent", "top": "51"}, "/query/top", "50"),
        ({"interval": "hour", "from": "2026-01-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}, "/query/interval", "day"),
        ({"interval": "hour", "by": "agent", "from": "2026-01-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"},
         "/query/interval", "`top`"),
        ({"interval": "day", "from": "2017-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "/query/interval", "week"),
    ):  # fmt: skip
        document = check_problem(await client.get(stats, params=params), 422, "invalid_request")
        assert pointers(document) == [wrong]
        assert said in document["errors"][0]["detail"]
    document = check_problem(await client.get("/v1/touchpoints", params={"sort": "colour"}), 422, "invalid_request")
    assert pointers(document) == ["/query/sort"]
    check_problem(await client.get("/v1/touchpoints/nowhere/stats"), 404, "not_found")
