"""What tests of profiles and outcomes share: a worker that does all there is to do, and what each must say."""

import json
from datetime import datetime, timedelta
from typing import Any

from asyncpg.pgproto.pgproto import UUID

from percorso import ids, measures
from percorso.http.services import Services
from percorso.queries import contacts, customers, outcomes, traits
from percorso.storage.database import reading
from percorso.storage.outcomes import Outcome
from percorso.workers.profiles import Profiles, profile_of
from writing import Database

MAX_AGE = timedelta(hours=24)


def keeper(services: Services, *, max_age: timedelta = MAX_AGE) -> Profiles:
    """What keeps the profiles."""
    return Profiles(services.engine, generation=services.deployment.generation, max_age=max_age)


async def follow(services: Services, *, max_age: timedelta = MAX_AGE) -> None:
    """Make every profile anew that has to be."""
    worker = keeper(services, max_age=max_age)
    while await worker.run():
        pass


async def profiles(database: Database) -> dict[UUID, dict[str, Any]]:
    """Every profile, but for what depends on other customers."""
    rows = await database.fetch("SELECT *, nullif(last_at, '-infinity') AS last_at FROM customer_profiles")
    found = [dict(row) for row in rows]
    for profile in found:
        for name in ("recency_score", "frequency_score", "monetary_score", "rfm"):
            del profile[name]
        profile |= {"identity_ids": sorted(profile["identity_ids"]), "traits": json.loads(profile["traits"])}
    return {profile["customer_id"]: profile for profile in found}


async def summed_up(services: Services, customer_id: UUID, now: datetime) -> dict[str, Any]:
    """What the profile of a customer must say."""
    async with reading(services.engine) as session:
        customer = await customers.by_identity(session, customer_id)
        history = await contacts.of_customer(session, customer_id)
        said = await traits.current(session, customer.identity_ids)
    summary = measures.summarise(history.contacts, now=now, zone=history.zone)
    profile = profile_of(summary, customer.customer_id, sorted(customer.identity_ids), said)
    return {name: getattr(profile, name) for name in profile.__slots__} | {"traits": json.loads(profile.traits)}


async def all_outcomes(services: Services) -> list[Outcome]:
    """Every outcome that is stored, in order."""
    async with reading(services.engine) as session:
        return await outcomes.between(session, ids.LOWEST, ids.HIGHEST)


async def check_outcomes(services: Services, database: Database) -> int:
    """The outcomes stored are those of all customers, of what is stored of them; how many there are."""
    owners = await database.fetch("SELECT customer_id FROM identities WHERE customer_id = identity_id")
    expected: list[Outcome] = []
    for owner in owners:
        async with reading(services.engine) as session:
            history = await contacts.of_customer(session, owner["customer_id"])
        expected += [Outcome(*each) for each in measures.outcomes(measures.find(history.contacts))]
    assert await all_outcomes(services) == sorted(expected, key=lambda each: (each[1], each[0]))
    return len(expected)


async def check_profiles(services: Services, database: Database) -> int:
    """Every customer has a profile that says what its summary says, and nobody else has one; how many there are.

    So are the outcomes what came of their contacts.
    """
    await check_outcomes(services, database)
    found = await profiles(database)
    owners = await database.fetch("SELECT customer_id FROM identities WHERE customer_id = identity_id")
    assert found.keys() == {row["customer_id"] for row in owners}
    for customer_id, profile in found.items():
        expected = await summed_up(services, customer_id, profile["computed_at"])
        assert profile == expected, {
            name: (profile[name], said) for name, said in expected.items() if profile[name] != said
        }
    return len(found)
