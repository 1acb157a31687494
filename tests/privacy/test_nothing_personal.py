"""Nothing personal stands in logs, metrics or the bodies of errors."""

import httpx
import pytest
import structlog
from annas import PERSONAL, a_rich_customer
from prometheus_client import REGISTRY, generate_latest

import told
from support import Make, ndjson, running
from writing import Database


@pytest.mark.parametrize("text", [*PERSONAL[:4], "Anna called", "mailto:beppe@example.com", "to +39 06 6982", "C-17"])
def test_what_is_personal_is_recognised(text: str) -> None:
    assert told.personal(f"text={text!r}")


@pytest.mark.parametrize("text", ["annals", "channel", "such as email:anna@example.com", "0 6 9 8 2", "AC-17x"])
def test_what_is_not_personal_is_not_taken_for_it(text: str) -> None:
    assert not told.personal(text)


async def test_whatever_goes_wrong_no_one_is_named(database_url: str, database: Database, make: Make) -> None:
    """Every kind of error there is, each with as much about a person as can be put into the request."""
    before, found = told.COUNTED.copy(), len(told.FOUND)
    async with running(database_url) as (_, client):
        await a_rich_customer(client, make)
        for path in (
            "/v1/customers/email:no-one-of-rossi",
            "/v1/customers/email:rossi@example.com/journey?order=anna",
            "/v1/customers/rossi/export",
            "/v1/audit?subject=anna",
            "/v1/audit?cursor=rossi",
            "/anna@example.com",
            "/v1/interactions?source=rossi",
            "/v1/touchpoints/rossi",
        ):
            assert (await client.get(path)).status_code >= 400
        sent = make(text="secret words", id="rossi")
        assert (await client.post("/v1/interactions", json=sent)).status_code == 201
        assert (await client.post("/v1/interactions", json=sent | {"text": "others"})).status_code == 409
        for wrong in (
            {"customer": {"phone": "069821234"}},
            {"customer": {"email": "anna rossi"}},
            {"customer": {"social": "rossi"}},
            {"channel": "anna@example.com"},
            {"occurred_at": "rossi"},
            {"sentiment": {"label": "rossi"}},
            {"language": "anna rossi"},
        ):
            assert (await client.post("/v1/interactions", json=make(**wrong))).status_code == 422
        assert (await client.post("/v1/interactions/batch", content=b"anna@example.com")).status_code == 422
        body = {"identifiers": ["email:rossi@example.com"], "reason": "secret words"}
        assert (await client.post("/v1/customers/email:anna@example.com/split", json=body)).status_code == 422
        assert (await client.delete("/v1/customers/email:anna@example.com")).status_code == 200
        assert (await client.post("/v1/interactions", json=make())).status_code == 422
        assert (await client.post("/v1/interactions/batch", content=ndjson(make()))).status_code == 422
        await database.execute("ALTER TABLE identities RENAME TO elsewhere")
        assert (await client.get("/v1/customers/email:anna@example.com")).status_code == 500
        assert (
            await client.post("/v1/interactions", json=make(customer={"email": "new@example.com"}))
        ).status_code >= 500
        await client.get("/metrics")
    assert told.FOUND[found:] == []
    assert told.COUNTED["error"] >= before["error"] + 20
    assert told.COUNTED["log"] >= before["log"] + 20
    assert told.COUNTED["metrics"] == before["metrics"] + 1


async def test_the_ear_hears(client: httpx.AsyncClient) -> None:
    """What is told somewhere is found: else the test after all others could not fail."""
    heard = len(told.FOUND)
    structlog.get_logger("percorso.test").info("a line", of="anna@example.com")
    structlog.get_logger("percorso.test").bind(of="anna@example.com").warning("another")
    assert (await client.get("/v1/audit?subject=anna")).status_code == 422
    told.tell("error", "anna@example.com")
    assert [kind for kind, _, _ in told.FOUND[heard:]] == ["log", "log", "error"]
    del told.FOUND[heard:]


@pytest.mark.last
def test_no_test_let_a_service_name_anyone() -> None:
    """Comes after all others: what their services logged, counted, and answered to what they refused."""
    told.tell("metrics", generate_latest(REGISTRY).decode())
    assert told.FOUND == []
