"""The audit log: every read of one customer, and a chain that shows whatever was done to it."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from exchanges import check_problem, items_at, pointers, store, walk
from percorso.cli import app
from percorso.http.services import Services
from percorso.queries import audit as queries
from percorso.queries import export
from percorso.storage import audit
from percorso.storage.audit import Entry
from percorso.storage.database import reading, writing
from support import Make, running
from writing import Database, count, processes, until

ANNA = "email:anna@example.com"
NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


async def recorded(database: Database, rows: int) -> None:
    """Wait until the log has so many rows."""

    async def there() -> bool:
        return await count(database, "audit_log") >= rows

    await until(there)


async def fill(services: Services, rows: int) -> None:
    """A log of so many rows, each written by a transaction of its own."""
    for number in range(rows):
        async with writing(services.engine) as session:
            await audit.record(session, [Entry("merged", NOW + timedelta(seconds=number), {"interactions": number})])


async def verified(services: Services, **kept: bytes) -> queries.Verified:
    async with export.snapshot(services.engine) as session:
        return await queries.verify(session, {int(seq[1:]): value for seq, value in kept.items()})


async def test_every_read_of_one_customer_is_put_down(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    sent = make()
    [receipt] = await store(client, sent)
    one = f"/v1/interactions/{receipt['interaction_id']}"
    begun = datetime.now(UTC)
    assert (await client.put("/v1/segments/all", json={"filter": {}})).status_code == 201
    read = ("journey", "identity", "summary", "episodes", "traits", "traits/history", "consents", "consents/history")
    below = ["", *(f"/{each}" for each in read)]
    for path in (*(f"/v1/customers/{ANNA}{each}" for each in below), f"/v1/segments/all/members/{ANNA}"):
        assert (await client.get(path)).status_code == 200
    for path in (one, f"{one}/revisions"):
        assert (await client.get(path)).status_code == 200
    await client.get("/v1/interactions", params={"source": "test", "id": sent["id"]})
    await recorded(database, len(below) + 4)
    rows = await database.fetch("SELECT * FROM audit_log ORDER BY seq")
    assert [json.loads(row["details"]) for row in rows] == [
        {"route": f"GET {path}"}
        for path in (
            *(f"/v1/customers/{{customer}}{each}" for each in below),
            "/v1/segments/{name}/members/{customer}",
            "/v1/interactions/{interaction_id}",
            "/v1/interactions/{interaction_id}/revisions",
            "/v1/interactions",
        )
    ]
    key_id = await database.fetchval("SELECT key_id FROM api_keys")
    for row in rows:
        assert (row["act"], row["actor"], row["key_id"]) == ("read", "bootstrap", key_id)
        assert str(row["subject"]) == receipt["customer_id"]
        assert begun <= row["at"] <= datetime.now(UTC)


async def test_what_is_said_of_a_customer_is_put_down_with_it(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    [receipt] = await store(client, make())
    await client.put(f"/v1/customers/{ANNA}/traits", json={"traits": {"city": "Roma", "name": "Anna"}})
    agreed = {"purpose": "newsletter", "status": "granted"}
    await client.put(f"/v1/customers/{ANNA}/consents", json={"consents": [agreed]})
    rows = await database.fetch("SELECT act, subject, details FROM audit_log ORDER BY seq")
    assert [(row["act"], json.loads(row["details"])) for row in rows] == [
        ("said", {"traits": 2}),
        ("said", {"consents": 1}),
    ]
    assert {str(row["subject"]) for row in rows} == {receipt["customer_id"]}


async def test_what_shows_no_single_customer_is_not_put_down(database_url: str, database: Database, make: Make) -> None:
    async with running(database_url) as (_, client):
        await store(client, make())
        for path in (
            "/v1/touchpoints/phone/interactions",
            "/v1/rejected",
            "/v1/audit",
            "/v1/customers/email:no@example.com",
        ):
            await client.get(path)
        await client.get("/v1/interactions", params={"source": "test", "id": "unknown"})
        await client.get(f"/v1/customers/{ANNA}", headers={"Authorization": "Bearer none"})
    assert await count(database, "audit_log") == 0


async def test_reads_are_written_when_the_service_stops(database_url: str, database: Database, make: Make) -> None:
    async with running(database_url) as (_, client):
        await store(client, make())
        for _ in range(7):
            await client.get(f"/v1/customers/{ANNA}")
    assert await count(database, "audit_log") == 7


@pytest.mark.parametrize(("fraction", "least", "most"), [(0, 0, 0), (0.5, 1, 99), (1, 100, 100)])
async def test_reads_can_be_sampled(
    database_url: str, database: Database, make: Make, fraction: float, least: int, most: int
) -> None:
    async with running(database_url, audit_reads=fraction) as (_, client):
        await store(client, make())
        for _ in range(100):
            await client.get(f"/v1/customers/{ANNA}")
    assert least <= await count(database, "audit_log") <= most


async def test_reads_wait_while_the_log_cannot_be_written_and_are_refused_once_too_many_do(
    database_url: str, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.http.recorder._MOST", 3)
    async with running(database_url) as (_, client):
        await store(client, make())
        holder = await asyncpg.connect(database_url)
        with capture_logs() as logs:
            async with holder.transaction():
                await holder.execute("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE")
                answers = [await client.get(f"/v1/customers/{ANNA}") for _ in range(4)]
        await holder.close()
        assert [answer.status_code for answer in answers] == [200, 200, 200, 503]
        check_problem(answers[3], 503, "unavailable")
        assert answers[3].headers["retry-after"] == "2"
        await recorded(database, 3)
        assert (await client.get(f"/v1/customers/{ANNA}")).status_code == 200
        await recorded(database, 4)
    assert not [line for line in logs if "error" in line]
    assert await count(database, "audit_log") == 4


async def test_a_stop_does_not_wait_for_a_log_that_cannot_be_written(
    database_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.http.recorder._LONGEST_SECONDS", 0.2)
    holder = await asyncpg.connect(database_url)
    with capture_logs() as logs:
        async with holder.transaction():
            await holder.execute("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE")
            async with running(database_url) as (_, client):
                await store(client, make())
                await client.get(f"/v1/customers/{ANNA}")
    await holder.close()
    assert [line["lost"] for line in logs if line["log_level"] == "error"] == [1]


async def test_a_log_that_fails_is_tried_again_and_nothing_is_written_twice(
    database_url: str, database: Database, make: Make
) -> None:
    async with running(database_url) as (_, client):
        await store(client, make())
        await database.execute("ALTER TABLE audit_log RENAME TO elsewhere")
        with capture_logs() as logs:
            await client.get(f"/v1/customers/{ANNA}")
            await until(lambda: sum("reads wait" in line["event"] for line in logs) >= 2)
        await database.execute("ALTER TABLE elsewhere RENAME TO audit_log")
        await recorded(database, 1)
    assert await count(database, "audit_log") == 1


async def test_the_log_can_be_searched(client: httpx.AsyncClient, database: Database, make: Make) -> None:
    beppe = "email:beppe@example.com"
    await store(client, make(), make(customer={"email": "beppe@example.com"}))
    made = (await client.post("/v1/keys", json={"name": "desk", "scopes": ["read"]})).json()
    desk = {"Authorization": f"Bearer {made['key']}"}
    for customer, headers in ((ANNA, {}), (beppe, desk), (ANNA, desk)):
        await client.get(f"/v1/customers/{customer}", headers=headers)
    await recorded(database, 4)
    path = "/v1/audit"

    async def seqs(**params: Any) -> list[int]:
        return [item["seq"] for item in await items_at(client, path, **params)]

    assert await seqs() == [4, 3, 2, 1]
    assert await seqs(subject=ANNA) == [4, 2]
    assert await seqs(subject=beppe, actor="desk") == [3]
    assert await seqs(actor="desk") == [4, 3]
    assert await seqs(act="read", actor="bootstrap") == [2]
    assert await seqs(act="key_made") == [1]
    assert await seqs(act="merged") == []
    assert await seqs(subject="email:nobody@example.com") == []
    second = (await items_at(client, path))[1]
    at = await database.fetchval("SELECT at FROM audit_log WHERE seq = 3")
    assert await seqs(**{"from": at.isoformat()}) == [4, 3]
    assert await seqs(to=at.isoformat()) == [2, 1]
    assert second["actor"] == "desk"
    assert second["key_id"] == made["id"]
    assert [[item["seq"] for item in page] async for page in walk(client, path, limit=3)] == [[4, 3, 2], [1]]


async def test_what_joins_later_is_found_under_either(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await store(client, make(), make(customer={"phone": "+39066982"}))
    await client.get(f"/v1/customers/{ANNA}")
    await client.get("/v1/customers/phone:%2B39066982")
    await recorded(database, 2)
    await store(client, make(customer={"email": "anna@example.com", "phone": "+39066982"}))
    for subject in (ANNA, "phone:+39066982"):
        assert [item["seq"] for item in await items_at(client, "/v1/audit", subject=subject)] == [2, 1]


async def test_the_log_needs_its_scope_and_sensible_parameters(client: httpx.AsyncClient) -> None:
    for scopes, status in ((["read", "write", "ingest"], 403), (["privacy"], 200)):
        made = (await client.post("/v1/keys", json={"name": "k", "scopes": scopes})).json()
        for path in ("/v1/audit", "/v1/audit/head"):
            answer = await client.get(path, headers={"Authorization": f"Bearer {made['key']}"})
            assert answer.status_code == status
    for query, pointer in (
        ("subject=anna", "/query/subject"),
        ("from=yesterday", "/query/from"),
        ("from=2026-03-01T00:00:00Z&to=2026-03-01T00:00:00Z", "/query/to"),
        ("cursor=x", "/query/cursor"),
        ("acts=read", "/query/acts"),
    ):
        assert pointers(check_problem(await client.get(f"/v1/audit?{query}"), 422, "invalid_request")) == [pointer]


async def test_a_row_is_sealed_as_the_documentation_says(services: Services, database: Database) -> None:
    await fill(services, 2)
    first, second = await database.fetch("SELECT * FROM audit_log ORDER BY seq")
    row = (
        '{"act":"merged","actor":null,"at":"2026-03-01T12:30:16.123456+00:00","details":{"interactions":1},'
        '"key_id":null,"seq":2,"subject":null}'
    )
    assert first["previous"] == bytes(32)
    assert second["previous"] == first["hash"]
    assert second["hash"] == sha256(first["hash"] + row.encode()).digest()


async def test_the_chain_holds_through_several_processes_at_once(database_url: str, database: Database) -> None:
    async with processes(database_url, 2) as both:
        await asyncio.gather(*(fill(each, 20) for each in both * 3))
        found = await verified(both[0])
    assert (found.rows, found.broken, found.head.seq) == (120, None, 120)
    assert found.head.hash == await database.fetchval("SELECT hash FROM audit_log WHERE seq = 120")


COPIED = (
    "INSERT INTO audit_log SELECT {new}, at, act, actor, key_id, subject, details, previous, hash "
    "FROM audit_log WHERE seq = {old}"
)


@pytest.mark.parametrize(
    ("tampering", "seq", "why"),
    [
        ("UPDATE audit_log SET details = '{\"interactions\": 0}' WHERE seq = 5", 5, "was changed"),
        ("UPDATE audit_log SET actor = 'other' WHERE seq = 5", 5, "was changed"),
        ("UPDATE audit_log SET at = at + interval '1 microsecond' WHERE seq = 1", 1, "was changed"),
        ("UPDATE audit_log SET hash = sha256('x') WHERE seq = 5", 5, "was changed"),
        ("UPDATE audit_log SET previous = sha256('x') WHERE seq = 5", 5, "does not follow"),
        ("DELETE FROM audit_log WHERE seq = 5", 5, "is missing"),
        ("DELETE FROM audit_log WHERE seq IN (5, 6)", 5, "is missing"),
        ("DELETE FROM audit_log WHERE seq < 3", 1, "is missing"),
        ("DELETE FROM audit_log WHERE seq = 5; UPDATE audit_log SET seq = seq - 1 WHERE seq > 5", 5, "does not follow"),
        ("UPDATE audit_log SET seq = CASE seq WHEN 5 THEN 99 ELSE 5 END WHERE seq IN (5, 6)", 5, "does not follow"),
        (COPIED.format(new=11, old=10), 11, "does not follow"),
        (COPIED.format(new=0, old=1), 0, "was put before"),
        ("DELETE FROM audit_log WHERE seq > 7", 8, "is missing, and all after it"),
        ("DELETE FROM audit_log", 1, "is missing, and all after it"),
    ],
)  # fmt: skip
async def test_verify_finds_whatever_was_done_to_the_log(
    services: Services, database: Database, tampering: str, seq: int, why: str
) -> None:
    await fill(services, 10)
    before = await verified(services)
    assert before.broken is None
    await database.execute(tampering)
    found = await verified(services, _10=before.head.hash)
    assert found.broken is not None
    assert (found.broken.seq, found.broken.why[: len(why)]) == (seq, why)


async def test_a_chain_that_was_made_anew_shows_against_a_head_that_was_kept(
    services: Services, database: Database
) -> None:
    await fill(services, 3)
    async with reading(services.engine) as session:
        head = await queries.head(session)
    await database.execute("DELETE FROM audit_log")
    await fill(services, 2)
    async with writing(services.engine) as session:
        await audit.record(session, [Entry("merged", NOW, {"interactions": 7})])
    assert (await verified(services)).broken is None
    found = await verified(services, _3=head.hash)
    assert found.broken is not None
    assert found.broken.why.startswith("has another hash")


@pytest.fixture
def percorso(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `percorso audit verify` on this test's database."""
    monkeypatch.setenv("PERCORSO_DATABASE_URL", database_url)
    return lambda *arguments: CliRunner().invoke(app, ["audit", "verify", *arguments])


async def test_the_command_says_where_the_chain_is_broken(
    services: Services, database: Database, percorso: Callable[..., Result]
) -> None:
    empty = await asyncio.to_thread(percorso)
    assert (empty.exit_code, empty.stdout) == (0, f"0 rows are as they were written. Head: 0:{'0' * 64}\n")
    await fill(services, 3)
    whole = await asyncio.to_thread(percorso)
    head = whole.stdout.split()[-1]
    assert whole.exit_code == 0
    assert head.startswith("3:")
    assert (await asyncio.to_thread(percorso, "--head", head)).exit_code == 0
    await database.execute("UPDATE audit_log SET act = 'split' WHERE seq = 2")
    broken = await asyncio.to_thread(percorso)
    assert broken.exit_code == 1
    assert "Row 2 was changed" in broken.stderr
    await database.execute("UPDATE audit_log SET act = 'merged' WHERE seq = 2")
    await database.execute("DELETE FROM audit_log WHERE seq = 3")
    assert (await asyncio.to_thread(percorso)).exit_code == 0
    cut = await asyncio.to_thread(percorso, "--head", head)
    assert cut.exit_code == 1
    assert "Row 3 is missing" in cut.stderr
    wrong = await asyncio.to_thread(percorso, "--head", "3")
    assert wrong.exit_code != 0


async def test_the_head_is_answered(client: httpx.AsyncClient, database: Database, make: Make) -> None:
    assert (await client.get("/v1/audit/head")).json() == {"seq": 0, "hash": "0" * 64}
    await store(client, make())
    await client.get(f"/v1/customers/{ANNA}")
    await recorded(database, 1)
    row = await database.fetchrow("SELECT seq, hash FROM audit_log")
    assert row is not None
    assert (await client.get("/v1/audit/head")).json() == {"seq": 1, "hash": row["hash"].hex()}
