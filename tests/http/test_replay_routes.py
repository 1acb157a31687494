"""Quarantine dealt with: replayed with and without a patch, rehearsed, dismissed; never stored twice."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from test_cloudevents_route import event
from test_segment_calls import call
from test_tmf683_routes import plain

from exchanges import Item, check_problem, ids_at, items_at, journey_of, pointers, store
from percorso.http.services import Services
from percorso.ingest import replay
from percorso.queries import rejected
from percorso.storage import rejected as quarantine
from percorso.storage.database import reading, writing
from retaining import retain
from support import Make, running
from writing import Database, count, sender_ids

JOURNEY = journey_of("email:anna@example.com")
CUSTOMER = {"customer": {"email": "anna@example.com"}}


async def refuse(client: httpx.AsyncClient, *items: Item | bytes) -> list[str]:
    """Send what is refused; the ids of the rejections."""
    made = []
    for item in items:
        body = item if isinstance(item, bytes) else json.dumps(item).encode()
        answer = await client.post("/v1/interactions", content=body)
        made.append(check_problem(answer, 422, "rejected")["rejection_id"])
    return made


async def replayed(client: httpx.AsyncClient, **body: Any) -> Item:
    answer = await client.post("/v1/rejected/replay", json=body)
    assert answer.status_code == 200, answer.text
    receipt: Item = answer.json()
    statuses = ("stored", "duplicate", "conflict", "rejected", "retry", "unknown")
    assert sum(receipt[status] for status in statuses) == len(receipt["results"])
    return receipt


async def one(client: httpx.AsyncClient, rejection_id: str, **body: Any) -> Item:
    """What came of one item."""
    [result] = (await replayed(client, ids=[rejection_id], **body))["results"]
    found: Item = result
    return found


async def item_at(client: httpx.AsyncClient, rejection_id: str) -> Item:
    found: Item = (await client.get(f"/v1/rejected/{rejection_id}")).json()
    return found


async def test_a_patch_mends_an_item_which_is_stored_under_its_own_id_once(
    client: httpx.AsyncClient, make: Make
) -> None:
    given = make(customer=None, id="call-1", text="è così")
    [this] = await refuse(client, given)
    result = await one(client, this, patch=CUSTOMER)
    assert (result["status"], result["rejection_id"]) == ("stored", this)
    [stored] = await items_at(client, JOURNEY)
    assert {name: stored[name] for name in given} == given
    assert stored["interaction_id"] == result["interaction_id"]
    kept = await item_at(client, this)
    assert (kept["state"], kept["handled_by"], kept["replay_errors"]) == ("replayed", "bootstrap", None)
    assert kept["interaction_id"] == result["interaction_id"]
    assert kept["errors"] == [{"pointer": "/customer", "detail": "is required"}]
    again = await one(client, this, patch={"id": "call-2"})
    assert (again["status"], again["interaction_id"]) == ("duplicate", result["interaction_id"])
    assert await ids_at(client, JOURNEY) == ["call-1"]


async def test_a_dry_run_shows_the_difference_and_what_remains_and_stores_nothing(
    client: httpx.AsyncClient, make: Make, database: Database
) -> None:
    given = make(channel="fone", legacy={"a": [1]}, customer=None)
    [this] = await refuse(client, given)
    before = await item_at(client, this)
    half = await one(client, this, patch={"channel": "phone"}, dry_run=True)
    assert half["status"] == "rejected"
    assert pointers(half) == ["/customer", "/legacy"]
    assert half["changes"] == [{"pointer": "/channel", "before": "fone", "after": "phone"}]
    assert "interaction" not in half
    patch = {"channel": "phone", "legacy": None, **CUSTOMER}
    whole = await one(client, this, patch=patch, dry_run=True)
    assert whole["status"] == "stored"
    assert whole["changes"] == [
        {"pointer": "/channel", "before": "fone", "after": "phone"},
        {"pointer": "/legacy", "before": {"a": [1]}},
        {"pointer": "/customer", "after": CUSTOMER["customer"]},
    ]
    wanted = {name: value for name, value in given.items() if name != "legacy"} | {"channel": "phone", **CUSTOMER}
    assert whole["interaction"] == wanted
    assert await item_at(client, this) == before
    assert await count(database, "interactions") == 0
    assert await count(database, "audit_log") == 0
    stored = await one(client, this, patch=patch)
    assert (stored["status"], stored["interaction_id"]) == ("stored", whole["interaction_id"])


async def test_a_dry_run_tells_duplicates_conflicts_and_twins_from_what_would_be_stored(
    client: httpx.AsyncClient, make: Make
) -> None:
    there = make(id="there")
    await store(client, there)
    twins = [make(id="twin", occurred_at="2026-03-01T10:00:00Z", x=n) for n in (1, 2)]
    ids = await refuse(client, there | {"x": 1}, there | {"x": 1, "text": "else"}, *twins, make(id="new", x=1))
    for dry_run in (True, False):
        receipt = await replayed(client, ids=ids, patch={"x": None}, dry_run=dry_run)
        statuses = [result["status"] for result in receipt["results"]]
        assert statuses == ["duplicate", "conflict", "stored", "duplicate", "stored"]
        assert receipt["results"][1]["errors"]
    assert [(await item_at(client, each))["state"] for each in ids] == [
        "replayed", "waiting", "replayed", "replayed", "replayed"
    ]  # fmt: skip


async def test_an_item_without_id_and_time_gets_the_same_ones_however_often_it_is_replayed(
    client: httpx.AsyncClient, make: Make, database: Database
) -> None:
    [this] = await refuse(client, make(id=None, occurred_at=None, customer=None))
    first = await one(client, this, patch=CUSTOMER)
    # As if the process had been killed before it could put down what it had stored.
    await database.execute("UPDATE rejected_interactions SET state = 'waiting', interaction_id = NULL")
    again = await one(client, this, patch=CUSTOMER)
    assert (first["status"], again["status"]) == ("stored", "duplicate")
    assert first["interaction_id"] == again["interaction_id"]
    [stored] = await items_at(client, JOURNEY)
    assert stored["id"] == f"rejected:{this}"
    assert stored["occurred_at"] == (await item_at(client, this))["received_at"]
    assert (await item_at(client, this))["state"] == "replayed"


async def test_what_was_stored_by_a_replay_that_was_cut_off_is_not_stored_under_another_id(
    services: Services, client: httpx.AsyncClient, make: Make, database: Database
) -> None:
    """The steps of a replay up to the one that puts down what came of it, which another process then has to do."""
    [this] = await refuse(client, make(id=7))
    async with reading(services.engine) as session:
        [item] = (await rejected.to_replay(session, [row["rejection_id"] for row in await database.fetch(
            "SELECT rejection_id FROM rejected_interactions")])).values()  # fmt: skip
    row = services.pipeline.row(json.dumps(make(id="seven")).encode(), item["received_at"])
    async with writing(services.engine) as session:
        assert await quarantine.claim(session, {item["rejection_id"]: row.key}) == {item["rejection_id"]: None}
    assert [verdict.status for verdict in await services.pipeline.store([row])] == ["stored"]
    for dry_run in (True, False):
        other = await one(client, this, patch={"id": "eight"}, dry_run=dry_run)
        assert (other["status"], pointers(other)) == ("rejected", [""])
    assert await sender_ids(database) == ["seven"]
    assert (await item_at(client, this))["state"] == "waiting"
    same = await one(client, this, patch={"id": "seven", "occurred_at": json.loads(row.document)["occurred_at"]})
    assert same["status"] == "duplicate"
    assert await sender_ids(database) == ["seven"]


async def test_a_replay_that_fails_for_a_conflict_may_be_tried_under_another_id(
    client: httpx.AsyncClient, make: Make, database: Database
) -> None:
    await store(client, make(id="taken"))
    [this] = await refuse(client, make(id=7, text="else"))
    assert (await one(client, this, patch={"id": "taken"}))["status"] == "conflict"
    assert (await one(client, this, patch={"id": "free", "source": "other"}))["status"] == "stored"
    assert await sender_ids(database) == ["free", "taken"]


async def test_what_is_rejected_again_waits_with_what_is_wrong_now_and_no_second_item(
    client: httpx.AsyncClient, make: Make, database: Database
) -> None:
    [this] = await refuse(client, make(customer=None, channel="fone"))
    result = await one(client, this, patch={"channel": "phone"})
    assert (result["status"], pointers(result)) == ("rejected", ["/customer"])
    kept = await item_at(client, this)
    assert (kept["state"], kept["replay_errors"]) == ("waiting", result["errors"])
    assert [error["pointer"] for error in kept["errors"]] == ["/channel"]
    assert await count(database, "rejected_interactions") == 1


async def test_what_the_database_itself_refuses_stays_the_one_item_it_is(
    client: httpx.AsyncClient, make: Make, database: Database
) -> None:
    await database.execute("ALTER TABLE interactions ADD CONSTRAINT no_fax CHECK (channel <> 'fax')")
    [this, other] = await refuse(client, make(channel="fone"), make(channel="fone"))
    receipt = await replayed(client, ids=[this], patch={"channel": "fax"})
    assert pointers(receipt["results"][0]) == [""]
    assert await count(database, "rejected_interactions") == 2
    assert (await one(client, this, patch={"channel": "phone", "id": "another"}))["status"] == "stored"
    assert (await one(client, other, patch={"channel": "phone"}))["status"] == "stored"


async def test_a_filter_is_replayed_a_page_at_a_time_past_what_is_rejected_again(
    client: httpx.AsyncClient, make: Make
) -> None:
    good = [make(legacy=1) for _ in range(5)]
    bad = [make(legacy=1, customer=None) for _ in range(3)]
    await refuse(client, good[0], bad[0], good[1], bad[1], good[2], bad[2], good[3], good[4], make(channel="fone"))
    filter_ = {"reason": "unknown:/legacy", "source": "test", "format": "native", "channel": "phone"}
    cursor, seen = None, []
    while True:
        receipt = await replayed(client, filter=filter_, patch={"legacy": None}, limit=3, cursor=cursor)
        seen.append((receipt["stored"], receipt["rejected"], receipt["remaining"]))
        cursor = receipt["next_cursor"]
        if cursor is None:
            break
    assert seen == [(2, 1, 5), (2, 1, 2), (1, 1, 0)]
    assert sorted(await ids_at(client, JOURNEY)) == sorted(item["id"] for item in good)
    assert len(await items_at(client, "/v1/rejected", state="waiting")) == 4
    assert (await replayed(client, filter=filter_, patch={"legacy": None}))["rejected"] == 3
    assert (await replayed(client, filter={"pointer": "/channel"}, patch={"channel": "phone"}))["stored"] == 1


async def test_more_than_are_held_at_once_are_replayed_in_the_order_they_were_named(
    client: httpx.AsyncClient, make: Make, database: Database
) -> None:
    items = [make(legacy=1) for _ in range(replay.MOST + 30)]
    body = b"\n".join(json.dumps(item).encode() for item in items)
    headers = {"Content-Type": "application/x-ndjson"}
    sent = (await client.post("/v1/interactions/batch", content=body, headers=headers)).json()
    ids = [result["rejection_id"] for result in sent["results"]]
    receipt = await replayed(client, ids=[*ids, ids[0]], patch={"legacy": None})
    assert [result["rejection_id"] for result in receipt["results"]] == ids
    assert receipt["stored"] == len(items)
    assert await sender_ids(database) == sorted(item["id"] for item in items)


async def test_a_cloudevent_is_mapped_again_and_patched_as_an_event(client: httpx.AsyncClient) -> None:
    wrong = event(data={"customer": {"email": "anna"}})
    answer = await client.post("/v1/cloudevents", json=wrong, headers={"Content-Type": "application/cloudevents+json"})
    this = check_problem(answer, 422, "rejected")["rejection_id"]
    still = await one(client, this, patch={"data": {"customer": {"email": "anna@"}}}, dry_run=True)
    assert pointers(still) == ["/data/customer/email"]
    assert pointers(await one(client, this, patch={"specversion": "2.0"}, dry_run=True)) == ["/specversion"]
    assert (await one(client, this, patch={"data": CUSTOMER}))["status"] == "stored"
    [stored] = await items_at(client, JOURNEY)
    assert (stored["id"], stored["source"], stored["kind"]) == ("call-1", "https://crm.example.com", "support_call")


async def test_a_call_of_segment_s_is_mapped_again_with_what_its_batch_said_and_says_its_traits(
    client: httpx.AsyncClient,
) -> None:
    bad = call(type="identify", userId=None, event=None, traits={"city": "Milano"})
    batch = {"batch": [bad], "context": {"locale": "it-IT"}}
    assert (await client.post("/segment/v1/batch", json=batch)).status_code == 200
    track = call(event=7, messageId="m-2", type=None)
    assert (await client.post("/segment/v1/track", json=track)).status_code == 400
    [tracked, identified] = await items_at(client, "/v1/rejected")
    assert (await one(client, tracked["rejection_id"], patch={"event": "Signed Up"}))["status"] == "stored"
    assert (await one(client, identified["rejection_id"], patch={"userId": "anna"}))["status"] == "stored"
    stored = {item["kind"]: item for item in await items_at(client, journey_of("user_id:anna"))}
    assert stored.keys() == {"signed_up", "identify"}
    assert {item["source"] for item in stored.values()} == {"bootstrap"}
    assert stored["identify"]["language"] == "it-IT"
    traits = (await client.get("/v1/customers/user_id:anna/traits")).json()["traits"]
    assert traits["city"]["value"] == "Milano"


async def test_a_party_interaction_is_mapped_again_and_one_without_an_id_stored_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    answer = await client.post("/tmf-api/partyInteraction/v4/partyInteraction", json=plain(reason=None))
    assert answer.status_code == 400
    [item] = await items_at(client, "/v1/rejected")
    this = item["rejection_id"]
    assert pointers(await one(client, this, dry_run=True)) == ["/reason"]
    first = await one(client, this, patch={"reason": "question"})
    assert first["status"] == "stored"
    await database.execute("UPDATE rejected_interactions SET state = 'waiting', interaction_id = NULL")
    assert (await one(client, this, patch={"reason": "question"}))["status"] == "duplicate"
    stored = (await client.get(f"/v1/interactions/{first['interaction_id']}")).json()
    assert (stored["id"], stored["kind"], stored["source"]) == (f"rejected:{this}", "question", "bootstrap")


async def test_what_was_too_large_or_is_of_a_file_cannot_be_replayed_and_says_so(
    services: Services, client: httpx.AsyncClient, make: Make
) -> None:
    [large] = await refuse(client, make(text="x" * (services.settings.max_event_bytes + 1)))
    result = await one(client, large, patch={"text": "short"})
    assert (result["status"], "sent again" in result["errors"][0]["detail"]) == ("rejected", True)
    verdicts = await services.pipeline.refuse([(b'{"row": 7}', ())], format="csv")
    assert "csv" in (await one(client, str(verdicts[0].rejection_id)))["errors"][0]["detail"]


async def test_what_cannot_be_read_cannot_be_patched_and_says_why(client: httpx.AsyncClient, make: Make) -> None:
    repeated = b'{"id": "a", ' + json.dumps(make(text="a")).encode()[1:]
    broken, listed, twice, deep = await refuse(client, b'{"source": ', b"[1]", repeated, b'{"a":' * 2_000)
    assert "JSON" in (await one(client, broken, patch=CUSTOMER))["errors"][0]["detail"]
    assert pointers(await one(client, listed, patch=CUSTOMER)) == [""]
    assert (await one(client, deep, patch=CUSTOMER))["status"] == "rejected"
    assert pointers(await one(client, twice, patch={"text": "b"})) == ["/id"]
    assert (await one(client, twice, patch={"id": "b"}))["status"] == "stored"
    nul, half, huge = await refuse(
        client, make(text="a\0b"), json.dumps(make(text="\ud800")).encode(),
        json.dumps(make()).encode()[:-1] + b', "attributes": {"n": 1e999, "m": ' + b"9" * 400 + b"}}",
    )  # fmt: skip
    mended = await one(client, nul, patch={"text": "ab"}, dry_run=True)
    assert mended["changes"] == [{"pointer": "/text", "before": "a\0b", "after": "ab"}]
    assert (await one(client, half, patch={"kind": "k"}))["errors"][0]["pointer"] == "/text"
    shown = await one(client, half, patch={"text": None}, dry_run=True)
    assert shown["changes"] == [{"pointer": "/text", "before": "?"}]
    assert shown["status"] == "stored"
    assert (await one(client, huge, patch={"attributes": {"n": None}}, dry_run=True))["status"] == "rejected"
    assert (await one(client, huge, patch={"attributes": None}, dry_run=True))["status"] == "stored"


async def test_who_was_erased_does_not_come_back_out_of_quarantine(
    client: httpx.AsyncClient, make: Make, database: Database
) -> None:
    [nameless, other] = await refuse(client, make(customer=None), make(customer=None))
    await store(client, make())
    assert (await one(client, other, patch=CUSTOMER))["status"] == "stored"
    await client.delete("/v1/customers/email:anna@example.com")
    # With what it was stored as, the item is hers, though nothing in it named her.
    assert (await client.get(f"/v1/rejected/{other}")).status_code == 404
    for dry_run in (True, False):
        result = await one(client, nameless, patch=CUSTOMER, dry_run=dry_run)
        assert (result["status"], pointers(result)) == ("rejected", ["/customer/email"])
        assert "interaction" not in result
    assert await count(database, "interactions") == 0
    assert (await one(client, nameless, patch={"customer": {"email": "beppe@example.com"}}))["status"] == "stored"


async def test_a_replayed_item_is_in_the_export_of_whom_the_patch_named(client: httpx.AsyncClient, make: Make) -> None:
    [this] = await refuse(client, make(customer=None))
    await one(client, this, patch=CUSTOMER)
    document = (await client.get("/v1/customers/email:anna@example.com/export")).json()
    assert [item["rejection_id"] for item in document["rejected_interactions"]] == [this]


async def test_each_item_is_put_down_in_the_audit_log_with_whom_it_turned_out_to_name(
    client: httpx.AsyncClient, make: Make
) -> None:
    this, wrong = await refuse(client, make(customer=None), b"[1]")
    receipt = await replayed(client, ids=[this, wrong], patch=CUSTOMER)
    entries = await items_at(client, "/v1/audit", act="replayed")
    details = {entry["details"]["rejection_id"]: (entry["subject"], entry["details"]) for entry in entries}
    subject, told = details[this]
    stored = await items_at(client, JOURNEY)
    assert subject == stored[0]["customer_id"]
    assert told["interaction_id"] == receipt["results"][0]["interaction_id"]
    assert details[wrong][0] is None
    assert details[wrong][1]["status"] == "rejected"
    await client.post("/v1/rejected/dismiss", json={"ids": [wrong]})
    [entry] = await items_at(client, "/v1/audit", act="dismissed")
    assert (entry["actor"], entry["details"]) == ("bootstrap", {"rejection_id": wrong})
    assert (await client.get("/v1/audit/head")).status_code == 200


async def test_what_is_dismissed_waits_no_more_but_can_be_replayed_by_its_id(
    client: httpx.AsyncClient, make: Make
) -> None:
    ids = await refuse(client, *(make(legacy=n) for n in range(3)))
    answer = await client.post("/v1/rejected/dismiss", json={"filter": {"source": "test"}, "limit": 2})
    receipt = answer.json()
    assert (receipt["dismissed"], receipt["remaining"]) == (2, 1)
    assert receipt["next_cursor"]
    assert {item["rejection_id"] for item in await items_at(client, "/v1/rejected", state="dismissed")} == {*ids[1:]}
    kept = await item_at(client, ids[1])
    assert (kept["state"], kept["handled_by"]) == ("dismissed", "bootstrap")
    assert (await replayed(client, filter={}, patch={"legacy": None}))["stored"] == 1
    assert (await one(client, ids[1], patch={"legacy": None}))["status"] == "stored"
    assert (await client.post("/v1/rejected/dismiss", json={"ids": ids[:2]})).json()["dismissed"] == 0


async def test_an_item_goes_after_its_days_whether_it_was_replayed_or_not_and_the_interaction_stays(
    client: httpx.AsyncClient, make: Make, database: Database, database_url: str
) -> None:
    this, _ = await refuse(client, make(legacy=1), make(legacy=1))
    assert (await one(client, this, patch={"legacy": None}))["status"] == "stored"
    now = datetime.now(UTC)
    assert (await retain(database_url, now=now, quarantine_days=3)).rejected == 0
    assert (await retain(database_url, now=now + timedelta(days=4), quarantine_days=3)).rejected == 2
    assert await count(database, "interactions") == 1
    assert (await replayed(client, ids=[this]))["unknown"] == 1


async def test_an_unknown_item_is_told_and_the_others_are_replayed(client: httpx.AsyncClient, make: Make) -> None:
    [this] = await refuse(client, make(legacy=1))
    missing = str(uuid4())
    receipt = await replayed(client, ids=[missing, this], patch={"legacy": None})
    assert (receipt["unknown"], receipt["stored"]) == (1, 1)
    assert {"rejection_id": missing, "status": "unknown"} in receipt["results"]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, [""]),
        ({"ids": [], "filter": {}}, ["/ids"]),
        ({"ids": [str(uuid4())], "filter": {}}, [""]),
        ({"ids": ["'; DROP TABLE rejected_interactions; --"]}, ["/ids/0"]),
        ({"ids": [str(uuid4()) for _ in range(1001)]}, ["/ids"]),
        ({"ids": [str(uuid4()) for _ in range(101)], "dry_run": True}, [""]),
        ({"ids": [str(uuid4())], "limit": 7}, [""]),
        ({"filter": {"limit": 7}}, ["/filter/limit"]),
        ({"filter": {"state": "replayed"}}, ["/filter/state"]),
        ({"filter": {"channel": "fone"}}, ["/filter/channel"]),
        ({"filter": {"format": "native' OR true"}}, ["/filter/format"]),
        ({"filter": {"from": "now"}}, ["/filter/from"]),
        ({"filter": {"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}}, ["/filter/to"]),
        ({"filter": {}, "limit": 0}, ["/limit"]),
        ({"filter": {}, "limit": 101, "dry_run": True}, [""]),
        ({"filter": {}, "limit": 1001}, ["/limit"]),
        ({"filter": {}, "cursor": "x"}, ["/cursor"]),
        ({"filter": {}, "patch": [1]}, ["/patch"]),
        ({"filter": {}, "patch": "x"}, ["/patch"]),
        ({"filter": {}, "dry_run": "yes"}, ["/dry_run"]),
        ({"filter": {}, "colour": "red"}, ["/colour"]),
    ],
)
async def test_a_replay_that_cannot_be_is_pointed_at(client: httpx.AsyncClient, body: Item, wrong: list[str]) -> None:
    answer = await client.post("/v1/rejected/replay", json=body)
    assert pointers(check_problem(answer, 422, "invalid_request")) == wrong


async def test_hostile_bodies_are_refused_and_change_nothing(
    client: httpx.AsyncClient, make: Make, database: Database
) -> None:
    [this] = await refuse(client, make(legacy=1))
    path = "/v1/rejected/replay"
    for body in (
        b'{"filter": {}, "patch": {"text": "a\\u0000b"}}',
        b'{"filter": {}, "patch": {"a\\u0000": 1}}',
        b'{"filter": {}, "patch": {"text": "\\ud800"}}',
        b'{"filter": {}, "patch": {"a": 1, "a": 2}}',
        b'{"filter": {}, "patch": {"a": 1e999}}',
        b'{"filter": {}, "patch": ' + b'{"a":' * 5_000,
        b'{"filter": {}, "patch": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}",
        b'{"filter": {"source": "a\\u0000"}}',
        b"{",
    ):
        check_problem(await client.post(path, content=body), 422, "malformed_body")
    huge = json.dumps({"filter": {}, "patch": {"text": "x" * 300_000}})
    check_problem(await client.post(path, content=huge), 413, "body_too_large")
    large = await replayed(client, ids=[this], patch={"legacy": None, "text": "x" * 200_000})
    assert large["rejected"] == 1
    for hostile in ("' OR '1'='1", "test'; DELETE FROM rejected_interactions; --", "%", "*", "test\\"):
        for name in ("source", "id", "reason", "pointer"):
            assert (await replayed(client, filter={name: hostile}))["results"] == []
    assert await count(database, "rejected_interactions") == 1
    assert await count(database, "interactions") == 0


async def test_two_replays_of_an_item_at_once_under_two_ids_store_it_once(
    database_url: str, make: Make, database: Database
) -> None:
    async with running(database_url) as (_, client), running(database_url) as (_, other):
        for number in range(10):
            [this] = await refuse(client, make(id=number))
            tried = await asyncio.gather(
                *(one(each, this, patch={"id": name}) for each, name in ((client, "one"), (other, "other"))),
            )
            assert "stored" in {each["status"] for each in tried}
            assert {each["status"] for each in tried} <= {"stored", "rejected", "duplicate", "retry"}
            assert await count(database, "interactions") == 1
            assert (await item_at(client, this))["state"] == "replayed"
            await database.execute("TRUNCATE interactions, interaction_keys")
