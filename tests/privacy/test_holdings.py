"""The export of a customer: everything held, and nothing of others."""

import asyncio
import json
import re
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest
from annas import EVERYWHERE, PERSONAL, a_rich_customer
from traces import everything, traces

from exchanges import check_problem, items_at, journey_of, pointers, store, store_all
from percorso.http import exports
from percorso.http.services import Services
from percorso.queries import customers
from percorso.queries.customers import Customer
from percorso.storage.database import reading
from percorso.storage.personal import PLACES
from support import Make, running
from writing import Database, until

ANNA = "/v1/customers/email:anna@example.com"
EXPORT = f"{ANNA}/export"
BY_LINE = {"Accept": "application/x-ndjson"}


async def exported(client: httpx.AsyncClient, path: str = EXPORT) -> dict[str, Any]:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, Any] = answer.json()
    return document


async def test_an_export_holds_every_row_that_names_the_customer(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    """Compared with a look at every row of every table, by whatever tells that it is about her."""
    await a_rich_customer(client, make)
    await client.post(f"{ANNA}/split", json={"identifiers": ["phone:+390669821234"], "reason": "r"})
    await client.post(f"{ANNA}/merge", json={"into": "phone:+390669821234", "reason": "r"})
    document = await exported(client)
    hers = {row["identity_id"] for row in document["identities"]}
    assert len(hers) == 5
    text = json.dumps(document, ensure_ascii=False)
    found = await traces(database, PERSONAL)
    assert {table.partition("_20")[0] for table in found} == EVERYWHERE
    for table, rows in (await everything(database)).items():
        known_by = table.partition("_20")[0]
        for row in rows:
            if known_by in {"commits", "deployment", "api_keys", "touchpoints"}:
                continue
            if row in found.get(table, ()) or any(identity in row for identity in hers):
                [name, *_] = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", row) or [row[:8]]
                assert name in text, (table, row)
    assert document["exported_at"]
    assert {len(document[table]) for table in ("identity_changes", "identity_suspicions")} != {0}
    assert len(document["interactions"]) == 6
    assert len(document["rejected_interactions"]) == 4
    assert len(document["interaction_revisions"]) == 4
    assert {row["act"] for row in document["audit_log"]} >= {"exported", "merged", "split"}


async def test_an_export_holds_what_was_sent_with_its_keys_in_order_of_time(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    sent = await a_rich_customer(client, make)
    document = await exported(client)
    hers = [sent[2], sent[0], sent[1], *sent[3:6]]
    assert [row["document"]["id"] for row in document["interactions"]] == [item["id"] for item in hers]
    assert document["interactions"][0]["document"] == hers[0]
    keys = await database.fetch("SELECT interaction_id::text, key::text FROM interaction_keys")
    stored = {row["interaction_id"]: row["key"] for row in keys}
    assert all(stored[row["interaction_id"]] == row["key"] for row in document["interactions"])


async def test_an_export_holds_nothing_of_others(client: httpx.AsyncClient, make: Make) -> None:
    await a_rich_customer(client, make)
    beppes = json.dumps(await exported(client, "/v1/customers/email:beppe@example.com/export"), ensure_ascii=False)
    assert "nothing to do with her" in beppes
    for value in PERSONAL:
        assert value not in beppes
    assert "beppe" not in json.dumps(await exported(client))


async def test_an_export_by_lines_says_the_same_and_when_it_is_whole(client: httpx.AsyncClient, make: Make) -> None:
    await a_rich_customer(client, make)
    pretty = json.dumps(make(), indent=2)
    assert (await client.post("/v1/interactions", content=pretty)).status_code == 201
    whole = await exported(client)
    answer = await client.get(EXPORT, headers=BY_LINE)
    assert answer.headers["content-type"] == "application/x-ndjson"
    head, *lines, end = [json.loads(line) for line in answer.text.splitlines()]
    assert head["part"] == "customer"
    assert head["item"]["customer_id"] == whole["customer_id"]
    assert end == {"part": "end", "item": {"items": len(lines)}}
    parts = ["identities", "interactions", "rejected_interactions", *(place.table for place in PLACES)]
    assert [*whole.keys()] == ["customer_id", "exported_at", *parts]
    for part in parts:
        items = [line["item"] for line in lines if line["part"] == part]
        # The second export has the first in its audit rows.
        assert items[: len(whole[part])] == whole[part]


async def test_an_export_is_an_act_that_is_audited_before_it_begins(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    document = await exported(client)
    assert [(row["act"], row["actor"]) for row in document["audit_log"]] == [("exported", "bootstrap")]
    [item] = await items_at(client, "/v1/audit", act="exported")
    assert item["subject"] == document["customer_id"]


async def test_an_export_needs_its_scope_and_a_customer(client: httpx.AsyncClient, make: Make) -> None:
    await store(client, make())
    made = (await client.post("/v1/keys", json={"name": "k", "scopes": ["read", "write", "ingest"]})).json()
    less = {"Authorization": f"Bearer {made['key']}"}
    check_problem(await client.get(EXPORT, headers=less), 403, "forbidden")
    check_problem(await client.delete(ANNA, headers=less), 403, "forbidden")
    check_problem(await client.get("/v1/erasures", headers=less), 403, "forbidden")
    check_problem(await client.get("/v1/customers/email:no@example.com/export"), 404, "unknown_customer")
    assert pointers(check_problem(await client.get("/v1/customers/anna/export"), 422, "invalid_request")) == [
        "/path/customer"
    ]
    assert pointers(check_problem(await client.get(f"{EXPORT}?at=now"), 422, "invalid_request")) == ["/query/at"]
    assert pointers(check_problem(await client.request("DELETE", ANNA, json={"why": "x"}), 422, "invalid_request")) == [
        "/why"
    ]
    check_problem(await client.request("DELETE", ANNA, content=b"{"), 422, "malformed_body")
    assert (await client.get(journey_of("email:anna@example.com"))).status_code == 200


async def test_a_long_export_comes_in_pieces_and_others_are_refused_while_two_are_written(
    database_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_PIECE", 1024)
    async with running(database_url) as (app, client):
        await store_all(client, [make(text="x" * 500) for _ in range(1200)])
        gate = asyncio.Event()
        sent: list[list[bytes]] = [[], []]

        async def read(number: int) -> None:
            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message: MutableMapping[str, Any]) -> None:
                sent[number].append(message.get("body", b""))
                if len(sent[number]) > 5:
                    await gate.wait()

            headers = [(b"authorization", client.headers["authorization"].encode())]
            scope = {
                "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
                "path": EXPORT, "raw_path": EXPORT.encode(), "query_string": b"", "headers": headers,
                "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            }  # fmt: skip
            await app(scope, receive, send)

        async with asyncio.TaskGroup() as tasks:
            for number in range(2):
                tasks.create_task(read(number))
            await until(lambda: all(len(pieces) > 5 for pieces in sent))
            refused = check_problem(await client.get(EXPORT), 503, "unavailable")
            assert refused["detail"]
            gate.set()
        for pieces in sent:
            assert len(pieces) > 100
            assert max(map(len, pieces)) < 5_000
            assert len(json.loads(b"".join(pieces))["interactions"]) == 1200
        assert (await client.get(EXPORT)).status_code == 200


async def test_a_caller_who_hangs_up_leaves_room_for_the_next(database_url: str, make: Make) -> None:
    async with running(database_url) as (app, client):
        await store_all(client, [make(text="x" * 500) for _ in range(1200)])
        services = app.state.services
        for _ in range(4):
            pieces = exports._written(services, await _customer(services), exports._document)  # noqa: SLF001 - as the answer does
            async for _piece in pieces:
                break
            await pieces.aclose()
        assert services.exports._value == exports.AT_ONCE  # noqa: SLF001 - there is no other way to ask
        assert services.engine.pool.checkedout() == 0


async def _customer(services: Services) -> Customer:
    async with reading(services.engine) as session:
        return await customers.by_identity(session, services.identifiers.one("email", "anna@example.com").id)
