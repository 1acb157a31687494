"""Keys: what they are limited to, when they end, how they are rotated, when they were last used, what is put down."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import time_machine

from exchanges import Item, check_problem, items_at, pointers, store
from percorso.http.access import Keys
from percorso.http.last_used import LastUsed
from percorso.http.services import Services
from percorso.queries import deliveries as queries
from percorso.storage import api_keys, deliveries
from percorso.storage.database import reading, writing
from support import KEY, Make, running
from writing import Database, count, until

TOUCHPOINTS = "/v1/touchpoints"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def new_key(client: httpx.AsyncClient, *scopes: str, **others: Any) -> Item:
    answer = await client.post("/v1/keys", json={"name": "one", "scopes": scopes or ["read"]} | others)
    assert answer.status_code == 201, answer.text
    made: Item = answer.json()
    return made


async def status(client: httpx.AsyncClient, key: str) -> int:
    return (await client.get(TOUCHPOINTS, headers=bearer(key))).status_code


async def listed(client: httpx.AsyncClient, key_id: str) -> Item:
    [found] = [each for each in await items_at(client, "/v1/keys") if each["id"] == key_id]
    return found


async def test_a_key_is_limited_to_sources_and_channels_in_every_format(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    key = bearer(
        (await new_key(client, "ingest", name="one", sources=["crm", "one"], channels=["phone", "web"]))["key"]
    )
    tmf = "/tmf-api/partyInteraction/v4/partyInteraction"
    resource = {"direction": "inbound", "reason": "r", "relatedParty": [{"id": "16", "role": "Customer"}]}
    event = {"specversion": "1.0", "id": "1", "type": "a.phone.call", "data": {"customer": {"crm_id": "C-1"}}}
    call = {"userId": "u-1", "messageId": "m-1"}
    ce = {"Content-Type": "application/cloudevents+json"}
    for path, good, bad, wrong in (
        ("/v1/interactions", make(source="crm"), make(source="billing"), ["/source"]),
        ("/v1/interactions", make(source="crm"), make(source="crm", channel="email"), ["/channel"]),
        ("/v1/interactions", make(source="one"), make(channel="fax"), ["/source", "/channel"]),
        ("/v1/interactions", make(source="crm"), make(source="billing", occurred_at="never"), ["/source"]),
        ("/v1/interactions", make(source="crm"), make(source="crm", channel="telepathy"), ["/channel"]),
        ("/v1/cloudevents", event | {"source": "crm"}, event | {"source": "billing"}, ["/source"]),
        ("/v1/cloudevents", event | {"source": "crm"}, event | {"source": "crm", "type": "a.email.x"}, ["/type"]),
        ("/v1/cloudevents", event | {"source": "crm"}, event | {"source": "billing", "data": 5, "x": 0.5}, ["/source"]),
        (tmf, resource | {"channel": [{"id": "web"}]}, resource | {"channel": [{"id": "email"}]}, ["/channel"]),
        ("/segment/v1/page", call | {"name": "x"}, None, []),
    ):
        headers = key | (ce if path == "/v1/cloudevents" else {"Content-Type": "application/json"})
        answer = await client.post(path, content=json.dumps(good).encode(), headers=headers)
        assert answer.status_code in {200, 201}, (path, answer.text)
        if bad is None:
            continue
        before = await count(database, "interactions"), await count(database, "rejected_interactions")
        answer = await client.post(path, content=json.dumps(bad).encode(), headers=headers)
        assert answer.status_code == 403, (path, bad, answer.text)
        if path == tmf:
            assert answer.json()["code"] == "forbidden"
        else:
            assert pointers(check_problem(answer, 403, "forbidden")) == wrong
        after = await count(database, "interactions"), await count(database, "rejected_interactions")
        assert before == after, (path, bad)


async def test_segments_calls_need_the_keys_own_name_among_its_sources(
    client: httpx.AsyncClient, database: Database
) -> None:
    key = bearer((await new_key(client, "ingest", name="one", sources=["crm"]))["key"])
    calls = [{"type": "page", "userId": "u-1", "messageId": "m-1", "name": "x"}, {"type": "track", "messageId": "m-2"}]
    for path, body in (("page", calls[0]), ("batch", {"batch": calls})):
        answer = await client.post(f"/segment/v1/{path}", json=body, headers=key)
        check_problem(answer, 403, "forbidden")
    assert await count(database, "interactions") + await count(database, "rejected_interactions") == 0


async def test_the_calls_of_a_batch_that_may_be_sent_are_stored_and_the_others_told_of(
    client: httpx.AsyncClient, database: Database
) -> None:
    key = bearer((await new_key(client, "ingest", channels=["web"]))["key"])
    page = {"type": "page", "userId": "u-1", "messageId": "m-1", "name": "x"}
    screen = {"type": "screen", "userId": "u-1", "messageId": "m-2", "name": "x"}
    answer = await client.post("/segment/v1/batch", json={"batch": [screen, page]}, headers=key)
    check_problem(answer, 403, "forbidden")
    assert await database.fetchval("SELECT array_agg(channel) FROM interactions") == ["web"]


async def test_items_of_a_batch_that_may_not_be_sent_are_rejected_in_their_place_and_not_kept(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    key = bearer((await new_key(client, "ingest", sources=["crm"]))["key"])
    [already] = await store(client, make(source="billing", id="known"))
    items: list[Any] = [
        make(source="billing"),
        make(source="crm"),
        {"source": "crm", "channel": "telepathy"},
        make(source="billing", id="known"),
        {"source": "billing", "occurred_at": 1},
        make(source="crm"),
        "no interaction",
        {"customer": {}},
    ]
    answer = await client.post("/v1/interactions/batch?results=all", json=items, headers=key)
    receipt = answer.json()
    assert {name: receipt[name] for name in ("received", "stored", "rejected")} == {
        "received": 8,
        "stored": 2,
        "rejected": 6,
    }
    results = receipt["results"]
    assert [each["index"] for each in results] == list(range(8))
    assert [each["status"] for each in results] == [
        *("rejected", "stored", "rejected", "rejected", "rejected", "stored", "rejected", "rejected"),
    ]
    for index in (0, 3, 4):
        assert results[index]["errors"] == [
            {"pointer": "/source", "detail": "is not among the sources that the key may send as"}
        ]
        assert results[index].keys() == {"index", "status", "errors"}
    assert already["interaction_id"] not in answer.text
    kept = await database.fetch("SELECT source FROM rejected_interactions")
    assert sorted(str(row["source"]) for row in kept) == ["None", "None", "crm"]
    assert await database.fetchval("SELECT count(*) FROM interactions WHERE document->>'source' = 'crm'") == 2
    events = [
        {
            "specversion": "1.0",
            "id": str(number),
            "source": source,
            "type": "phone.call",
            "data": {"customer": {"x": "y"}},
        }
        for number, source in enumerate(("billing", "crm", "billing"))
    ]
    batch = {"Content-Type": "application/cloudevents-batch+json"}
    answer = await client.post("/v1/cloudevents?results=all", content=json.dumps(events).encode(), headers=key | batch)
    assert [each["status"] for each in answer.json()["results"]] == ["rejected", "stored", "rejected"]


async def test_what_a_key_may_not_send_is_counted_apart(client: httpx.AsyncClient, make: Make) -> None:
    key = bearer((await new_key(client, "ingest", sources=["crm"]))["key"])

    async def told() -> float:
        lines = (await client.get("/metrics")).text.splitlines()
        return sum(
            float(each.split()[-1]) for each in lines if each.startswith('percorso_interactions_total{status="forb')
        )

    before = await told()
    await client.post("/v1/interactions", json=make(), headers=key)
    assert await told() == before + 1


async def test_limits_that_would_not_hold_are_refused(client: httpx.AsyncClient) -> None:
    for scopes in (["admin", "ingest"], ["read"], ["admin"]):
        body = {"name": "x", "scopes": scopes, "sources": ["crm"], "channels": ["phone"]}
        problem = check_problem(await client.post("/v1/keys", json=body), 422, "invalid_request")
        assert pointers(problem) == ["/sources", "/channels"]
    made = await new_key(client, "read")
    answer = await client.patch(f"/v1/keys/{made['id']}", json={"sources": ["crm"]})
    assert pointers(check_problem(answer, 422, "invalid_request")) == ["/sources"]
    cases: list[tuple[Item, list[str]]] = [
        ({"sources": []}, ["/sources"]),
        ({"sources": ["x" * 129]}, ["/sources/0"]),
        ({"channels": ["telepathy"]}, ["/channels/0"]),
        ({"channels": "phone"}, ["/channels"]),
        ({"expires_at": "2026-01-01"}, ["/expires_at"]),
        ({"expires_at": "2020-01-01T00:00:00Z"}, ["/expires_at"]),
        ({"name": "token:me"}, ["/name"]),
        ({"name": None}, ["/name"]),
        ({"scopes": ["admin"]}, ["/scopes"]),
    ]
    for body, wrong in cases:
        answer = await client.patch(f"/v1/keys/{made['id']}", json=body)
        assert pointers(check_problem(answer, 422, "invalid_request")) == wrong, body
        if wrong != ["/scopes"]:
            answer = await client.post("/v1/keys", json={"name": "x", "scopes": ["ingest"]} | body)
            assert pointers(check_problem(answer, 422, "invalid_request")) == wrong, body


async def test_a_key_ends_at_its_moment_however_long_it_is_remembered(database_url: str) -> None:
    async with running(database_url, key_cache_seconds=3600) as (_, client):
        moment = datetime.now(UTC) + timedelta(minutes=1)
        made = await new_key(client, expires_at=moment.isoformat().replace("+00:00", "Z"))
        assert await status(client, made["key"]) == 200
        assert (await listed(client, made["id"]))["expires_at"] == made["expires_at"]
        with time_machine.travel(moment - timedelta(seconds=1)):
            assert await status(client, made["key"]) == 200
        with time_machine.travel(moment + timedelta(milliseconds=1)):
            assert await status(client, made["key"]) == 401


async def test_a_key_that_has_expired_is_not_valid_and_may_be_given_more_time(
    client: httpx.AsyncClient, database: Database
) -> None:
    made = await new_key(client)
    await database.execute("UPDATE api_keys SET expires_at = now() WHERE key_id = $1", UUID(made["id"]))
    assert await status(client, made["key"]) == 401
    check_problem(await client.post(f"/v1/keys/{made['id']}/rotate"), 404, "not_found")
    answer = await client.patch(f"/v1/keys/{made['id']}", json={"expires_at": None})
    assert answer.status_code == 200
    assert answer.json()["expires_at"] is None
    assert await status(client, made["key"]) == 200


async def test_a_change_holds_at_once_here(client: httpx.AsyncClient, make: Make) -> None:
    made = await new_key(client, "ingest", sources=["crm"])
    key = bearer(made["key"])
    item = make(source="billing")
    assert (await client.post("/v1/interactions", json=item, headers=key)).status_code == 403
    answer = await client.patch(f"/v1/keys/{made['id']}", json={"sources": ["billing"], "name": "two"})
    assert answer.status_code == 200
    assert answer.json() == await listed(client, made["id"])
    assert (answer.json()["name"], answer.json()["sources"]) == ("two", ["billing"])
    assert (await client.post("/v1/interactions", json=item, headers=key)).status_code == 201
    assert (await client.patch(f"/v1/keys/{made['id']}", json={"sources": None})).json()["sources"] is None
    assert (await client.post("/v1/interactions", json=make(), headers=key)).status_code == 201
    assert (await client.patch(f"/v1/keys/{made['id']}", json={})).status_code == 200
    check_problem(await client.patch(f"/v1/keys/{uuid4()}", json={"name": "x"}), 404, "not_found")


async def test_a_rotated_key_has_both_secrets_for_the_overlap(database_url: str) -> None:
    async with running(database_url, key_cache_seconds=3600) as (_, client):
        made = await new_key(client, "read", expires_at="2100-01-01T00:00:00Z")
        answer = await client.post(f"/v1/keys/{made['id']}/rotate", json={"overlap": "2h"})
        assert answer.status_code == 200
        new = answer.json()
        assert new["key"] != made["key"]
        changed = {"key", "rotated_until", "last_used_at"}
        assert {name: new[name] for name in new.keys() - changed} == {
            name: made[name] for name in made.keys() - changed
        }
        ends = datetime.fromisoformat(new["rotated_until"])
        assert timedelta(minutes=119) < ends - datetime.now(UTC) <= timedelta(hours=2)
        assert [await status(client, each["key"]) for each in (made, new)] == [200, 200]
        with time_machine.travel(ends + timedelta(seconds=1)):
            assert [await status(client, each["key"]) for each in (made, new)] == [401, 200]


async def test_a_rotation_without_overlap_ends_every_secret_there_was(client: httpx.AsyncClient) -> None:
    made = await new_key(client)
    path = f"/v1/keys/{made['id']}/rotate"
    secrets = [made["key"]]
    for body in ({"overlap": "30d"}, None, {"overlap": "10m"}):
        answer = await client.post(path, json=body) if body else await client.post(path)
        secrets.append(answer.json()["key"])
        assert [await status(client, each) for each in secrets] == [200] * len(secrets)
    assert datetime.fromisoformat(answer.json()["rotated_until"]) < datetime.now(UTC) + timedelta(minutes=11)
    last = (await client.post(path, json={"overlap": "0s"})).json()
    assert [await status(client, each) for each in (*secrets, last["key"])] == [401] * 4 + [200]
    assert last["rotated_until"] is None
    await client.delete(f"/v1/keys/{made['id']}")
    assert await status(client, last["key"]) == 401
    check_problem(await client.post(path), 404, "not_found")
    check_problem(await client.post(f"/v1/keys/{uuid4()}/rotate"), 404, "not_found")


async def test_an_overlap_that_cannot_be_had_is_pointed_at(client: httpx.AsyncClient) -> None:
    made = await new_key(client)
    for overlap in ("91d", "1w", "", "-1h", "24", "1.5h", "00s", "99999s", 24, None, "٣h"):
        answer = await client.post(f"/v1/keys/{made['id']}/rotate", json={"overlap": overlap})
        assert pointers(check_problem(answer, 422, "invalid_request")) == ["/overlap"], overlap
    assert await status(client, made["key"]) == 200


async def test_the_bootstrap_key_that_was_rotated_away_does_not_come_back(database_url: str) -> None:
    async with running(database_url) as (_, client):
        [key] = await items_at(client, "/v1/keys")
        new = (await client.post(f"/v1/keys/{key['id']}/rotate", json={"overlap": "0s"})).json()["key"]
        newest = await client.post(f"/v1/keys/{key['id']}/rotate", json={"overlap": "0s"}, headers=bearer(new))
    async with running(database_url) as (_, client):
        assert await status(client, KEY) == 401
        client.headers.update(bearer(newest.json()["key"]))
        assert len(await items_at(client, "/v1/keys")) == 1


async def test_the_last_use_of_a_key_is_put_down_beside_requests(
    client: httpx.AsyncClient, database_url: str, database: Database
) -> None:
    async with running(database_url) as (_, other):
        made = await new_key(other)
        assert made["last_used_at"] is None
        begun = datetime.now(UTC).replace(microsecond=0)
        for _ in range(3):
            await other.get(TOUCHPOINTS, headers=bearer(made["key"]))
        await other.get(TOUCHPOINTS, headers=bearer("unknown"))
        assert (await listed(client, made["id"]))["last_used_at"] is None
    used = (await listed(client, made["id"]))["last_used_at"]
    assert begun <= datetime.fromisoformat(used) <= datetime.now(UTC)
    assert await database.fetchval("SELECT count(*) FROM api_keys WHERE last_used_at IS NOT NULL") == 2


async def test_a_last_use_is_written_once_a_minute_and_never_taken_back(services: Services, database: Database) -> None:
    async with writing(services.engine) as session:
        key_id = await api_keys.create(session, name="x", scopes=["read"], key="secret")
    start = datetime(2026, 3, 1, tzinfo=UTC)
    written = []
    for seconds in (0, 59, 60, 30, 90, 130):
        async with writing(services.engine) as session:
            await api_keys.used(session, {key_id: start + timedelta(seconds=seconds)})
        found = await database.fetchval("SELECT last_used_at FROM api_keys WHERE key_id = $1", key_id)
        written.append((found - start).total_seconds())
    assert written == [0, 0, 60, 60, 60, 130]


async def test_what_another_process_writes_of_is_left_to_it(services: Services, database: Database) -> None:
    async with writing(services.engine) as session:
        key_id = await api_keys.create(session, name="x", scopes=["read"], key="secret")
    async with database.transaction():
        await database.execute("SELECT FROM api_keys WHERE key_id = $1 FOR UPDATE", key_id)
        async with asyncio.timeout(5), writing(services.engine) as session:
            await api_keys.used(session, {key_id: datetime.now(UTC)})
    assert await database.fetchval("SELECT last_used_at FROM api_keys WHERE key_id = $1", key_id) is None


async def test_last_uses_go_on_being_written_after_a_failure(
    services: Services, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with writing(services.engine) as session:
        await api_keys.create(session, name="x", scopes=["read"], key="secret")
    keys = Keys(services.engine, 60)
    asked = api_keys.used
    failed = asyncio.Event()

    async def failing(*_: Any) -> None:
        failed.set()
        monkeypatch.setattr(api_keys, "used", asked)
        raise ConnectionError

    monkeypatch.setattr(api_keys, "used", failing)
    writer = LastUsed(services.engine, keys, every=0.01)
    await writer.start()
    await keys.valid("secret")
    await failed.wait()
    await keys.valid("secret")
    await until(lambda: database.fetchval("SELECT last_used_at IS NOT NULL FROM api_keys WHERE name = 'x'"))
    await writer.stop()


async def test_every_change_of_a_key_is_put_down(client: httpx.AsyncClient, database: Database) -> None:
    made = await new_key(client, "ingest", sources=["crm"], expires_at="2100-01-01T00:00:00Z")
    path = f"/v1/keys/{made['id']}"
    await client.patch(path, json={"name": "two", "channels": ["phone"]})
    await client.post(f"{path}/rotate", json={"overlap": "1h"})
    await client.delete(path)
    await client.delete(path)
    await client.patch(path, json={"name": "three"})
    rows = await database.fetch("SELECT * FROM audit_log ORDER BY seq")
    by = await database.fetchval("SELECT key_id FROM api_keys WHERE name = 'bootstrap'")
    assert {(row["actor"], row["key_id"], row["subject"]) for row in rows} == {("bootstrap", by, None)}
    about = {"key_id": made["id"]}
    assert [(row["act"], json.loads(row["details"])) for row in rows] == [
        ("key_made", about | {"scopes": ["ingest"], "limits": ["expires_at", "sources"]}),
        ("key_changed", about | {"changed": ["channels", "name"]}),
        ("key_rotated", about | {"overlap_seconds": 3600}),
        ("key_revoked", about),
    ]


async def test_subscriptions_end_with_a_key_that_expires(client: httpx.AsyncClient, database: Database) -> None:
    made = await new_key(client, "read")
    hub = {"callback": "https://8.8.8.8/"}
    await client.post("/tmf-api/partyInteraction/v4/hub", json=hub, headers=bearer(made["key"]))
    assert await count(database, "subscriptions") == 1
    await database.execute("UPDATE api_keys SET expires_at = now() WHERE key_id = $1", UUID(made["id"]))
    services: Services = client._transport.app.state.services  # type: ignore[attr-defined] # noqa: SLF001 - no route does it
    async with reading(services.engine) as reader:
        assert await queries.subscriptions(reader, "tmf683") == []
    async with writing(services.engine) as session:
        await deliveries.drop_revoked(session)
    assert await count(database, "subscriptions") == 0
