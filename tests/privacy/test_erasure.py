"""Erasing a customer: nothing of it is left anywhere, and everything of others is."""

import json
from collections import Counter

import httpx
from annas import EVERYWHERE, PERSONAL, a_rich_customer
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint
from traces import everything, traces

from exchanges import NDJSON, check_problem, ids_at, items_at, journey_of, store, store_all
from following import follow
from percorso.storage import audit as audit_storage
from percorso.storage.personal import ELSEWHERE, PLACES
from percorso.storage.tables import metadata
from support import Make, running
from writing import Database, count

ANNA = "/v1/customers/email:anna@example.com"


async def test_nothing_of_an_erased_customer_is_left_in_any_table(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await a_rich_customer(client, make)
    before = await traces(database, PERSONAL)
    assert {table.partition("_20")[0] for table in before} == EVERYWHERE
    answer = await client.request("DELETE", ANNA, json={"reason": "Anna Rossi asked for it"})
    assert answer.status_code == 200, answer.text
    assert await traces(database, PERSONAL) == {}
    assert (await client.get(ANNA)).status_code == 404


async def test_what_only_looks_like_an_erased_identifier_stays_in_quarantine(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await a_rich_customer(client, make)
    alike = [
        b'{"joanna@example.com" anna@example.community',
        b"+3906698212345 C-1789-annabel 139066982123",
        b"xC-1789-anna",
    ]
    answer = await client.post("/v1/interactions/batch", content=b"\n".join(alike), headers=NDJSON)
    assert answer.json()["rejected"] == 3
    assert (await client.delete(ANNA)).json()["found"]["rejected_interactions"] == 4
    rows = await database.fetch("SELECT payload FROM rejected_interactions ORDER BY rejection_id")
    assert sorted(row["payload"] for row in rows) == sorted(alike)


async def test_a_certificate_says_what_was_found_where(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await a_rich_customer(client, make)
    customer_id = (await client.get(ANNA)).json()["customer_id"]
    certificate = (await client.request("DELETE", ANNA, json={"reason": "she asked"})).json()
    assert certificate["customer_id"] == customer_id
    assert (certificate["state"], certificate["mode"], certificate["requested_by"]) == ("erased", "delete", "bootstrap")
    assert certificate["identifiers"] == {"email": 2, "phone": 1, "crm_id": 1, "cookie_id": 1}
    assert certificate["found"] == {
        "identities": 5,
        "identity_links": 5,
        "interactions": 6,
        "interaction_keys": 6,
        "interaction_revisions": 4,
        "rejected_interactions": 4,
        "traits": 2,
        "consents": 1,
    }
    assert certificate["kept"] == {"tombstones": 5, "shared_identifiers": 1}
    row = await database.fetchrow("SELECT * FROM audit_log WHERE seq = $1", certificate["audit"]["seq"])
    assert row is not None
    assert (row["act"], row["hash"].hex(), str(row["subject"])) == ("erased", certificate["audit"]["hash"], customer_id)
    details = json.loads(row["details"])
    assert details["found"] == certificate["found"]
    shown = await client.get(f"/v1/erasures/{certificate['erasure_id']}")
    assert shown.json() == certificate
    assert await items_at(client, "/v1/erasures") == [certificate]
    acts = await items_at(client, "/v1/audit", subject="email:anna@example.com")
    assert [item["act"] for item in acts if item["act"] not in {"read", "said"}] == ["erased", "erasing"]
    assert "she asked" not in str(await everything(database))
    salt = await database.fetchval("SELECT salt FROM deployment")
    assert certificate["reason_hash"] == audit_storage.reason_hash(salt, "she asked").hex()


async def test_others_are_left_byte_for_byte(client: httpx.AsyncClient, database: Database, make: Make) -> None:
    crowd = [
        make(customer={"email": f"other{n}@example.com", "phone": f"+3906698{n:04}", "cookie_id": f"c{n}"})
        for n in range(30)
    ]
    await store_all(client, crowd)
    before = await everything(database)
    await a_rich_customer(client, make)
    assert (await client.delete(ANNA)).status_code == 200
    after = await everything(database)
    for table, rows in before.items():
        if table not in {"audit_log", "identity_epoch", "api_keys"}:
            assert not Counter(rows) - Counter(after[table]), table
    assert await ids_at(client, journey_of("email:beppe@example.com")) == ["event-39", "event-37"]
    assert await ids_at(client, journey_of("device_id:shared-tablet")) == ["event-38"]


async def test_erasing_twice_is_not_found(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    assert (await client.delete(ANNA)).status_code == 200
    check_problem(await client.delete(ANNA), 404, "unknown_customer")
    check_problem(await client.delete("/v1/customers/email:nobody@example.com"), 404, "unknown_customer")
    check_problem(await client.get("/v1/erasures/019c0d35-0b11-8d2f-9c41-5a0f3e7b6d24"), 404, "not_found")


async def test_what_is_shared_by_several_is_not_one_persons(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    tablet = "/v1/customers/device_id:tablet"
    await store(client, *(make(customer={"email": f"{name}@example.com", "device_id": "tablet"}) for name in "ab"))
    before = await everything(database)
    check_problem(await client.delete(tablet), 409, "shared_identifier")
    assert await everything(database) == before
    assert (await client.delete("/v1/customers/email:a@example.com")).json()["kept"]["shared_identifiers"] == 1
    assert (await client.get(tablet)).status_code == 200


async def test_interactions_may_be_left_as_counts_of_nobodys(database_url: str, database: Database, make: Make) -> None:
    async with running(database_url, erasure="anonymise") as (_, client):
        await a_rich_customer(client, make)
        counts = (
            "SELECT touchpoint_id, channel, kind, function, direction, count(*) FROM interactions GROUP BY 1,2,3,4,5"
        )
        before = await database.fetch(counts)
        certificate = (await client.delete(ANNA)).json()
        assert certificate["mode"] == "anonymise"
        assert certificate["kept"] == {"tombstones": 5, "shared_identifiers": 1, "anonymous_interactions": 6}
        assert await traces(database, PERSONAL) == {}
        assert sorted(map(tuple, await database.fetch(counts))) == sorted(map(tuple, before))
        rows = await database.fetch("SELECT * FROM interactions WHERE document->>'source' = 'erased'")
        assert len({row["identity_id"] for row in rows}) == len(rows) == 6
        assert {row["received_at"].minute for row in rows} == {0}
        told = await database.fetch(
            "SELECT * FROM commits WHERE what = 'stored' AND identity_ids[1] = ANY($1)",
            [row["identity_id"] for row in rows],
        )
        assert {each for row in told for each in row["interaction_ids"]} == {row["id"] for row in rows}
        listed = await items_at(client, "/v1/touchpoints/web/interactions")
        assert [item["occurred_at"] for item in listed] == ["2021-07-01T10:00:00Z"]
        assert listed[0].keys() == {
            "source", "id", "occurred_at", "channel", "touchpoint", "direction", "customer", "interaction_id",
            "customer_id", "received_at",
        }  # fmt: skip
        assert (await client.get(f"/v1/interactions/{listed[0]['interaction_id']}")).status_code == 200
        found = await items_at(client, "/v1/interactions", source="erased", id=listed[0]["id"])
        assert [item["interaction_id"] for item in found] == [listed[0]["interaction_id"]]


async def test_followers_are_told_of_every_interaction_and_hour_that_went(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    receipts = await store(client, *(make(occurred_at=f"2026-03-0{day}T10:30:00Z") for day in (1, 2, 3)))
    customer_id = receipts[0]["customer_id"]
    await client.delete(ANNA)
    begun, *gone = await database.fetch("SELECT * FROM commits WHERE what <> 'stored' ORDER BY xid8::text::bigint")
    assert begun["what"] == "identity"
    assert [str(each) for each in begun["identity_ids"]] == [customer_id]
    assert {row["what"] for row in gone} == {"deleted"}
    assert {str(each) for row in gone for each in row["interaction_ids"]} == {r["interaction_id"] for r in receipts}
    assert {hour.isoformat() for row in gone for hour in row["hours"]} == {
        f"2026-03-0{day}T10:00:00+00:00" for day in (1, 2, 3)
    }
    assert all(str(each) == customer_id for row in gone for each in row["identity_ids"])


async def test_the_profile_and_outcomes_go_too_and_are_not_made_again(
    database_url: str, database: Database, make: Make
) -> None:
    async with running(database_url) as (app, client):
        await a_rich_customer(client, make)
        crying = make(direction="inbound", channel="email", case="c", resolution="unresolved")
        await store(client, crying, crying | {"id": "again"}, crying | {"id": "b", "customer": {"email": "b@b.it"}})
        await follow(app.state.services)
        before = await count(database, "customer_profiles")
        assert await count(database, "contact_outcomes") == 3
        found = (await client.delete(ANNA)).json()["found"]
        assert (found["customer_profiles"], found["contact_outcomes"]) == (1, 2)
        for _ in range(2):
            assert await count(database, "customer_profiles") == before - 1
            assert await count(database, "contact_outcomes") == 1
            await follow(app.state.services)


def test_every_table_that_names_an_identity_is_in_the_list_or_says_why_not() -> None:
    naming = {"identity_id", "identity_ids", "identity_a", "identity_b", "customer_id", "subject", "interaction_id"}
    listed = {place.table: set(place.columns) for place in PLACES}
    for table in metadata.tables.values():
        named = {column.name for column in table.columns} & naming
        if table.name in listed:
            assert listed[table.name] <= named
            keys = [each for each in table.constraints if isinstance(each, PrimaryKeyConstraint | UniqueConstraint)]
            leading = {index.columns.keys()[0] for index in (*table.indexes, *keys)}
            assert listed[table.name] <= leading, f"an erasure would read all of {table.name}"
            # Of a list of identities the first column of the key says whose it is.
            assert named - {"interaction_id", "identity_ids"} == listed[table.name]
        elif named:
            assert ELSEWHERE[table.name]
    assert not listed.keys() & ELSEWHERE.keys()
    assert ELSEWHERE.keys() | listed.keys() <= metadata.tables.keys()
