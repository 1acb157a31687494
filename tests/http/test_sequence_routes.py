"""Transitions, paths, funnels and attribution, from what was sent to what is answered."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from exchanges import Item, check_problem, pointers, store, store_all
from percorso.http.services import Services
from percorso.queries import steps
from rolling import roll
from support import Make, running
from writing import Database

BEGAN = datetime(2026, 3, 2, tzinfo=UTC)
RANGE = {"from": "2026-03-01T00:00:00Z", "to": "2026-05-01T00:00:00Z"}
ALL = ("transitions", "paths", "funnel", "attribution")
NEEDED: dict[str, dict[str, str]] = {
    "transitions": {},
    "paths": {},
    "funnel": {"steps": "channel:web,channel:phone"},
    "attribution": {"conversion": "channel:purchase"},
}


def told(make: Make, customer: str, *what: tuple[float, str, str]) -> list[Item]:
    """Interactions of a customer: after how many days, at which touchpoint, on which channel."""
    return [
        make(
            customer={"email": f"{customer}@example.com"},
            occurred_at=(BEGAN + timedelta(days=days)).isoformat(),
            touchpoint=touchpoint,
            channel=channel,
            kind=f"{channel}_seen",
            details={"order_id": "o"} if channel == "purchase" else None,
        )
        for days, touchpoint, channel in what
    ]


async def a_world(client: httpx.AsyncClient, services: Services, make: Make) -> None:
    await store_all(
        client,
        [
            *told(make, "anna", (0, "home", "web"), (1, "line", "phone"), (2, "shop", "purchase")),
            *told(make, "bruno", (0, "home", "web"), (3, "line", "phone"), (40, "home", "web")),
            *told(make, "carla", (0, "line", "phone"), (1, "home", "web"), (2, "shop", "purchase")),
            *told(make, "dario", (5, "shop", "purchase")),
        ],
    )
    await roll(services)


async def asked(client: httpx.AsyncClient, what: str, **params: Any) -> Item:
    answer = await client.get(f"/v1/analytics/{what}", params=RANGE | NEEDED[what] | params)
    assert answer.status_code == 200, answer.text
    found: Item = answer.json()
    return found


def edges(answer: Item) -> dict[tuple[str, str], tuple[int, int, float | None]]:
    return {
        (item["from"], item["to"]): (item["count"], item["customers"], item["median_gap_seconds"])
        for item in answer["items"]
    }


async def test_transitions_lead_from_entry_to_exit(client: httpx.AsyncClient, services: Services, make: Make) -> None:
    await a_world(client, services, make)
    answer = await asked(client, "transitions")
    found = edges(answer)
    assert found[("(entry)", "home")] == (3, 2, None)
    assert found[("(entry)", "line")] == (1, 1, None)
    assert found[("home", "(exit)")] == (1, 1, None)
    assert found[("line", "(exit)")] == (1, 1, None)
    assert found[("home", "line")][:2] == (2, 2)
    assert found[("home", "line")][2] == pytest.approx(86_400, rel=0.02)
    assert found[("shop", "(exit)")] == (3, 3, None)
    assert (answer["interactions"], answer["customers"]) == (10, 4)
    assert answer["as_of"] is not None
    assert answer["other"] == {"edges": 0, "count": 0}
    few = await asked(client, "transitions", top=2)
    assert few["items"] == answer["items"][:2]
    assert few["other"] == {"edges": len(found) - 2, "count": sum(each[0] for each in found.values()) - 6}
    by_channel = edges(await asked(client, "transitions", by="channel", within="24h"))
    assert by_channel[("web", "phone")][:2] == (1, 1)
    by_kind = edges(await asked(client, "transitions", by="kind"))
    assert by_kind[("web_seen", "phone_seen")][:2] == (2, 2)


async def test_paths_are_told_by_what_they_come_by(client: httpx.AsyncClient, services: Services, make: Make) -> None:
    await a_world(client, services, make)
    answer = await asked(client, "paths", ends_with="shop", length=2)
    assert {tuple(item["nodes"]): (item["count"], item["share"]) for item in answer["items"]} == {
        ("line", "shop"): (1, 0.5),
        ("home", "shop"): (1, 0.5),
    }
    assert answer["paths"] == 2
    three = await asked(client, "paths", through="channel:phone", by="channel")
    assert {tuple(item["nodes"]) for item in three["items"]} == {
        ("web", "phone", "purchase"),
        ("phone", "web", "purchase"),
    }
    longest = await asked(client, "paths", starts_with="home", length=3, within="60d")
    assert [item["nodes"] for item in longest["items"]] == [["home", "line", "home"], ["home", "line", "shop"]] or [
        item["nodes"] for item in longest["items"]
    ] == [["home", "line", "shop"], ["home", "line", "home"]]
    assert (await asked(client, "paths", length=7))["items"] == []


async def test_a_funnel_loses_those_who_go_no_further(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    await a_world(client, services, make)
    answer = await asked(client, "funnel", steps="home,channel:phone,kind:purchase_seen")
    assert [item["customers"] for item in answer["items"]] == [3, 2, 1]
    last = answer["items"][2]
    assert last["step"] == "kind:purchase_seen"
    assert (last["of_first"], last["of_previous"], last["drop_off"]) == (0.333333, 0.5, 1)
    assert last["median_seconds"] == pytest.approx(86_400, rel=0.02)
    assert answer["items"][0]["of_previous"] is None
    unordered = await asked(client, "funnel", steps="home,line,shop", ordered="false")
    assert [item["customers"] for item in unordered["items"]] == [3, 3, 2]
    assert [item["customers"] for item in (await asked(client, "funnel", within="36h"))["items"]] == [3, 1]


@pytest.mark.parametrize(
    ("model", "home", "line"),
    [("first", 1, 1), ("last", 1, 1), ("linear", 1, 1), ("position", 1, 1), ("time_decay", 1, 1), ("markov", 1, 1)],
)
async def test_conversions_are_shared_out(
    client: httpx.AsyncClient, services: Services, make: Make, model: str, home: float, line: float
) -> None:
    await a_world(client, services, make)
    answer = await asked(client, "attribution", model=model)
    found = {item["node"]: item["conversions"] for item in answer["items"]}
    if model == "markov":
        # By hand: starts at home 3, at line 1; home → line 2, shop 1, lost 1; line → home 1, shop 1, lost 1.
        assert found["home"] + found["line"] == pytest.approx(2)
        assert found["home"] > found["line"]
    else:
        assert (found["home"], found["line"]) == (pytest.approx(home), pytest.approx(line))
    assert found["(no path)"] == 1
    assert (answer["conversions"], answer["customers"]) == (3, 3)
    assert sum(item["share"] for item in answer["items"]) == pytest.approx(1, abs=1e-5)


async def test_what_happened_before_the_range_counts_for_conversions_in_it(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    await a_world(client, services, make)
    answer = await asked(client, "attribution", model="first", **{"from": "2026-03-04T00:00:00Z"})
    found = {item["node"]: item["conversions"] for item in answer["items"]}
    assert found == {"home": 1, "line": 1, "(no path)": 1}
    short = await asked(client, "attribution", model="first", lookback="90m", **{"from": "2026-03-04T00:00:00Z"})
    assert {item["node"]: item["conversions"] for item in short["items"]} == {"(no path)": 3}


async def test_merged_identities_are_one_customer_and_merged_touchpoints_one_node(
    client: httpx.AsyncClient, services: Services, make: Make
) -> None:
    await a_world(client, services, make)
    together = {"email": ["anna@example.com", "dario@example.com"]}
    when = (BEGAN + timedelta(days=50)).isoformat()
    await store(client, make(customer=together, occurred_at=when, touchpoint="desk", channel="phone"))
    merged = await client.post("/v1/touchpoints/desk/merge", json={"into": "line", "reason": "One."})
    assert merged.status_code == 200, merged.text
    await roll(services)
    answer = await asked(client, "transitions", within="60d")
    assert answer["customers"] == 3
    found = edges(answer)
    assert found[("shop", "shop")][:2] == (1, 1)
    assert found[("shop", "line")][:2] == (1, 1)
    named = await asked(client, "funnel", steps="shop,desk", within="60d")
    assert [item["customers"] for item in named["items"]] == [2, 1]
    parted = await client.post("/v1/touchpoints/desk/unmerge", json={"reason": "Two."})
    assert parted.status_code == 200, parted.text
    assert edges(await asked(client, "transitions", within="60d"))[("shop", "desk")][:2] == (1, 1)


@pytest.mark.parametrize("what", ALL)
async def test_tables_come_as_csv_with_the_same_rows(
    client: httpx.AsyncClient, services: Services, make: Make, what: str
) -> None:
    await a_world(client, services, make)
    items = (await asked(client, what))["items"]
    answer = await client.get(f"/v1/analytics/{what}", params=RANGE | NEEDED[what], headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["Percorso-As-Of"]
    assert len(rows) == len(items) > 0
    for row, item in zip(rows, items, strict=True):
        assert row.keys() == item.keys()
        for name, value in item.items():
            if isinstance(value, str):
                assert row[name].removeprefix("'") == value
            else:
                assert (json.loads(row[name]) if row[name] else None) == value


@pytest.mark.parametrize("what", ALL)
async def test_nothing_is_answered_with_nothing(client: httpx.AsyncClient, services: Services, what: str) -> None:
    await client.put("/v1/touchpoints/home", json={})
    await roll(services)
    answer = await asked(client, what, **({"steps": "home,channel:web"} if what == "funnel" else {}))
    if what == "funnel":
        assert [item["customers"] for item in answer["items"]] == [0, 0]
        assert answer["items"][1]["of_previous"] is None
    else:
        assert answer["items"] == []


@pytest.mark.parametrize(
    ("what", "params", "pointer", "says"),
    [
        ("transitions", {"by": "colour"}, "/query/by", "'touchpoint', 'kind' or 'channel'"),
        ("transitions", {"within": "forever"}, "/query/within", "such as 30d, 12h or 90m"),
        ("transitions", {"top": "0"}, "/query/top", "greater than or equal to 1"),
        ("transitions", {"top": "1000000"}, "/query/top", "less than or equal to 1000"),
        ("transitions", {"to": "2026-02-01T00:00:00Z"}, "/query/to", "later than `from`"),
        ("transitions", {"from": "1990-02-01T00:00:00Z"}, "/query/from", "at most 10 years"),
        ("transitions", {"steps": "a,b"}, "/query/steps", "known are"),
        ("paths", {"length": "50"}, "/query/length", "less than or equal to 7"),
        ("paths", {"length": "1"}, "/query/length", "greater than or equal to 2"),
        ("paths", {"ends_with": "nowhere"}, "/query/ends_with", "no touchpoint has the slug 'nowhere'"),
        ("paths", {"through": "channel:pigeon"}, "/query/through", "channels are: phone, video"),
        ("paths", {"through": "channel:phone"}, "/query/through", "`by` must be channel"),
        ("paths", {"starts_with": "kind:flight"}, "/query/starts_with", "no interaction has the kind 'flight'"),
        ("funnel", {"steps": "home"}, "/query/steps", "2 to 10 steps"),
        ("funnel", {"steps": ",".join(["channel:web"] * 11)}, "/query/steps", "2 to 10 steps"),
        ("funnel", {"steps": "channel:web,,channel:web"}, "/query/steps", "2 to 10 steps"),
        ("funnel", {"steps": "channel:web,nowhere"}, "/query/steps", "no touchpoint has the slug 'nowhere'"),
        ("funnel", {"ordered": "perhaps"}, "/query/ordered", "boolean"),
        ("attribution", {"conversion": "kind:flight"}, "/query/conversion", "no interaction has the kind"),
        ("attribution", {"model": "guess"}, "/query/model", "'time_decay' or 'markov'"),
        ("attribution", {"half_life": "0d"}, "/query/half_life", "such as 30d, 12h or 90m"),
    ],
)
async def test_what_cannot_be_asked_is_refused_and_says_what_can(
    client: httpx.AsyncClient, what: str, params: dict[str, str], pointer: str, says: str
) -> None:
    answer = await client.get(f"/v1/analytics/{what}", params=RANGE | NEEDED[what] | params)
    problem = check_problem(answer, 422, "invalid_request")
    assert pointers(problem) == [pointer]
    assert says in problem["errors"][0]["detail"]


async def test_a_question_that_takes_too_long_is_given_up(
    database_url: str, database: Database, client: httpx.AsyncClient
) -> None:
    await client.put("/v1/touchpoints/home", json={})
    async with running(database_url, analytics_timeout=1) as (_, hurried), database.transaction():
        await database.execute("LOCK TABLE steps")
        answer = await hurried.get("/v1/analytics/transitions", params=RANGE)
        assert "narrow" in check_problem(answer, 503, "analytics_timeout")["detail"]


@pytest.mark.parametrize("together", [1, 2, 99])
async def test_a_large_bucket_is_read_in_parts_and_answers_the_same(
    client: httpx.AsyncClient, services: Services, make: Make, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    await a_world(client, services, make)
    await store_all(
        client,
        [
            each
            for number in range(30)
            for each in told(make, f"c{number}", (number, "home", "web"), (45, "line", "phone"))
        ],
    )
    await roll(services)
    whole = await asked(client, "transitions")
    monkeypatch.setattr(steps, "_PART_BYTES", 40)
    monkeypatch.setattr(steps, "_PARTS_TOGETHER", together)
    monkeypatch.setattr(steps, "_ROWS", 2)
    again = await asked(client, "transitions")
    assert again | {"as_of": None} == whole | {"as_of": None}
