"""Links join identifiers into customers, in whatever order they come; a weak identifier never joins two people."""

import asyncio
import random

import asyncpg

from percorso.http.services import Services
from percorso.ingest.verdict import Verdict
from percorso.queries import customers
from percorso.queries.customers import Customer
from percorso.storage import groups
from percorso.storage.database import WriteSession, reading
from percorso.storage.linking import Guards
from support import Make
from writing import Database, count, processes, retries, take, until, waiting_for_a_lock

ANNA, BERTA, CARLA = ({"email": f"{name}@example.com"} for name in ("anna", "berta", "carla"))
PHONE, CRM = {"phone": "+39066982"}, {"crm_id": "C-17"}
DEVICE, COOKIE = {"device_id": "tablet"}, {"cookie_id": "c1"}


async def who(services: Services, identifier: dict[str, str]) -> Customer:
    """The customer of this identifier."""
    [(kind, value)] = identifier.items()
    async with reading(services.engine) as session:
        return await customers.by_identity(session, services.identifiers.one(kind, value).id)


async def values(services: Services, identifier: dict[str, str]) -> set[str]:
    """The values of all identifiers of that customer."""
    return {identity.value for identity in (await who(services, identifier)).identities}


async def test_strong_identifiers_join_in_whatever_order_they_come(services: Services, make: Make) -> None:
    for customer in (PHONE, ANNA | PHONE, CRM, BERTA, CRM | PHONE):
        await take(services, make(customer=customer))
    assert await values(services, CRM) == {"anna@example.com", "+39066982", "C-17"}
    assert await who(services, ANNA) == await who(services, PHONE) == await who(services, CRM)
    assert await values(services, BERTA) == {"berta@example.com"}


async def test_the_oldest_strong_identity_gives_the_customer_its_id_and_the_others_still_resolve(
    services: Services, make: Make
) -> None:
    told = []
    for customer in (COOKIE, CARLA, ANNA, BERTA, ANNA | CRM, CRM | {"email": "berta@example.com"}, CARLA | CRM):
        [verdict] = await take(services, make(customer=customer))
        told.append(verdict.customer_id)
    carla = services.identifiers.one("email", CARLA["email"]).id
    assert told[-1] == carla
    async with reading(services.engine) as session:
        for former in told[1:]:
            assert former is not None
            assert (await customers.by_identity(session, former)).customer_id == carla


async def test_an_anonymous_visit_joins_the_journey_once_its_cookie_is_seen_with_an_email(
    services: Services, make: Make
) -> None:
    await take(services, make(customer=COOKIE))
    assert await values(services, COOKIE) == {"c1"}
    [verdict] = await take(services, make(customer=COOKIE | ANNA))
    assert await values(services, ANNA) == {"c1", "anna@example.com"}
    assert (await who(services, COOKIE)).customer_id == verdict.customer_id


async def test_a_shared_device_joins_nobody_stands_alone_and_comes_back_when_its_people_prove_to_be_one(
    services: Services, make: Make
) -> None:
    await take(services, make(customer=ANNA | DEVICE))
    assert await values(services, DEVICE) == {"anna@example.com", "tablet"}
    await take(services, make(customer=BERTA | DEVICE))
    assert await values(services, DEVICE) == {"tablet"}
    assert await values(services, ANNA) == {"anna@example.com"}
    await take(services, make(customer=CARLA | DEVICE))
    await take(services, make(customer=ANNA | PHONE), make(customer=BERTA | PHONE))
    assert await values(services, DEVICE) == {"tablet"}
    await take(services, make(customer=CARLA | CRM), make(customer=PHONE | CRM))
    assert await values(services, DEVICE) == {
        "tablet", "+39066982", "C-17", *(f"{name}@example.com" for name in ("anna", "berta", "carla")),
    }  # fmt: skip


async def test_links_between_weak_identifiers_are_only_recorded(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, make(customer=DEVICE | COOKIE), make(customer=COOKIE | ANNA))
    assert await values(services, DEVICE) == {"tablet"}
    assert await values(services, COOKIE) == {"c1", "anna@example.com"}
    assert await count(database, "identity_links") == 2


async def test_a_link_names_the_interaction_that_is_its_evidence(
    services: Services, database: Database, make: Make
) -> None:
    [first] = await take(services, make(customer=ANNA | PHONE, source="shop"))
    await take(services, make(customer=ANNA | PHONE, source="other"))
    [link] = await database.fetch("SELECT * FROM identity_links")
    assert (link["interaction_id"], link["source"]) == (first.interaction_id, "shop")
    assert link["identity_a"] < link["identity_b"]


async def test_an_identity_forgotten_behind_a_process_is_stored_again_when_it_is_linked(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, make(customer=ANNA), make(customer=PHONE))
    await database.execute("TRUNCATE identities")
    [verdict] = await take(services, make(customer=ANNA | PHONE))
    assert verdict.status == "stored"
    assert await values(services, PHONE) == {"anna@example.com", "+39066982"}


async def test_the_first_receipt_of_an_identity_is_when_it_was_first_seen(
    database_url: str, database: Database, make: Make
) -> None:
    async with processes(database_url, 1) as [this]:
        told = await asyncio.gather(*(take(this, make(customer=ANNA)) for _ in range(30)))
    received = [verdict.received_at for [verdict] in told if verdict.received_at is not None]
    assert await database.fetchval("SELECT first_seen_at FROM identities") == min(received)


async def test_links_made_at_the_same_time_do_not_miss_each_other(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    for customer in (CRM, ANNA, PHONE):
        await take(services, make(customer=customer))
    anna, phone = services.identifiers.one("email", ANNA["email"]).id, services.identifiers.one("phone", "+39066982").id
    session = WriteSession(await asyncpg.connect(database_url))
    async with session.transaction():
        await groups.define(session, Guards.of(services.settings))
        await session.execute(
            "SELECT pg_temp.percorso_link("
            "ARRAY[$1::uuid], ARRAY[$2::uuid], ARRAY[$1], '{test}', ARRAY[now()], now(), false)",
            *sorted((anna, phone)),
        )
        meanwhile = asyncio.create_task(take(services, make(customer=ANNA | CRM)))
        await until(lambda: _waits_or_is_done(database, meanwhile))
    await session.close()
    [verdict] = await meanwhile
    assert verdict.customer_id == services.identifiers.one("crm_id", "C-17").id
    assert await values(services, PHONE) == {"anna@example.com", "+39066982", "C-17"}


async def _waits_or_is_done(database: Database, task: "asyncio.Task[list[Verdict]]") -> bool:
    return task.done() or await waiting_for_a_lock(database)


async def test_four_processes_that_link_the_same_few_people_at_once_neither_deadlock_nor_disagree(
    database_url: str, database: Database, make: Make
) -> None:
    dice = random.Random(7)
    before = retries()
    strong = [("email", "a@b.it"), ("email", "c@d.it"), ("crm_id", "1"), ("crm_id", "2"), ("user_id", "u")]
    items = [
        make(customer=dict(dice.sample(strong, 2)) | dict(dice.sample([("device_id", "d"), ("cookie_id", "c")], 1)))
        for _ in range(80)
    ]
    linked = [dict(strong[n : n + 2]) for n in (1, 3)]
    async with processes(database_url, 4, max_identifiers={}) as running:
        await asyncio.gather(
            *(take(each, *dice.sample(items, 8)) for _ in range(10) for each in running),
            *(take(each, *(make(customer=pair) for pair in linked)) for each in running),
        )
        everybody = await values(running[0], {"email": "a@b.it"})
    assert await database.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    assert retries() == before
    assert everybody == {"a@b.it", "c@d.it", "1", "2", "u", "c", "d"}
