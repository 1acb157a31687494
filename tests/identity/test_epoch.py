"""Processes forget what may be wrong: after a split, and so that nobody who was erased comes back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest
from asyncpg.pgproto.pgproto import UUID

from percorso.http.services import Services
from percorso.ingest import reconcile
from percorso.ingest.known import Known
from percorso.ingest.reconcile import Act
from percorso.storage import epoch
from percorso.storage.database import WriteSession, writing
from percorso.storage.linking import Guards
from support import Make
from writing import Database, count, processes, retries, statuses, take, until, waiting_for_a_lock

BOTH = {"email": "anna@example.com", "phone": "+39066982"}
OTHER = {"email": "berta@example.com"}
WAYS = {"statement": (200, 0), "copy": (0, 0), "careful": (0, 10**9)}


@asynccontextmanager
async def storing(url: str, way: str) -> AsyncIterator[Services]:
    """A process that stores in one of the three ways."""
    statement_rows, careful = WAYS[way]
    async with processes(url, 1, statement_rows=statement_rows) as [services]:
        services.writer._known.careful = careful  # noqa: SLF001 - else it is duplicates that lead there
        yield services


@asynccontextmanager
async def erasing(url: str, identity_ids: Sequence[UUID]) -> AsyncIterator[None]:
    """These are being erased; it is committed at the end of the block."""
    session = WriteSession(await asyncpg.connect(url))
    try:
        async with session.transaction():
            await session.execute("SELECT pg_advisory_xact_lock($1)", epoch.ERASURE_LOCK)
            await session.execute(
                "INSERT INTO erased_identities SELECT id, gen_random_uuid(), now() FROM unnest($1::uuid[]) AS id",
                identity_ids,
            )
            await session.execute("DELETE FROM interactions WHERE identity_id = ANY($1)", identity_ids)
            await session.execute(
                "DELETE FROM identity_links WHERE identity_a = ANY($1) OR identity_b = ANY($1)", identity_ids
            )
            await session.execute("DELETE FROM identities WHERE identity_id = ANY($1)", identity_ids)
            await epoch.bump(session)
            yield
    finally:
        await session.close()


def ids_of(services: Services, *customers: dict[str, str]) -> list[UUID]:
    return [services.identifiers.one(kind, value).id for each in customers for kind, value in each.items()]


async def split(services: Services, apart: dict[str, str]) -> None:
    act = Act("desk", "two people", 1, Guards.of(services.settings))
    [identity] = ids_of(services, apart)
    async with writing(services.engine) as session:
        await reconcile.split(session, identity, [identity], act)


@pytest.mark.parametrize("way", WAYS)
async def test_a_cut_link_is_not_made_again_by_a_process_that_knew_it_and_its_first_repetition_is_noted(
    database_url: str, database: Database, make: Make, way: str
) -> None:
    before = retries()
    async with storing(database_url, way) as one, storing(database_url, "statement") as other:
        for services in (one, other):
            await take(services, make(customer=BOTH))
        await split(other, {"phone": BOTH["phone"]})
        for number, services in enumerate((one, one, other, one)):
            [verdict] = await take(services, make(customer=BOTH, source=f"s{number}"))
            assert verdict.status == "stored"
    assert await database.fetchval("SELECT count(DISTINCT customer_id) FROM identities") == 2
    assert await database.fetchval("SELECT state FROM identity_links") == "cut"
    [suspicion] = await database.fetch("SELECT * FROM identity_suspicions")
    assert (suspicion["why"], suspicion["times"], suspicion["source"]) == ("split_before", 2, "s2")
    # To forget is no failure of the database.
    assert retries() == before


@pytest.mark.parametrize("way", WAYS)
async def test_an_interaction_on_its_way_while_its_person_is_erased_is_refused(
    database_url: str, database: Database, make: Make, way: str
) -> None:
    async with storing(database_url, way) as services:
        await take(services, make(customer=BOTH), make(customer=OTHER))
        items = [
            make(customer=OTHER),
            make(customer={"email": BOTH["email"]}),
            make(customer=BOTH),
            make(customer=OTHER),
        ]
        async with erasing(database_url, ids_of(services, BOTH)):
            told = asyncio.create_task(take(services, *items))
            await until(lambda: waiting_for_a_lock(database))
        verdicts = await told
        assert [verdict.status for verdict in verdicts] == ["stored", "rejected", "rejected", "stored"]
        assert [verdict.erased for verdict in verdicts] == [False, True, True, False]
        assert verdicts[1].rejection_id is None
        [problem] = verdicts[1].problems
        assert problem.pointer == "/customer/email"
        assert problem.detail.startswith("erased")
        # Once more, when it is known that they are not known.
        assert await statuses(services, *items) == ["duplicate", "rejected", "rejected", "duplicate"]
    assert await count(database, "identities") == 1
    assert await count(database, "identity_links") == 0
    assert await count(database, "interactions") == 3
    assert await count(database, "interaction_keys") == 4
    assert await count(database, "rejected_interactions") == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_repetition_of_what_was_erased_is_refused_and_of_what_was_deleted_is_a_duplicate(
    database_url: str, database: Database, make: Make, way: str
) -> None:
    async with storing(database_url, way) as services:
        erased, deleted = make(customer=BOTH), make(customer=OTHER)
        await take(services, erased, deleted)
        async with erasing(database_url, ids_of(services, BOTH)):
            pass
        await database.execute("DELETE FROM interactions")
        assert await statuses(services, erased, deleted, make(customer=BOTH)) == ["rejected", "duplicate", "rejected"]
    assert await count(database, "interactions") == 0


async def test_rejections_wait_for_an_erasure_too(database_url: str, database: Database, make: Make) -> None:
    async with storing(database_url, "statement") as services:
        async with erasing(database_url, []):
            told = asyncio.create_task(statuses(services, {"broken": 1}, make()))
            await until(lambda: waiting_for_a_lock(database))
            assert await count(database, "rejected_interactions") == 0
        assert await told == ["rejected", "stored"]


async def test_a_new_process_begins_in_the_epoch_there_is(database_url: str, database: Database, make: Make) -> None:
    await database.execute("UPDATE identity_epoch SET epoch = 7")
    async with processes(database_url, 1) as [services]:
        assert services.writer._known.epoch == 7  # noqa: SLF001 - what is remembered shows nowhere else
        assert await statuses(services, make()) == ["stored"]


def test_what_was_learnt_in_another_epoch_is_not_remembered() -> None:
    one, other = UUID(bytes(15) + b"1"), UUID(bytes(15) + b"2")
    known = Known(10, 3)
    known.learn(3, {one: one}, [(one, other)])
    known.forget(3)
    assert known.customers
    known.forget(5)
    known.forget(4)
    assert (known.epoch, known.customers, known.links) == (5, {}, {})
    known.learn(4, {one: one}, [(one, other)])
    assert (known.customers, known.links) == ({}, {})
    known.learn(5, {one: other}, [(one, other)])
    assert known.customers == {one: other}
    assert list(known.links) == [(one, other)]
