"""The writer: whatever happens to the database, nothing is lost, nothing is doubled, and nobody waits in vain."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import asyncpg
import pytest

from percorso.errors import Unavailable
from percorso.http.services import Services
from support import Make
from writing import (
    WRITER,
    Cut,
    Database,
    Way,
    count,
    end_writers,
    healthy,
    occupied,
    processes,
    queued,
    retries,
    sender_ids,
    statuses,
    stopped,
    take,
    until,
    waiting_for_a_lock,
)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer gives up, and asks again, after fractions of a second."""
    monkeypatch.setattr("percorso.ingest.writer._PAUSES", (0.0, 0.02, 0.05))
    monkeypatch.setattr("percorso.ingest.writer._PROBE_SECONDS", 0.02)


async def _outcomes(tasks: Sequence["asyncio.Task[list[str]]"]) -> Counter[str]:
    ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
    return Counter(
        outcome
        for each in ended
        for outcome in (each if isinstance(each, list) else [type(each).__name__])
    )  # fmt: skip


@pytest.mark.parametrize("statement_rows", [0, 200])
async def test_a_connection_that_is_lost_at_a_commit_loses_nothing_and_doubles_nothing(
    database_url: str, database: Database, make: Make, statement_rows: int
) -> None:
    cuts: tuple[Cut, ...] = ("before", "during", "after")
    sent: list[str] = []
    async with Way(database_url) as way, processes(way.url, 1, statement_rows=statement_rows) as [this]:
        for careful, alone in ((False, False), (True, False), (False, True)):
            for cut in cuts:
                phone = {} if alone else {"phone": f"+39066982{len(sent):03}"}
                items = [make(customer={"email": f"{cut}@example.com"} | phone) for _ in range(5)]
                known = [make(id=sent[0], text="other")] if careful else []
                broken = [] if alone else [{"broken": cut}]
                way.cut = cut
                told = await statuses(this, *items, *known, *broken)
                assert told == ["stored"] * 5 + ["conflict"] * len(known) + ["rejected"] * len(broken)
                sent += (item["id"] for item in items)
        assert way.cuts == 9
    assert await sender_ids(database) == sorted(sent)
    assert await count(database, "interaction_keys") == len(sent)
    assert await count(database, "rejected_interactions") == 6
    logged = await database.fetch("SELECT unnest(interaction_ids) AS id FROM commits")
    assert len(logged) == len({record["id"] for record in logged}) == len(sent)


async def test_copies_in_one_batch_stay_one_stored_when_the_answer_to_its_commit_is_lost(
    database_url: str, database: Database, make: Make
) -> None:
    await database.execute(
        "ALTER TABLE interactions ADD CONSTRAINT refusing CHECK (document::text NOT LIKE '%cursed%')"
    )
    item = make()
    async with Way(database_url) as way, processes(way.url, 1) as [this]:
        way.cut = "after"
        verdicts = await take(this, make(text="cursed"), item, item | {"text": "other"}, item, make(), make(), item)
    assert way.cuts == 1
    assert [verdict.status for verdict in verdicts] == [
        "rejected", "stored", "conflict", "duplicate", "stored", "stored", "duplicate",
    ]  # fmt: skip
    assert await count(database, "interactions") == 3
    assert await database.fetchval("SELECT array_agg(rejection_id) FROM rejected_interactions") == [
        verdicts[0].rejection_id
    ]


async def test_writers_that_are_killed_again_and_again_store_each_interaction_once(
    database_url: str, database: Database, make: Make
) -> None:
    items = [make(customer={"email": f"{number % 7}@example.com"}) for number in range(300)]
    async with processes(database_url, 2) as running:
        tasks = [
            asyncio.create_task(statuses(each, *items[start : start + 10]))
            for start in range(0, 300, 10)
            for each in running
        ]
        for _ in range(3):
            await end_writers(database)
            await asyncio.sleep(0)
        outcomes = await _outcomes(tasks)
    assert outcomes == {"stored": 300, "duplicate": 300}
    assert await sender_ids(database) == sorted(item["id"] for item in items)


@pytest.mark.usefixtures("impatient")
async def test_a_long_outage_is_told_at_once_to_newcomers_and_ends_by_itself(
    database_url: str, database: Database, make: Make
) -> None:
    async with Way(database_url) as way, processes(way.url, 1, queue_rows=2) as [this]:
        assert await statuses(this, make()) == ["stored"]
        assert healthy(this)
        way.open = False
        way.end()
        waiting = [asyncio.create_task(statuses(this, make())) for _ in range(2)]
        patient = asyncio.create_task(take(this, make(), wait=True))
        gone = asyncio.create_task(statuses(this, make()))
        await asyncio.sleep(0)
        gone.cancel()
        outcomes = await _outcomes(waiting)
        assert outcomes == {"Unavailable": 2}
        with pytest.raises(Unavailable):
            await patient
        assert not healthy(this)
        for wait in (False, True):
            with pytest.raises(Unavailable, match="cannot be reached") as refused:
                await asyncio.wait_for(take(this, make(), wait=wait), 0.01)
            assert refused.value.retry_after > 0
        assert queued() == 0
        way.open = True
        await until(lambda: healthy(this))
        assert await statuses(this, make()) == ["stored"]
    assert await count(database, "interactions") == 2


@pytest.mark.usefixtures("impatient")
async def test_a_request_that_gave_up_does_not_harm_those_that_wait_when_the_database_goes_away(
    database_url: str, database: Database, make: Make
) -> None:
    async with Way(database_url) as way, processes(way.url, 1) as [this]:
        async with stopped(database_url):
            first = asyncio.create_task(statuses(this, make()))
            await until(lambda: waiting_for_a_lock(database))
            gone, other = (asyncio.create_task(statuses(this, make())) for _ in range(2))
            await until(lambda: queued() == 3)
            gone.cancel()
            way.open = False
            way.end()
            assert await _outcomes([first, other]) == {"Unavailable": 2}
        assert queued() == 0
        way.open = True
        await until(lambda: healthy(this))
        assert await statuses(this, make()) == ["stored"]


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_answers_no_more_holds_nobody_for_ever(
    database_url: str, database: Database, make: Make
) -> None:
    limits = {"commit_timeout_seconds": 1, "connect_timeout_seconds": 1}
    async with Way(database_url) as way, processes(way.url, 1, **limits) as [this]:
        assert await statuses(this, make()) == ["stored"]
        way.loud.clear()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(take(this, make()), 8)
        way.loud.set()
        await until(lambda: healthy(this))
        assert await statuses(this, make()) == ["stored"]
    # What was on its way when the connection was cut may be stored; it was answered 503, which may be repeated.
    assert await count(database, "interactions") in {2, 3}


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_takes_no_writes_is_away_until_it_does(
    database_url: str, database: Database, make: Make
) -> None:
    name = await database.fetchval("SELECT current_database()")
    async with processes(database_url, 1) as [this]:
        await database.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        await end_writers(database)
        with pytest.raises(Unavailable):
            await take(this, make())
        assert not healthy(this)
        await database.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await until(lambda: healthy(this))
        assert await statuses(this, make()) == ["stored"]


@pytest.mark.usefixtures("impatient")
async def test_a_writer_that_is_refused_for_a_reason_nobody_foresaw_comes_back(
    services: Services, make: Make, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    async def refuse() -> None:
        raise asyncpg.InsufficientPrivilegeError("permission denied for database")

    with monkeypatch.context() as changed:
        changed.setattr(services.writer, "_connect", refuse)
        await end_writers(database)
        with pytest.raises(Unavailable):
            await take(services, make())
        with pytest.raises(Unavailable):
            await take(services, make())
    await until(lambda: healthy(services))
    assert await statuses(services, make()) == ["stored"]


async def test_behind_a_new_connection_nothing_is_taken_for_known(
    services: Services, database: Database, make: Make
) -> None:
    both = {"email": "anna@example.com", "phone": "+39066982"}
    assert await statuses(services, make(customer=both, touchpoint="desk")) == ["stored"]
    # As after a failover to a standby that lags behind, in another cluster.
    await database.execute(
        "TRUNCATE interactions, interaction_keys, identities, identity_links, touchpoints, commits;"
        "DROP TABLE interactions_2026_03; UPDATE deployment SET system_identifier = 'elsewhere'"
    )
    await end_writers(database)
    assert await statuses(services, make(customer=both, touchpoint="desk")) == ["stored"]
    assert await count(database, "identities") == 2
    assert await database.fetchval("SELECT count(DISTINCT customer_id) FROM identities") == 1
    assert await count(database, "interactions JOIN touchpoints USING (touchpoint_id)") == 1
    assert await database.fetchval("SELECT max(generation) FROM commits") == 2


async def _no_writer(database: Database) -> bool:
    return await count(database, f"pg_stat_activity WHERE {WRITER}") == 0


async def test_a_stop_under_load_commits_and_answers_all_that_was_accepted(
    database_url: str, database: Database, make: Make
) -> None:
    items = [make() for _ in range(60)]
    async with processes(database_url, 1, commit_rows=7, queue_rows=40) as [this]:
        async with stopped(database_url):
            tasks = [asyncio.create_task(statuses(this, item)) for item in items[:40]]
            patient = [asyncio.create_task(take(this, item, wait=True)) for item in items[40:]]
            await until(lambda: waiting_for_a_lock(database))
            await until(lambda: queued() == 40)
            stop = asyncio.create_task(this.writer.stop())
            with pytest.raises(Unavailable, match="stopping"):
                await patient[0]
            with pytest.raises(Unavailable, match="stopping"):
                await take(this, make())
            assert not healthy(this)
        await stop
        assert await _outcomes(tasks) == {"stored": 40}
        assert all(isinstance(e, Unavailable) for e in await asyncio.gather(*patient, return_exceptions=True))
    assert await sender_ids(database) == sorted(item["id"] for item in items[:40])
    await until(lambda: _no_writer(database))


@pytest.mark.usefixtures("impatient")
async def test_a_stop_while_the_database_is_away_ends_and_answers_everybody(database_url: str, make: Make) -> None:
    async with Way(database_url) as way, processes(way.url, 1) as [this]:
        way.open = False
        way.end()
        tasks = [asyncio.create_task(statuses(this, make())) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.wait_for(this.writer.stop(), 5)
        assert await _outcomes(tasks) == {"Unavailable": 3}


async def test_a_stop_does_not_wait_for_a_database_that_hangs_once_no_one_else_does(
    database_url: str, make: Make
) -> None:
    async with processes(database_url, 1, commit_timeout_seconds=60) as [this], stopped(database_url):
        gone = [asyncio.create_task(statuses(this, make())) for _ in range(3)]
        await until(lambda: queued() == 3)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        await asyncio.wait_for(this.writer.stop(), 10)
        assert not healthy(this)


async def test_a_database_whose_writes_fail_is_not_taken_for_back_because_it_answers(
    database_url: str, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.ingest.writer._PAUSES", (0.0, 0.02))
    monkeypatch.setattr("percorso.ingest.writer._PROBE_SECONDS", 0.02)
    await database.execute(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$;"
        "CREATE TRIGGER no_room BEFORE INSERT ON interaction_keys FOR EACH ROW EXECUTE FUNCTION no_room();"
        "CREATE TRIGGER no_room BEFORE UPDATE ON deployment FOR EACH ROW EXECUTE FUNCTION no_room()"
    )
    async with processes(database_url, 1) as [this]:
        with pytest.raises(Unavailable):
            await take(this, make())
        failures = retries()
        for _ in range(5):
            await asyncio.sleep(0.05)
            assert not healthy(this)
        assert retries() == failures
        await database.execute("DROP FUNCTION no_room CASCADE")
        await until(lambda: healthy(this))
        assert await statuses(this, make()) == ["stored"]


async def test_a_full_queue_refuses_and_whoever_waits_for_room_gets_it(
    database_url: str, database: Database, make: Make
) -> None:
    for limit in ({"queue_rows": 4}, {"queue_bytes": 6000}):
        long = make(text="x" * 1200)
        async with processes(database_url, 1, **limit) as [this]:
            async with occupied(this, database, database_url, long):
                tasks = [asyncio.create_task(statuses(this, make(text="x" * 1200))) for _ in range(3)]
                await until(lambda: queued() == 4)
                with pytest.raises(Unavailable, match="More arrives") as refused:
                    await take(this, make())
                assert refused.value.retry_after > 0
                patient = [asyncio.create_task(take(this, make(), wait=True)) for _ in range(5)]
                patient.pop().cancel()
                await asyncio.sleep(0)
                assert queued() == 4
            assert await _outcomes(tasks) == {"stored": 3}
            assert [v.status for [v] in await asyncio.gather(*patient)] == ["stored"] * 4
            assert queued() == 0
    assert await count(database, "interactions") == 16


async def test_a_client_that_hangs_up_takes_nobody_with_it(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    first, gone, other = make(), make(), make()
    async with stopped(database_url):
        being_written = asyncio.create_task(statuses(services, first))
        await until(lambda: waiting_for_a_lock(database))
        waiting = asyncio.create_task(statuses(services, gone))
        last = asyncio.create_task(statuses(services, other))
        await until(lambda: queued() == 3)
        being_written.cancel()
        waiting.cancel()
    assert await last == ["stored"]
    await until(lambda: queued() == 0)
    assert await sender_ids(database) == sorted(item["id"] for item in (first, gone, other))
    assert await statuses(services, first, gone) == ["duplicate", "duplicate"]


async def test_groups_keep_to_the_limits_of_a_commit(database_url: str, database: Database, make: Make) -> None:
    async with processes(database_url, 1, commit_rows=10, commit_connections=1) as [this]:
        async with occupied(this, database, database_url, make()):
            tasks = [asyncio.create_task(statuses(this, make(), make(), make())) for _ in range(7)]
            tasks.append(asyncio.create_task(statuses(this, *(make() for _ in range(25)))))
            await until(lambda: queued() == 1 + 7 * 3 + 25)
        assert await _outcomes(tasks) == {"stored": 46}
    sizes = await database.fetch("SELECT cardinality(interaction_ids) AS size FROM commits ORDER BY xid8")
    assert [record["size"] for record in sizes] == [1, 9, 9, 3, 25]


async def test_a_transaction_of_another_kind_of_database_is_read_committed(
    database_url: str, database: Database, make: Make
) -> None:
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f'ALTER DATABASE "{name}" SET default_transaction_isolation = serializable')
    before = retries()
    items = [make(customer={"email": f"{n % 3}@example.com", "phone": "+39066982"}) for n in range(40)]
    async with processes(database_url, 2) as running:
        tasks = [asyncio.create_task(statuses(each, item)) for item in items for each in running]
        assert await _outcomes(tasks) == {"stored": 40, "duplicate": 40}
    assert retries() == before
    assert await database.fetchval("SELECT count(DISTINCT customer_id) FROM identities") == 1


async def test_the_server_ends_what_a_writer_leaves_open(database_url: str) -> None:
    async with processes(database_url, 1, commit_timeout_seconds=3) as [this]:
        session = cast("Any", this.writer)._lanes[0].session  # noqa: SLF001 - settings of a connection show only on it
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            assert await session.fetchval(f"SHOW {name}") == "3s"


async def test_a_process_that_remembers_almost_nothing_writes_the_same(
    database_url: str, database: Database, make: Make
) -> None:
    async with processes(database_url, 1, seen_identities=1) as [this]:
        for _ in range(2):
            items = [
                make(touchpoint=f"place-{n}", customer={"email": f"{n}@example.com", "phone": "+39066982"})
                for n in range(5)
            ]
            assert await statuses(this, *items) == ["stored"] * 5
    assert await count(database, "touchpoints") == 5
    assert await count(database, "identities") == 6
    assert await count(database, "interactions JOIN touchpoints USING (touchpoint_id)") == 10


async def test_groups_that_are_stored_at_once_do_not_forget_the_touchpoints_of_each_other(
    database_url: str, make: Make
) -> None:
    async with processes(database_url, 1, seen_identities=1, commit_connections=4, commit_rows=2) as [this]:
        sent = [
            [make(touchpoint=f"place-{number % 7}"), make(touchpoint=f"place-{number % 5}")] for number in range(100)
        ]
        told = await asyncio.gather(*(statuses(this, *items) for items in sent))
    assert {status for each in told for status in each} == {"stored"}
