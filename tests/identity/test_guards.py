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


def person(kind: str, value: str) -> dict[str, str]:
    """Someone who was seen with the email of the shop."""
    return SHOP | {kind: value}


async def values(services: Services, kind: str, value: str) -> set[str]:
    """The values of all identifiers of a customer."""
    async with reading(services.engine) as session:
        found = await customers.by_identity(session, services.identifiers.one(kind, value).id)
    return {identity.value for identity in found.identities}


async def suspicions(database: Database, why: str) -> list[dict[str, Any]]:
    rows = await database.fetch("SELECT * FROM identity_suspicions WHERE why = $1 ORDER BY suspicion_id", why)
    return [dict(row) | {"detail": json.loads(row["detail"])} for row in rows]


async def restore(services: Services, suspicion: dict[str, Any]) -> None:
    """Restore the identifier that a suspicion is about."""
    async with writing(services.engine) as session:
        act = Act("desk", "one person", 1, Guards.of(services.settings))
        assert await reconcile.restore(session, suspicion["suspicion_id"], act) == suspicion["identity_a"]


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


async def test_a_restored_identifier_joins_again_whom_its_links_lead_to(
    strict: Services, database: Database, make: Make
) -> None:
    people = [("cookie_id", "till"), ("crm_id", "C-0"), ("crm_id", "C-1"), ("account_id", "a")]
    for kind, value in people:
        await take(strict, make(customer=person(kind, value)))
    # By now the email is weak: beside it, a cookie of someone else stays theirs, and one of nobody's stands alone.
    await take(strict, make(customer={"user_id": "u", "cookie_id": "theirs"}))
    for kind, value in (("cookie_id", "theirs"), ("cookie_id", "alone"), ("loyalty_id", "l")):
        await take(strict, make(customer=person(kind, value)))
    assert await values(strict, "email", SHOP["email"]) == {SHOP["email"]}
    assert await values(strict, "cookie_id", "theirs") == {"u", "theirs"}
    epoch = await database.fetchval("SELECT epoch FROM identity_epoch")
    [suspicion] = await suspicions(database, "shared")
    await restore(strict, suspicion)
    together = {SHOP["email"], "till", "C-0", "C-1", "a", "alone", "l"}
    assert await values(strict, "email", SHOP["email"]) == together
    assert await values(strict, "cookie_id", "theirs") == {"theirs"}
    assert await values(strict, "user_id", "u") == {"u"}
    rows = await database.fetch(
        "SELECT identity_id, customer_id, strong FROM identities WHERE value = ANY($1)", together
    )
    shop = strict.identifiers.one("email", SHOP["email"]).id
    assert {row["customer_id"] for row in rows} == {shop}
    assert {row["strong"] for row in rows if row["identity_id"] == shop} == {True}
    assert await database.fetchval("SELECT epoch FROM identity_epoch") == epoch + 1
    logged = await database.fetch("SELECT * FROM commits WHERE what = 'identity' ORDER BY at")
    theirs = strict.identifiers.one("cookie_id", "theirs").id
    assert len(logged) == 2
    assert set(logged[1]["identity_ids"]) >= {theirs, *(row["identity_id"] for row in rows)}
    [change] = await database.fetch("SELECT * FROM identity_changes WHERE what = 'restored'")
    assert (change["identity_a"], change["identity_b"], change["state"]) == (shop, None, "strong")
    assert (change["done_by"], change["reason"]) == ("desk", "one person")
    [decided] = await suspicions(database, "shared")
    assert (decided["decision"], decided["decided_by"], decided["reason"]) == ("restored", "desk", "one person")
    assert decided["decided_at"] == change["at"]


async def test_a_restored_identifier_gives_its_customer_the_id_of_the_oldest(
    strict: Services, database: Database, make: Make
) -> None:
    await take(strict, make(customer={"account_id": "oldest"}))
    for name in ("a-1", "a-2", "oldest"):
        await take(strict, make(customer=person("account_id", name)))
    [suspicion] = await suspicions(database, "shared")
    await restore(strict, suspicion)
    oldest = strict.identifiers.one("account_id", "oldest").id
    assert {row["customer_id"] for row in await database.fetch("SELECT customer_id FROM identities")} == {oldest}


async def test_a_restored_identifier_stays_strong_and_limits_hold_for_it(
    strict: Services, database: Database, make: Make
) -> None:
    for number in range(3):
        await take(strict, make(customer=person("account_id", f"a-{number}")))
    [suspicion] = await suspicions(database, "shared")
    await restore(strict, suspicion)
    for number in range(3, 7):
        await take(strict, make(customer=person("account_id", f"a-{number}")))
    assert await values(strict, "email", SHOP["email"]) == {SHOP["email"], *(f"a-{number}" for number in range(5))}
    assert [each["detail"]["count"] for each in await suspicions(database, "too_many")] == [6, 6]
    assert [each["decision"] for each in await suspicions(database, "shared")] == ["restored"]
    assert await database.fetchval("SELECT count(*) FROM identities WHERE NOT strong") == 0


async def test_a_link_that_was_cut_stays_cut_when_its_identifier_is_restored(
    strict: Services, database: Database, make: Make
) -> None:
    await take(strict, make(customer=person("account_id", "other")))
    async with writing(strict.engine) as session:
        other = strict.identifiers.one("account_id", "other").id
        await reconcile.split(session, other, [other], Act("desk", "not them", 1, Guards.of(strict.settings)))
    for number in range(3):
        await take(strict, make(customer=person("account_id", f"a-{number}")))
    [suspicion] = await suspicions(database, "shared")
    await restore(strict, suspicion)
    assert await values(strict, "email", SHOP["email"]) == {SHOP["email"], "a-0", "a-1", "a-2"}
    assert await values(strict, "account_id", "other") == {"other"}
