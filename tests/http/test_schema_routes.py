"""Schemas of interactions over HTTP: put, versions, what they refuse and report, trying them on what is stored."""

import asyncio
from typing import Any

import httpx
from prometheus_client import REGISTRY

from exchanges import NDJSON, Item, check_problem, items_at, pointers, store, walk
from percorso.storage.event_schemas import MOST
from support import Make, ndjson, running
from writing import Database

PHONE = "/v1/schemas/phone/support_call"
QUEUES = {
    "type": "object",
    "required": ["details"],
    "properties": {
        "details": {"type": "object", "required": ["queue"], "properties": {"queue": {"enum": ["support", "sales"]}}}
    },
}


async def put(client: httpx.AsyncClient, path: str = PHONE, schema: Any = QUEUES, mode: str = "enforce") -> Item:
    answer = await client.put(path, json={"schema": schema, "mode": mode})
    assert answer.status_code in {200, 201}, answer.text
    document: Item = answer.json()
    return document


def failures(kind: str, mode: str, channel: str = "phone") -> float:
    labels = {"channel": channel, "kind": kind, "mode": mode}
    return REGISTRY.get_sample_value("percorso_schema_failures_total", labels) or 0


async def test_what_does_not_fit_an_enforced_schema_is_refused_with_what_to_mend_and_the_version(
    client: httpx.AsyncClient, make: Make
) -> None:
    before = failures("support_call", "enforce")
    made = await put(client)
    assert (made["version"], made["mode"], made["schema"]) == (1, "enforce", QUEUES)
    assert made["holds_everywhere_at"] > made["changed_at"]
    await store(client, make(kind="support_call", details={"queue": "sales"}))
    told = check_problem(
        await client.post("/v1/interactions", json=make(kind="support_call", details={"queue": "garden"})),
        422,
        "rejected",
    )
    assert told["errors"] == [
        {
            "pointer": "/details/queue",
            "detail": 'must be one of "support", "sales" (schema phone/support_call, version 1)',
        }
    ]
    [kept] = await items_at(client, "/v1/rejected")
    assert (kept["rejection_id"], kept["errors"]) == (told["rejection_id"], told["errors"])
    missing = await client.post("/v1/interactions", json=make(kind="support_call", details={}))
    assert pointers(check_problem(missing, 422, "rejected")) == ["/details/queue"]
    assert failures("support_call", "enforce") == before + 2


async def test_what_does_not_fit_a_reported_schema_is_stored_and_counted(database_url: str, make: Make) -> None:
    before = failures("support_call", "report")
    async with running(database_url) as (app, client):
        await put(client, mode="report")
        await store(
            client,
            make(kind="support_call", details={"queue": "garden"}),
            make(kind="support_call", details={"queue": "anna@example.com"}),
            make(kind="support_call"),
            make(kind="support_call", details={"queue": "sales"}),
        )
        await app.state.services.schema_counts.write()
        report = (await client.get(f"{PHONE}/report")).json()
        counts = {name: report[name] for name in ("version", "checked", "passed", "reported", "refused")}
        assert counts == {"version": 1, "checked": 4, "passed": 1, "reported": 3, "refused": 0}
        assert [(each["place"], each["detail"], each["interactions"]) for each in report["faults"]] == [
            ("/properties/details/properties/queue/enum", 'must be one of "support", "sales"', 2),
            ("/required/0", "is required", 1),
        ]
        assert "anna" not in str(report)
        assert failures("support_call", "report") == before + 3
        await put(client)
        await client.post("/v1/interactions", json=make(kind="support_call"))
        await app.state.services.schema_counts.write()
        report = (await client.get(f"{PHONE}/report", params={"version": 1})).json()
        assert (report["checked"], report["reported"], report["refused"]) == (5, 3, 1)


async def test_counts_are_written_when_the_service_stops(database_url: str, make: Make, database: Database) -> None:
    async with running(database_url) as (_, client):
        await put(client)
        await client.post("/v1/interactions", json=make(kind="support_call"))
    row = await database.fetchrow("SELECT checked, refused FROM event_schema_tallies")
    assert row is not None
    assert tuple(row) == (1, 1)


async def test_a_schema_for_every_kind_is_of_those_that_have_none_of_their_own(
    client: httpx.AsyncClient, make: Make
) -> None:
    await put(client, "/v1/schemas/phone/*", {"required": ["agent"]})
    await put(client, schema={"required": ["case"]})
    for kind, wanted in (("support_call", "/case"), ("sales_call", "/agent"), (None, "/agent")):
        answer = await client.post("/v1/interactions", json=make(kind=kind))
        assert pointers(check_problem(answer, 422, "rejected")) == [wanted]
        await store(client, make(kind=kind, **{wanted[1:]: "x"}))
    await store(client, make(channel="email", kind="support_call"))
    pages = [page async for page in walk(client, "/v1/schemas", limit=1)]
    assert [[(each["channel"], each["kind"]) for each in page] for page in pages] == [
        [("phone", "*")],
        [("phone", "support_call")],
    ]
    assert all("schema" not in each for page in pages for each in page)


async def test_a_schema_that_says_something_else_is_a_new_version_and_the_old_ones_stay(
    client: httpx.AsyncClient, make: Make
) -> None:
    first = await client.put(PHONE, json={"schema": QUEUES})
    assert (first.status_code, first.json()["version"], first.json()["mode"]) == (201, 1, "report")
    same = await client.put(PHONE, json={"schema": dict(reversed(QUEUES.items())), "mode": "report"})
    assert (same.status_code, same.json()["version"]) == (200, 1)
    assert same.json()["changed_at"] == first.json()["changed_at"]
    enforced = await client.put(PHONE, json={"schema": QUEUES, "mode": "enforce"})
    assert (enforced.json()["version"], enforced.json()["mode"]) == (1, "enforce")
    for number, schema in enumerate(({"const": 1}, {"const": True}, {"const": 1.0}), 2):
        assert (await put(client, schema={"properties": {"agent": schema}}))["version"] == number
    pages = [page async for page in walk(client, f"{PHONE}/versions", limit=3)]
    assert [[each["version"] for each in page] for page in pages] == [[4, 3, 2], [1]]
    assert (await client.get(f"{PHONE}/versions/1")).json()["schema"] == QUEUES
    back = await client.post(f"{PHONE}/activate", json={"version": 1, "mode": "enforce"})
    assert (back.status_code, back.json()["version"], back.json()["schema"]) == (200, 1, QUEUES)
    refused = await client.post("/v1/interactions", json=make(kind="support_call"))
    assert pointers(check_problem(refused, 422, "rejected")) == ["/details"]
    assert (await client.delete(PHONE)).status_code == 204
    await store(client, make(kind="support_call"))
    check_problem(await client.get(PHONE), 404, "not_found")
    check_problem(await client.delete(PHONE), 404, "not_found")
    assert (await put(client, schema={"required": ["agent"]}))["version"] == 5
    check_problem(await client.post(f"{PHONE}/activate", json={"version": 9}), 404, "not_found")
    check_problem(await client.get(f"{PHONE}/versions/9"), 404, "not_found")
    check_problem(await client.get(f"{PHONE}/report?version=9"), 404, "not_found")
    check_problem(await client.get("/v1/schemas/fax/none/versions"), 404, "not_found")


async def test_an_update_of_what_was_changed_meanwhile_is_refused(client: httpx.AsyncClient) -> None:
    await put(client, mode="report")
    tag = (await client.get(PHONE)).headers["etag"]
    assert tag == '"1-report"'
    assert (await client.get(PHONE, headers={"If-None-Match": tag})).status_code == 304
    change: dict[str, Any] = {"json": {"schema": {"required": ["agent"]}}, "headers": {"If-Match": tag}}
    first = await client.put(PHONE, **change)
    assert (first.status_code, first.headers["etag"]) == (200, '"2-report"')
    check_problem(await client.put(PHONE, **change), 412, "outdated")
    again: dict[str, Any] = {"json": {"version": 1}, "headers": {"If-Match": tag}}
    check_problem(await client.post(f"{PHONE}/activate", **again), 412, "outdated")
    check_problem(await client.delete(PHONE, headers={"If-Match": tag}), 412, "outdated")
    check_problem(
        await client.put("/v1/schemas/fax/a", json={"schema": {}}, headers={"If-Match": "*"}), 412, "outdated"
    )
    assert (await client.delete(PHONE, headers={"If-Match": '"2-report"'})).status_code == 204


async def test_changes_at_the_same_moment_make_versions_one_after_the_other(client: httpx.AsyncClient) -> None:
    made = await asyncio.gather(*(put(client, schema={"minProperties": number}) for number in range(8)))
    numbers = [each["version"] for each in await items_at(client, f"{PHONE}/versions")]
    assert numbers == list(range(8, 0, -1))
    assert max(each["version"] for each in made) == 8


async def test_schemas_that_cannot_be_taken_are_refused_with_a_pointer(client: httpx.AsyncClient) -> None:
    for body, pointer in (
        ({}, "/schema"),
        ({"schema": []}, "/schema"),
        ({"schema": {}, "mode": "warn"}, "/mode"),
        ({"schema": {"properties": {"agent": {"type": "text"}}}}, "/schema/properties/agent/type"),
        ({"schema": {"$ref": "https://example.com/other.json"}}, "/schema/$ref"),
    ):
        answer = await client.put(PHONE, json=body)
        assert pointers(check_problem(answer, 422, "invalid_request")) == [pointer]
        if "mode" not in body:
            answer = await client.post(f"{PHONE}/check", json=body or {"schema": 1})
            assert pointers(check_problem(answer, 422, "invalid_request")) == [pointer]
    for path in ("/v1/schemas/telegraph/call", "/v1/schemas/phone/Not-A-Kind", "/v1/schemas/phone/a*"):
        check_problem(await client.put(path, json={"schema": {}}), 422, "invalid_request")
    assert await items_at(client, "/v1/schemas") == []


async def test_a_bounded_number_of_schemas_is_in_force(client: httpx.AsyncClient, database: Database) -> None:
    await database.execute(
        "WITH made AS (INSERT INTO event_schema_versions SELECT 'fax', 'k' || n, 1, '{}', now(), 't' "
        "FROM generate_series(1, $1::int) AS n RETURNING kind) "
        "INSERT INTO event_schemas SELECT 'fax', kind, 1, 'report', now(), 't' FROM made".replace("$1", str(MOST))
    )
    check_problem(await client.put(PHONE, json={"schema": {}}), 422, "invalid_request")
    assert (await client.put("/v1/schemas/fax/k1", json={"schema": {"minProperties": 1}})).status_code == 200


async def test_a_schema_is_tried_on_what_is_stored_before_it_is_enforced(client: httpx.AsyncClient, make: Make) -> None:
    good = [make(kind="support_call", details={"queue": "sales"}) for _ in range(5)]
    bad = [make(kind="support_call", details={"queue": "garden"}) for _ in range(4)]
    others = [make(kind="sales_call"), make(channel="email", kind="support_call"), make()]
    old = make(kind="support_call", occurred_at="1999-05-01T00:00:00Z")
    await store(client, *good, *others, old)
    receipts = await store(client, *bad)
    answer = await client.post(f"{PHONE}/check", json={"schema": QUEUES})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    counts = {name: found[name] for name in ("version", "asked", "checked", "passed", "failed", "complete")}
    assert counts == {"version": None, "asked": 1000, "checked": 10, "passed": 5, "failed": 5, "complete": True}
    assert found["since"] == "1999-05-01T00:00:00.000Z"
    worst, missing = found["faults"]
    assert (worst["place"], worst["interactions"]) == ("/properties/details/properties/queue/enum", 4)
    newest = sorted((receipt["interaction_id"] for receipt in receipts), reverse=True)
    assert worst["examples"] == newest[:3]
    assert (missing["place"], missing["interactions"]) == ("/required/0", 1)
    last = (await client.post(f"{PHONE}/check", json={"schema": QUEUES, "last": 4})).json()
    assert (last["checked"], last["failed"], last["complete"]) == (4, 4, True)
    check_problem(await client.get(PHONE), 404, "not_found")
    check_problem(await client.post(f"{PHONE}/check", json={}), 404, "not_found")
    await put(client, mode="report")
    in_force = (await client.post(f"{PHONE}/check", json={"last": 5})).json()
    assert (in_force["version"], in_force["checked"], in_force["failed"]) == (1, 5, 4)
    every = (await client.post("/v1/schemas/phone/*/check", json={"schema": {"required": ["agent"]}})).json()
    assert (every["checked"], every["failed"]) == (2, 2)
    for last in (0, 10_001):
        refused = await client.post(f"{PHONE}/check", json={"schema": {}, "last": last})
        assert pointers(check_problem(refused, 422, "invalid_request")) == ["/last"]


async def test_trying_a_schema_passes_over_what_is_left_of_who_was_erased(database_url: str, make: Make) -> None:
    async with running(database_url, erasure="anonymise") as (_, client):
        await store(client, make(kind="support_call", details={"queue": "sales"}), make(kind="support_call"))
        await store(client, make(kind="support_call", customer={"email": "b@example.com"}, details={"queue": "sales"}))
        assert (await client.delete("/v1/customers/email:anna@example.com")).status_code == 200
        found = (await client.post(f"{PHONE}/check", json={"schema": QUEUES})).json()
        assert (found["checked"], found["failed"]) == (1, 0)


async def test_a_refused_item_never_fails_its_neighbours(client: httpx.AsyncClient, make: Make) -> None:
    await put(client)
    items = [make(kind="support_call", details={"queue": queue}) for queue in ("sales", "garden", "support")]
    answer = await client.post("/v1/interactions/batch", content=ndjson(*items), headers=NDJSON)
    counts = {name: answer.json()[name] for name in ("received", "stored", "rejected")}
    assert counts == {"received": 3, "stored": 2, "rejected": 1}
    [result] = answer.json()["results"]
    assert (result["index"], pointers(result)) == (1, ["/details/queue"])


async def test_every_wire_format_is_checked(client: httpx.AsyncClient) -> None:
    await put(client, "/v1/schemas/web/*", {"required": ["agent"]})
    await put(client, "/v1/schemas/chat/*", {"required": ["agent"]})
    call = {
        "type": "page",
        "messageId": "m-1",
        "userId": "u-1",
        "name": "Home",
        "properties": {"url": "https://a.example/"},
    }
    calls = await client.post("/segment/v1/batch", json={"batch": [call]})
    assert calls.status_code == 200, calls.text
    event = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "crm",
        "type": "chat.ended",
        "data": {"channel": "chat", "customer": {"crm_id": "C-1"}},
    }
    structured = {"Content-Type": "application/cloudevents+json"}
    check_problem(await client.post("/v1/cloudevents", json=event, headers=structured), 422, "rejected")
    party = {
        "direction": "inbound",
        "reason": "question",
        "channel": [{"id": "chat", "name": "chat"}],
        "relatedParty": [{"id": "C-1", "role": "Customer", "@referredType": "Individual"}],
    }
    answer = await client.post("/tmf-api/partyInteraction/v4/partyInteraction", json=party)
    assert answer.status_code == 400, answer.text
    refused = await items_at(client, "/v1/rejected")
    assert {each["format"] for each in refused} == {"segment", "cloudevents", "tmf683"}
    for each in refused:
        assert "version 1)" in each["errors"][0]["detail"]


async def test_changes_are_in_the_audit_log(client: httpx.AsyncClient) -> None:
    await put(client)
    await put(client)
    await client.post(f"{PHONE}/activate", json={"version": 1, "mode": "report"})
    await client.delete(PHONE)
    entries = await items_at(client, "/v1/audit")
    told = [(each["act"], each["details"]) for each in entries if each["act"].startswith("schema")]
    named = {"channel": "phone", "kind": "support_call", "version": 1}
    assert told == [
        ("schema_deleted", named),
        ("schema_put", named | {"mode": "report"}),
        ("schema_put", named | {"mode": "enforce"}),
    ]
