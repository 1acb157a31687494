"""An erasure that is cut off between two of its steps goes on, and finds what it would have found."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from annas import PERSONAL, a_rich_customer
from traces import traces

from exchanges import check_problem, items_at, store_all
from percorso.storage import erasing, erasures
from percorso.workers import erasures as worker
from support import Make, running
from writing import Database, until

ANNA = "/v1/customers/email:anna@example.com"


class Crash(Exception):
    """The process ends here."""


def crash_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Let an erasure crash in its transaction of this number, with all its work done but not committed."""
    calls = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        async def crashing(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            result = await real(*arguments, **named)
            calls += 1
            if calls == call:
                raise Crash
            return result

        return crashing

    monkeypatch.setattr(erasures, "advance", counted(erasures.advance))
    monkeypatch.setattr(erasures, "finish", counted(erasures.finish))


async def found_by(client: httpx.AsyncClient) -> dict[str, Any]:
    [certificate] = await items_at(client, "/v1/erasures")
    return {name: certificate[name] for name in ("state", "identifiers", "found", "kept")}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction does little, so that there are many."""
    for name in ("_INTERACTIONS", "_REJECTED", "_ROWS"):
        monkeypatch.setattr(erasing, name, 2)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("mode", ["delete", "anonymise"])
@pytest.mark.parametrize("call", [1, 2, 4, 6, 8, 10, 12, 14, 16, 18])
async def test_an_erasure_goes_on_wherever_it_was_cut_off(
    database_url: str, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch, call: int, mode: str
) -> None:
    async with running(database_url, erasure=mode) as (_, client):
        await a_rich_customer(client, make)
        with monkeypatch.context() as patched:
            crash_at(patched, call)
            check_problem(await client.delete(ANNA), 500, "internal_error")
        [begun] = await items_at(client, "/v1/erasures")
        assert (begun["state"], begun["audit"], begun["finished_at"]) == ("erasing", None, None)
        assert (await client.get(ANNA)).status_code == 404
        assert (await client.post("/v1/interactions", json=make())).json()["code"] == "erased"
        answer = await client.delete("/v1/customers/phone:%2B390669821234")
        assert answer.status_code == 200
        assert answer.json()["erasure_id"] == begun["erasure_id"]
        whole = await found_by(client)
        assert whole["found"] == {
            "identities": 5,
            "identity_links": 5,
            "interactions": 6,
            "interaction_keys": 6,
            "interaction_revisions": 4,
            "rejected_interactions": 4,
            "traits": 2,
            "consents": 1,
        }
        anonymous = {"anonymous_interactions": 6} if mode == "anonymise" else {}
        assert whole["kept"] == {"shared_identifiers": 1, "tombstones": 5} | anonymous
        assert await traces(database, PERSONAL) == {}
        check_problem(await client.delete(ANNA), 404, "unknown_customer")


@pytest.mark.usefixtures("small_parts")
async def test_a_worker_completes_what_was_cut_off(
    database_url: str, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_EVERY_SECONDS", 0.05)
    async with running(database_url) as (_, client):
        await a_rich_customer(client, make)
        with monkeypatch.context() as patched:
            crash_at(patched, 5)
            assert (await client.delete(ANNA)).status_code == 500
    assert await traces(database, PERSONAL) != {}
    async with running(database_url, background_workers=True) as (_, client):

        async def done() -> bool:
            return bool((await found_by(client))["state"] == "erased")

        await until(done)
        assert await traces(database, PERSONAL) == {}
        acts = [item["act"] for item in await items_at(client, "/v1/audit") if item["act"] not in {"read", "said"}]
        assert acts == ["erased", "erasing"]


async def test_two_at_once_erase_once(client: httpx.AsyncClient, make: Make) -> None:
    await store_all(client, [make() for _ in range(900)])
    answers = await asyncio.gather(*(client.delete(ANNA) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 404}
    certificates = [answer.json() for answer in answers if answer.status_code == 200]
    assert certificates
    assert all(certificate == certificates[0] for certificate in certificates)
    assert certificates[0]["found"]["interactions"] == 900
    assert len(await items_at(client, "/v1/erasures")) == 1
