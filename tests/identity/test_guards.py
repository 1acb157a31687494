"""Guard rails: what is not merged silently, and a shared identifier that undoes what it had joined."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from percorso.errors import StartupError
from percorso.http.services import Services
from percorso.ingest import reconcile
from percorso.ingest.reconcile import Act
from percorso.queries import customers
from percorso.storage.database import reading, writing
from percorso.storage.linking import Guards
from support import Make, settings_for
from writing import Database, processes, take

SHOP = {"email": "info@shop.example"}


async def values(services: Services, kind: str, value: str) -> set[str]:
    """The values of all identifiers of a customer."""
    async with reading(services.engine) as session:
        found = await customers.by_identity(session, services.identifiers.one(kind, value).id)
    return {identity.value for identity in found.identities}


async def suspicions(database: Database, why: str) -> list[dict[str, Any]]:
    rows = await database.fetch("SELECT * FROM identity_suspicions WHERE why = $1 ORDER BY suspicion_id", why)
    return [dict(row) | {"detail": json.loads(row["detail"])} for row in rows]


@pytest.fixture
async def strict(database_url: str) -> AsyncIterator[Services]:
    """A process that lets an email or phone link two customers, and no more."""
    async with processes(database_url, 1, shared_customers=2) as [running]:
        yield running


async def test_a_customer_gathers_so_many_identifiers_of_a_kind_and_the_next_is_suspected(
    services: Services, database: Database, make: Make
) -> None:
    emails = [f"anna.{number}@example.com" for number in range(6)]
    [verdict] = await take(services, make(customer={"user_id": "u-1", "email": emails}, source="shop"))
    assert await values(services, "user_id", "u-1") == {"u-1", *emails[:5]}
    assert await values(services, "email", emails[5]) == {emails[5]}
    [suspicion] = await suspicions(database, "too_many")
    assert suspicion["detail"] == {"kind": "email", "limit": 5, "count": 6}
    assert (suspicion["interaction_id"], suspicion["source"]) == (verdict.interaction_id, "shop")
    [link] = await database.fetch("SELECT * FROM identity_links WHERE state = 'suspected'")
    assert (link["identity_a"], link["identity_b"]) == (suspicion["identity_a"], suspicion["identity_b"])
    [change] = await database.fetch("SELECT * FROM identity_changes")
    assert (change["what"], change["state"], change["done_by"]) == ("suspected", "suspected", None)


async def test_what_would_be_joined_through_a_third_counts_too(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, make(customer={"crm_id": "C-1", "email": "anna@example.com"}))
    await take(services, make(customer={"crm_id": "C-2", "phone": "+39066982"}))
    await take(services, make(customer={"email": "anna@example.com", "phone": "+39066982"}))
    assert await values(services, "crm_id", "C-1") == {"C-1", "anna@example.com"}
    assert await values(services, "crm_id", "C-2") == {"C-2", "+39066982"}
    assert [each["detail"]["kind"] for each in await suspicions(database, "too_many")] == ["crm_id"]


async def test_whoever_has_too_many_by_hand_still_gathers_what_brings_no_more_of_them(
    services: Services, database: Database, make: Make
) -> None:
    for number in (1, 2):
        await take(services, make(customer={"crm_id": f"C-{number}"}))
    act = Act("desk", "one person", 1, Guards.of(services.settings))
    async with writing(services.engine) as session:
        one, two = (services.identifiers.one("crm_id", f"C-{number}").id for number in (1, 2))
        assert await reconcile.merge(session, two, one, act) == [one]
    await take(services, make(customer={"crm_id": "C-2", "phone": "+39066982"}))
    await take(services, make(customer={"crm_id": "C-3", "phone": "+39066982"}))
    assert await values(services, "crm_id", "C-1") == {"C-1", "C-2", "+39066982"}
    assert [each["detail"]["count"] for each in await suspicions(database, "too_many")] == [3]


async def test_a_suspected_link_is_noted_again_by_each_process_that_meets_it(
    database_url: str, database: Database, make: Make
) -> None:
    items = [make(customer={"crm_id": f"C-{number}"} | SHOP) for number in (1, 2)]
    async with processes(database_url, 2) as [one, other]:
        await take(one, *items)
        for services in (one, other, other, one):
            [verdict] = await take(services, make(customer={"crm_id": "C-2"} | SHOP, source="again"))
    [suspicion] = await suspicions(database, "too_many")
    assert (suspicion["times"], suspicion["source"]) == (2, "again")
    assert suspicion["interaction_id"] != verdict.interaction_id
    assert suspicion["detail"] == {"kind": "crm_id", "limit": 1, "count": 2}
    assert suspicion["first_at"] < suspicion["last_at"]


async def test_without_limits_all_that_is_linked_is_one_customer(
    database_url: str, database: Database, make: Make
) -> None:
    async with processes(database_url, 1, max_identifiers={}) as [services]:
        await take(services, *(make(customer={"crm_id": f"C-{number}"} | SHOP) for number in range(9)))
        assert len(await values(services, "email", SHOP["email"])) == 10
    assert await suspicions(database, "too_many") == []


def test_a_limit_for_a_kind_that_joins_nobody_is_refused_at_start() -> None:
    with pytest.raises(StartupError, match="device_id; there can be limits for customer_id"):
        Guards.of(settings_for("postgresql://unused", max_identifiers={"device_id": 1}))


async def test_an_email_that_links_too_many_customers_joins_nobody_and_undoes_what_it_joined(
    services: Services, database: Database, make: Make
) -> None:
    await take(services, make(customer=SHOP | {"cookie_id": "till"}))
    for number in range(10):
        await take(services, make(customer={"user_id": f"u-{number}"} | SHOP))
    joined = await values(services, "email", SHOP["email"])
    assert joined == {SHOP["email"], "till", *(f"u-{number}" for number in range(5))}
    epoch = await database.fetchval("SELECT epoch FROM identity_epoch")
    [verdict] = await take(services, make(customer={"user_id": "u-10"} | SHOP, source="shop"))
    assert await values(services, "email", SHOP["email"]) == {SHOP["email"]}
    for number in range(11):
        assert await values(services, "user_id", f"u-{number}") == {f"u-{number}"}
    assert await values(services, "cookie_id", "till") == {"till"}
    [suspicion] = await suspicions(database, "shared")
    assert suspicion["detail"] == {"kind": "email", "limit": 10, "count": 11, "days": 7}
    assert (suspicion["identity_b"], suspicion["interaction_id"]) == (None, verdict.interaction_id)
    assert {each["decision"] for each in await suspicions(database, "too_many")} == {"dismissed"}
    assert await database.fetchval("SELECT epoch FROM identity_epoch") == epoch + 1
    shop = services.identifiers.one("email", SHOP["email"]).id
    [change] = await database.fetch("SELECT * FROM identity_changes WHERE identity_b IS NULL")
    assert (change["what"], change["identity_a"], change["state"], change["source"]) == (
        "demoted", shop, "weak", "shop",
    )  # fmt: skip
    [row] = await database.fetch("SELECT * FROM commits WHERE what = 'identity'")
    assert set(row["identity_ids"]) >= {shop, *(services.identifiers.one("user_id", f"u-{n}").id for n in range(5))}
    assert (row["hours"], row["interaction_ids"]) == ([], [])
    # From now on it is as any weak identifier: it joins nobody, and is not suspected again.
    await take(services, make(customer={"user_id": "u-11"} | SHOP))
    assert await values(services, "user_id", "u-11") == {"u-11"}
    assert await database.fetchval("SELECT count(*) FROM identity_links WHERE state <> 'active'") == 0


async def test_two_shared_identifiers_found_in_one_group_are_both_demoted(
    strict: Services, database: Database, make: Make
) -> None:
    items = [
        make(customer={"account_id": f"{kind}-{number}", kind: value})
        for kind, value in (("email", SHOP["email"]), ("phone", "+39066982"))
        for number in range(3)
    ]
    await take(strict, *items)
    assert await database.fetchval("SELECT count(*) FROM identities WHERE NOT strong") == 2
    assert await database.fetchval("SELECT count(DISTINCT customer_id) FROM identities") == 8


async def test_whom_others_link_too_is_one_customer_however_often_an_email_links_them(
    strict: Services, database: Database, make: Make
) -> None:
    for customer in (
        {"user_id": "u", "phone": "+39066982"},
        {"user_id": "u", "social": "mastodon:anna"},
        {"user_id": "u", "email": "anna@example.com"},
        {"phone": "+39066982", "email": "anna@example.com"},
        {"social": "mastodon:anna", "email": "anna@example.com"},
        {"loyalty_id": "l", "email": "anna@example.com"},
    ):
        await take(strict, make(customer=customer))
    assert await values(strict, "user_id", "u") == {"u", "+39066982", "mastodon:anna", "anna@example.com", "l"}
    assert await suspicions(database, "shared") == []


async def test_links_of_before_the_last_days_do_not_count(strict: Services, database: Database, make: Make) -> None:
    for number in range(4):
        await take(strict, make(customer={"account_id": f"a-{number}"} | SHOP))
        await database.execute("UPDATE identity_links SET linked_at = linked_at - interval '4 days'")
    assert len(await values(strict, "email", SHOP["email"])) == 5
    await take(strict, make(customer={"account_id": "a-4"} | SHOP))
    assert len(await values(strict, "email", SHOP["email"])) == 6
    await take(strict, make(customer={"account_id": "a-5"} | SHOP))
    assert await values(strict, "email", SHOP["email"]) == {SHOP["email"]}


async def test_guard_rails_hold_within_one_group_whatever_came_before_in_it(
    strict: Services, database: Database, make: Make
) -> None:
    await take(strict, make(customer={"loyalty_id": "l-0"} | SHOP))
    pairs = [{"user_id": "u", "loyalty_id": "l-0"}, {"account_id": "a"}, {"social": "x:b"}, {"whatsapp": "w"}]
    await take(strict, make(customer=pairs[0]), *(make(customer=each | SHOP) for each in pairs[1:]))
    assert await values(strict, "email", SHOP["email"]) == {SHOP["email"]}
    await take(strict, *(make(customer={"crm_id": f"C-{number}", "user_id": "new"}) for number in range(3)))
    assert len(await values(strict, "user_id", "new")) == 2
    assert [each["detail"]["kind"] for each in await suspicions(database, "too_many")] == ["crm_id"] * 2
