"""Watches by HTTP: what may be said, what is told of them, and what a rule would have fired."""

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from exchanges import Item, check_problem, items_at, pointers, store, walk
from percorso.http.watch_rules import WatchRule
from percorso.queries import watch_trials
from percorso.storage import watching as storage
from support import Make, running
from watched import ABANDONED, THREE, UNANSWERED, look, told
from writing import Database, until

WATCH = "/v1/watches/unanswered"


def ago(hours: float) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


async def put(client: httpx.AsyncClient, rule: Item, path: str = WATCH, **said: Any) -> Item:
    answer = await client.put(path, json={"rule": rule} | said)
    assert answer.status_code in {200, 201}, answer.text
    document: Item = answer.json()
    return document


async def test_a_watch_is_shown_as_it_is_kept_with_every_rule_that_it_had(client: httpx.AsyncClient) -> None:
    body = {"description": "Nobody answered", "rule": UNANSWERED}
    made = await client.put(WATCH, json=body)
    assert made.status_code == 201
    document = made.json()
    assert document["rule"] == {
        "when": [{"match": {"complaint": True}, "count": 1}],
        "then_absent": {"match": {"direction": ["outbound"]}, "within": "4h", "same": ["conversation"]},
    }
    assert (document["version"], document["enabled"], document["description"]) == (1, True, "Nobody answered")
    assert document["since"] >= document["created_at"]
    again = await client.put(WATCH, json=body | {"rule": document["rule"]})
    assert again.status_code == 200
    assert again.json() == document
    changed = await put(client, THREE, description="Nobody answered")
    assert (changed["version"], [each["version"] for each in changed["versions"]]) == (2, [2, 1])
    assert changed["versions"][1]["rule"] == document["rule"]
    assert changed["since"] > document["since"]
    described = await put(client, THREE)
    assert (described["description"], described["version"], described["since"]) == (None, 2, changed["since"])
    paused = await put(client, THREE, enabled=False)
    assert (paused["enabled"], paused["since"]) == (False, changed["since"])
    resumed = await put(client, THREE)
    assert resumed["since"] > changed["since"]
    shown = await client.get(WATCH)
    assert shown.json() == resumed
    assert (await client.get(WATCH, headers={"If-None-Match": shown.headers["etag"]})).status_code == 304


async def test_watches_are_listed_by_name_and_forgotten(client: httpx.AsyncClient) -> None:
    for name in ("c", "a", "b"):
        await put(client, ABANDONED, f"/v1/watches/{name}")
    pages = [[item["name"] for item in page] async for page in walk(client, "/v1/watches", limit=2)]
    assert pages == [["a", "b"], ["c"]]
    assert (await client.delete("/v1/watches/a")).status_code == 204
    check_problem(await client.delete("/v1/watches/a"), 404, "not_found")
    check_problem(await client.get("/v1/watches/a"), 404, "not_found")
    check_problem(await client.get("/v1/watches/a/firings"), 404, "not_found")
    check_problem(await client.get("/v1/watches", params={"cursor": "x"}), 422, "invalid_request")
    assert (await put(client, ABANDONED, "/v1/watches/a"))["version"] == 1


async def test_there_may_be_so_many_watches(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MOST", 2)
    for name in ("a", "b"):
        await put(client, ABANDONED, f"/v1/watches/{name}")
    answer = await client.put("/v1/watches/c", json={"rule": ABANDONED})
    check_problem(answer, 409, "too_many_watches")
    await put(client, THREE, "/v1/watches/a")


async def test_what_is_done_with_watches_is_in_the_audit_log(client: httpx.AsyncClient) -> None:
    for enabled in (True, True, False):
        await put(client, UNANSWERED, enabled=enabled)
    await put(client, THREE)
    await client.delete(WATCH)
    acts = await items_at(client, "/v1/audit", act="watch")
    assert [act["details"]["did"] for act in acts] == ["deleted", "changed", "paused", "made"]
    assert len({act["details"]["watch_id"] for act in acts}) == 1


def rule_with(path: str, value: Any) -> Item:
    """A rule in which one member is another."""
    rule: Any = copy.deepcopy({"when": [*THREE["when"], {"match": {}, "within": "1d"}], "same": ["topic"]})
    rule["then_absent"] = {"match": {"direction": ["outbound"]}, "within": "1d"}
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    place = rule
    for step in steps:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return dict(rule)


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        ("when", [], "when"),
        ("when", [{"match": {}}, *[{"match": {}, "within": "1h"}] * 8], "when"),
        ("when", {"match": {}}, "when"),
        ("when/0/match", None, "when/0/match"),
        ("when/0/within", None, "when"),
        ("when/1/within", None, "when"),
        ("when/0/count", 1, "when"),
        ("when/0/count", 0, "when/0/count"),
        ("when/0/count", 51, "when/0/count"),
        ("when/0/count", "3", "when/0/count"),
        ("when/0/within", "7", "when/0/within"),
        ("when/0/within", "0d", "when/0/within"),
        ("when/0/within", "1w", "when/0/within"),
        ("when/0/within", 7, "when/0/within"),
        ("when/0/within", "91d", "when/0/within"),
        ("when/0/within", "9999999d", "when/0/within"),
        ("when/0/within", "89d", ""),
        ("when/0/match/chanel", "phone", "when/0/match/chanel"),
        ("when/0/match/channel", "telepathy", "when/0/match/channel/0"),
        ("when/0/match/channel", [], "when/0/match/channel"),
        ("when/0/match/channel", ["phone"] * 31, "when/0/match/channel"),
        ("when/0/match/kind", "Not a kind", "when/0/match/kind/0"),
        ("when/0/match/topic", "", "when/0/match/topic/0"),
        ("when/0/match/complaint", "yes", "when/0/match/complaint"),
        ("when/0/match/sentiment/min", 2, "when/0/match/sentiment/min"),
        ("when/0/match/sentiment", {"min": 0.5, "max": 0.1}, "when/0/match/sentiment"),
        ("when/0/match/sentiment/label", "sad", "when/0/match/sentiment/label/0"),
        ("when/0/match/feedback/metric", "mood", "when/0/match/feedback/metric/0"),
        ("when/0/match/attributes", {}, "when/0/match/attributes"),
        ("when/0/match/attributes", {"": 1}, "when/0/match/attributes//[key]"),
        ("when/0/match/attributes", {str(number): 1 for number in range(11)}, "when/0/match/attributes"),
        ("when/0/match/attributes", {"x": "y" * 257}, "when/0/match/attributes/x"),
        ("when/0/match/attributes", {"x": 1e300}, "when/0/match/attributes/x"),
        ("when/0/match/attributes", {"x": [1]}, "when/0/match/attributes/x"),
        ("same", [], "same"),
        ("same", "mood", "same/0"),
        ("then_absent/within", None, "then_absent/within"),
        ("then_absent/grace", "25h", "then_absent/grace"),
        ("then_absent/same", ["conversation"] * 4, "then_absent/same"),
        ("unless", {}, "unless"),
    ],
)
def test_a_rule_that_cannot_be_taken_is_pointed_at(path: str, value: Any, pointer: str) -> None:
    with pytest.raises(ValidationError) as caught:
        WatchRule.model_validate_json(json.dumps(rule_with(path, value)))
    found = {"/".join(map(str, error["loc"])) for error in caught.value.errors()}
    assert found == {pointer}


async def test_what_cannot_be_taken_is_answered_with_where_it_is(client: httpx.AsyncClient) -> None:
    for method, url in (("PUT", WATCH), ("POST", "/v1/watches/test")):
        answer = await client.request(method, url, json={"rule": rule_with("when/0/within", "1w")})
        problem = check_problem(answer, 422, "invalid_request")
        assert pointers(problem) == ["/rule/when/0/within"]
        assert "such as 90s" in problem["errors"][0]["detail"]
        check_problem(await client.request(method, url, content=b"{"), 422, "malformed_body")
        check_problem(await client.request(method, url, json={}), 422, "invalid_request")
    check_problem(await client.put("/v1/watches/Not a name", json={"rule": THREE}), 422, "invalid_request")
    for said, where in (
        ({"from": "yesterday"}, "/from"),
        ({"from": ago(1), "to": ago(2)}, "/to"),
        ({"from": ago(-1)}, "/to"),
        ({"from": "2000-01-01T00:00:00Z"}, "/to"),
        ({"from": "0001-01-01T00:00:00Z"}, "/from"),
        ({"to": "0001-01-01T00:00:00Z"}, "/to"),
        ({"to": "9999-12-31T23:59:59Z"}, "/to"),
        ({"limit": 0}, "/limit"),
    ):
        answer = await client.post("/v1/watches/test", json={"rule": THREE} | said)
        assert pointers(check_problem(answer, 422, "invalid_request")) == [where]
    check_problem(await client.get(f"{WATCH}/firings", params={"form": "x"}), 422, "invalid_request")


async def history(client: httpx.AsyncClient, make: Make) -> None:
    """Seven customers who complained: of three nobody took notice, one still waits."""
    for number in range(7):
        customer = {"crm_id": str(number)}
        said = {"channel": "email", "direction": "inbound", "kind": "complaint", "conversation": "c"}
        hours = 1 if number == 6 else 24 * (number + 1)
        await store(client, make(customer=customer, occurred_at=ago(hours), **said))
        if number in {3, 4, 5}:
            reply = {"channel": "email", "direction": "outbound", "conversation": "c"}
            await store(client, make(customer=customer, occurred_at=ago(hours - number + 1), **reply))


async def test_a_rule_is_tried_on_history_and_nothing_is_stored(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await history(client, make)
    answer = await client.post("/v1/watches/test", json={"rule": UNANSWERED})
    assert answer.status_code == 200, answer.text
    trial = answer.json()
    assert (trial["looked_through"], trial["truncated"], trial["waiting"]) == (7, False, 1)
    # 5 was answered after exactly four hours but for what passed between two clocks being read.
    assert trial["customers"] == trial["firings"] == len(trial["examples"])
    assert trial["firings"] in {3, 4}
    example = trial["examples"][0]
    shown = await client.get(f"/v1/interactions/{example['interactions'][0]}")
    assert shown.json()["customer_id"] == example["customer_id"]
    for table in ("watches", "watch_firings", "watch_deadlines"):
        assert await database.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - constants


async def test_a_trial_is_of_a_range_and_of_so_many_customers(
    client: httpx.AsyncClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await history(client, make)

    async def tried(**said: Any) -> Item:
        answer = await client.post("/v1/watches/test", json={"rule": UNANSWERED} | said)
        assert answer.status_code == 200, answer.text
        trial: Item = answer.json()
        return trial

    assert (await tried(**{"from": ago(60)}))["firings"] == 2
    assert (await tried(**{"from": ago(60), "to": ago(30)}))["firings"] == 1
    few = await tried(limit=2)
    assert (few["looked_through"], few["truncated"]) == (2, True)
    whole = await tried(limit=7)
    assert (whole["looked_through"], whole["truncated"]) == (7, False)
    monkeypatch.setattr(watch_trials, "_IDENTITIES", 2)
    small = await tried()
    assert {name: small[name] for name in ("looked_through", "firings", "truncated")} == {
        name: whole[name] for name in ("looked_through", "firings", "truncated")
    }
    monkeypatch.setattr(watch_trials, "_RESERVE", 0.5)
    hurried = await tried()
    assert (hurried["looked_through"], hurried["truncated"]) == (2, True)


async def test_what_is_stored_before_the_worker_first_runs_fires(
    database_url: str, database: Database, make: Make
) -> None:
    async with running(database_url) as (app, client):
        await put(client, {"when": [{"match": {"channel": "phone"}}]})
        await store(client, make(occurred_at=datetime.now(UTC).isoformat()))
        assert await items_at(client, f"{WATCH}/firings") == []
        await look(app.state.services)
        assert len(await items_at(client, f"{WATCH}/firings")) == 1
    assert len(await told(database)) == 1


async def test_what_fires_live_is_listed_newest_first(database_url: str, make: Make) -> None:
    """With everything running as it is served."""
    async with running(database_url, background_workers=True) as (_, client):
        await put(client, {"when": [{"match": {"channel": "phone"}}]})
        customers = [{"crm_id": str(number)} for number in range(5)]
        at = [(datetime.now(UTC) + timedelta(milliseconds=10 * number)).isoformat() for number in range(5)]
        receipts = await store(client, *(make(customer=c, occurred_at=a) for c, a in zip(customers, at, strict=True)))

        async def all_fired() -> bool:
            return len(await items_at(client, f"{WATCH}/firings")) == 5

        await until(all_fired, seconds=30)
        firings = [item async for page in walk(client, f"{WATCH}/firings", limit=2) for item in page]
        assert [item["interactions"] for item in firings] == [[each["interaction_id"]] for each in receipts[::-1]]
        assert [item["customer_id"] for item in firings] == [each["customer_id"] for each in receipts[::-1]]
        assert {(item["watch"], item["version"]) for item in firings} == {("unanswered", 1)}
        middle = firings[2]["at"]
        assert await items_at(client, f"{WATCH}/firings", **{"from": middle}) == firings[:3]
        assert await items_at(client, f"{WATCH}/firings", to=middle) == firings[3:]
        export = (await client.get("/v1/customers/crm_id:0/export")).json()
        assert [row["firing_id"] for row in export["watch_firings"]] == [firings[4]["firing_id"]]
        assert [row["interaction_id"] for row in export["watch_evidence"]] == firings[4]["interactions"]
        assert (await client.delete("/v1/customers/crm_id:0")).status_code == 200
        assert await items_at(client, f"{WATCH}/firings") == firings[:4]
        metrics = (await client.get("/metrics")).text
        assert 'percorso_watch_firings_total{watch="unanswered"}' in metrics
