"""Once a customer is being erased nothing of this person is taken in: late, repeated, or at the same moment."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from annas import PERSONAL, a_rich_customer
from traces import everything, traces

from exchanges import NDJSON, check_problem, pointers
from percorso.http.services import Services
from support import Make, ndjson, running
from writing import Database, count, processes, take, until

ANNA = "/v1/customers/email:anna@example.com"


def of_anna(make: Make) -> list[dict[str, Any]]:
    """New interactions that name her, by each identifier alone and with those of others."""
    return [
        make(customer=customer)
        for customer in (
            {"email": "anna@example.com"},
            {"email": "Anna.Rossi@example.com"},
            {"phone": "+39 06 6982 1234"},
            {"crm_id": "C-1789-anna"},
            {"cookie_id": "cookie-of-anna"},
            {"email": ["new@example.com", "anna@example.com"]},
            {"customer_id": "new", "phone": "+390669821234"},
        )
    ]


@pytest.mark.parametrize("statement_rows", [200, 0], ids=["by a statement", "copied"])
async def test_late_and_repeated_interactions_of_an_erased_person_are_refused(
    database_url: str, database: Database, make: Make, statement_rows: int
) -> None:
    async with running(database_url, statement_rows=statement_rows) as (_, client):
        sent = await a_rich_customer(client, make)
        assert (await client.delete(ANNA)).status_code == 200
        before = await everything(database)
        hers = [*sent[:6], *of_anna(make)]
        for item in hers:
            answer = await client.post("/v1/interactions", json=item)
            problem = check_problem(answer, 422, "erased")
            assert pointers(problem)[0].startswith("/customer/")
            assert "rejection_id" not in problem
        array = (await client.post("/v1/interactions/batch", json=hers)).json()
        lines = (await client.post("/v1/interactions/batch", content=ndjson(*hers), headers=NDJSON)).json()
        assert array["rejected"] == lines["rejected"] == len(hers)
        after = await everything(database)
        assert {table: rows for table, rows in after.items() if rows != before[table]} == {}


async def test_the_others_of_a_batch_are_stored(client: httpx.AsyncClient, database: Database, make: Make) -> None:
    await a_rich_customer(client, make)
    await client.delete(ANNA)
    others = [make(customer={"email": f"other{number}@example.com"}) for number in range(3)]
    [first, *hers] = of_anna(make)
    receipt = (await client.post("/v1/interactions/batch", json=[first, others[0], *hers, *others[1:]])).json()
    assert (receipt["stored"], receipt["rejected"]) == (3, 7)
    assert await traces(database, PERSONAL) == {}


async def test_a_process_that_remembers_an_erased_customer_refuses_it_too(
    database_url: str, database: Database, make: Make
) -> None:
    async with processes(database_url, 1) as [other], running(database_url) as (_, client):
        warm = make()
        assert [verdict.status for verdict in await take(other, warm, make())] == ["stored", "stored"]
        assert (await client.delete(ANNA)).json()["found"]["interactions"] == 2
        for items in ([warm], [make()], [make() for _ in range(300)]):
            verdicts = await take(other, *items)
            assert {(verdict.status, verdict.erased) for verdict in verdicts} == {("rejected", True)}
    assert await count(database, "interactions") == await count(database, "interaction_keys") == 0
    assert await count(database, "identities") == 0


async def test_of_an_invalid_interaction_of_an_erased_person_only_the_reasons_are_kept(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    await a_rich_customer(client, make)
    await client.delete(ANNA)
    late = make(
        customer={"cookie_id": "x", "email": "ANNA@example.com"}, occurred_at="never", source="of Rossi", text="Zoë"
    )
    check_problem(await client.post("/v1/interactions", json=late), 422, "rejected")
    assert await traces(database, PERSONAL) == {}
    row = await database.fetchrow("SELECT * FROM rejected_interactions")
    assert row is not None
    assert (row["payload"], row["source"], row["sender_id"], row["identity_ids"]) == (b"", None, None, [])
    assert json.loads(row["errors"])[0]["pointer"] == "/occurred_at"


async def test_an_erasure_among_many_writers_leaves_nothing_behind(
    database_url: str, database: Database, make: Make
) -> None:
    """Several processes send of her, and of others together with her, while she is erased."""
    async with processes(database_url, 3) as three, running(database_url) as (_, client):
        verdicts: list[str] = []
        stop = asyncio.Event()

        async def send(services: Services, number: int) -> None:
            names = [
                {"email": "anna@example.com"},
                {"phone": "+390669821234"},
                {"email": "anna@example.com", "phone": "+390669821234"},
            ]
            names += [
                {"email": "anna@example.com", "cookie_id": f"cookie-of-anna-{number}"},
                {"crm_id": "C-1789-anna", "phone": "+390669821234"},
            ]
            while not stop.is_set():
                items = [make(customer=each, text="Rossi") for each in names] * (30 if number % 3 == 0 else 1)
                items = [item | {"id": f"{item['id']}-{place}"} for place, item in enumerate(items)]
                others = [make(customer={"email": f"other{number}@example.com"})]
                given = await take(services, *items, *others, wait=True)
                verdicts.extend("erased" if verdict.erased else verdict.status for verdict in given)

        async with asyncio.TaskGroup() as tasks:
            for number in range(9):
                tasks.create_task(send(three[number % 3], number))
            await until(lambda: len(verdicts) > 500)
            certificate = (await client.delete(ANNA)).json()
            seen = len(verdicts)
            await until(lambda: len(verdicts) > seen + 500)
            stop.set()
        assert certificate["found"]["interactions"] > 0
        # Identifiers that came by other ways than hers were no part of her when it began.
        left = [
            row["identity_id"]
            for row in await database.fetch("SELECT identity_id FROM identities WHERE value NOT LIKE 'other%'")
        ]
        assert left == []
        assert await traces(database, PERSONAL) == {}
        assert {"erased", "stored"} <= set(verdicts)
        assert await count(database, "interactions") == await count(database, "interaction_keys")
