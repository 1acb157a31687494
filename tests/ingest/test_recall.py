"""A process that has just started learns who was stored last, and only what still holds."""

import asyncio
from typing import Any

import asyncpg
import pytest

from percorso.http.services import Services
from percorso.ingest.identity import Identifiers
from percorso.ingest.known import Known
from percorso.ingest.recall import recall
from percorso.storage import epoch
from percorso.storage.database import WriteSession
from support import Make
from writing import Database, count, processes, statuses, take, until, waiting_for_a_lock

ANNA = {"email": "anna@example.com", "phone": "+39066982", "cookie_id": "c-1"}


def _identifiers() -> Identifiers:
    """Of another salt: an id that is right can only have been remembered."""
    return Identifiers(b"another salt", None, 100)


async def _recalled(database: Database, size: int = 100) -> tuple[Known, Identifiers]:
    session = WriteSession(database)
    known, identifiers = Known(size, await epoch.current(session)), _identifiers()
    await recall(session, known, identifiers)
    return known, identifiers


def _recalling() -> bool:
    return any(task.get_name() == "percorso-recall" for task in asyncio.all_tasks())


async def test_who_was_stored_is_known_with_their_customer_their_links_and_their_names(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, make(customer=ANNA), make(customer={"email": "carlo@example.com"}))
    known, identifiers = await _recalled(database)
    stored = await database.fetch("SELECT identity_id, customer_id FROM identities")
    links = await database.fetch("SELECT identity_a, identity_b FROM identity_links")
    assert len(stored) == 4
    assert known.customers == {record["identity_id"]: record["customer_id"] for record in stored}
    assert set(known.links) == {record["identity_a"].bytes + record["identity_b"].bytes for record in links}
    for kind, value in ANNA.items():
        assert identifiers.one(kind, value) == services.identifiers.one(kind, value)


async def test_who_was_stored_last_is_remembered_where_there_is_no_room_for_all(
    services: Services, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.ingest.recall._STEP", 1)
    for number in range(5):
        await take(services, make(customer={"email": f"number.{number}@example.com"}))
    known, _ = await _recalled(database, size=2)
    last = {services.identifiers.one("email", f"number.{number}@example.com").id for number in (3, 4)}
    assert known.customers.keys() == last


async def test_no_more_is_looked_through_than_there_can_be_room_for(
    services: Services, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.ingest.recall._STEP", 1)
    await take(services, make(customer={"email": "first@example.com"}))
    for _ in range(9):
        await take(services, make())
    known, _ = await _recalled(database, size=2)
    assert len(known.customers) == 1


async def test_a_link_that_does_not_count_is_not_remembered(services: Services, database: Database, make: Make) -> None:
    await take(services, make(customer=ANNA))
    await database.execute("UPDATE identity_links SET state = 'cut'")
    known, _ = await _recalled(database)
    assert known.customers
    assert not known.links


async def test_what_was_read_in_an_epoch_that_is_over_is_not_learnt(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, make(customer=ANNA))
    session = WriteSession(database)
    known, identifiers = Known(100, await epoch.current(session)), _identifiers()
    known.forget(known.epoch + 1)
    await recall(session, known, identifiers)
    assert not known.customers
    assert not known.links
    assert identifiers.one("email", ANNA["email"]) != services.identifiers.one("email", ANNA["email"])


async def _stores_without_meeting_anyone(this: Services, database_url: str, item: dict[str, Any]) -> None:
    """Whoever is met is looked for in the table that is locked."""
    holder = await asyncpg.connect(database_url)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE identities IN ACCESS EXCLUSIVE MODE")
            assert await statuses(this, item) == ["stored"]
    finally:
        await holder.close()


async def test_a_new_process_meets_no_one_again_whom_another_stored_last(
    services: Services, database_url: str, make: Make
) -> None:
    await take(services, make(customer=ANNA))
    await until(lambda: not _recalling())
    async with processes(database_url, 1) as [other]:
        await until(lambda: not _recalling())
        await _stores_without_meeting_anyone(other, database_url, make(customer=ANNA))


async def test_what_an_epoch_made_a_process_forget_is_recalled(
    services: Services, database: Database, database_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.ingest.writer._RECALL_EVERY_SECONDS", 0.5)
    await until(lambda: not _recalling())
    await take(services, make(customer=ANNA))
    await database.execute("UPDATE identity_epoch SET epoch = epoch + 1")

    async def begun() -> bool:
        await take(services, make(customer={"email": "carlo@example.com"}))
        return _recalling()

    await until(begun)
    await until(lambda: not _recalling())
    await _stores_without_meeting_anyone(services, database_url, make(customer=ANNA))


async def test_a_process_stores_though_it_cannot_recall(
    database_url: str, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    async def failing(*_: object) -> None:
        nonlocal tried
        tried += 1
        raise ConnectionResetError

    monkeypatch.setattr("percorso.ingest.writer.recall", failing)
    async with processes(database_url, 1) as [this]:
        await until(lambda: tried)
        assert await statuses(this, make()) == ["stored"]
    assert await count(database, "interactions") == 1


async def test_a_stop_does_not_wait_for_what_is_being_recalled(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    await take(services, make())
    holder = await asyncpg.connect(database_url)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE commits IN ACCESS EXCLUSIVE MODE")
            async with processes(database_url, 1):
                await until(lambda: waiting_for_a_lock(database))
                assert _recalling()
            assert not _recalling()
    finally:
        await holder.close()
