"""What the tests of the HTTP interface share: problems, pages, and a service in a process of its own."""

import asyncio
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx

import told
from support import KEY, database_of

NDJSON = {"Content-Type": "application/x-ndjson"}
Item = dict[str, Any]


def check_problem(answer: httpx.Response, status: int, code: str) -> Item:
    """The problem document of an answer that must be one of this status and code."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    document: Item = answer.json()
    assert document["code"] == code, document
    assert document["status"] == status
    assert document["type"] == f"urn:percorso:problem:{code}"
    assert document["instance"] == f"urn:percorso:request:{answer.headers['x-request-id']}"
    assert document["title"]
    assert document["detail"]
    return document


def pointers(document: Item) -> list[str]:
    """Where the errors of a problem document, or of a result of a batch, point."""
    assert all(error["detail"] for error in document["errors"])
    return [error["pointer"] for error in document["errors"]]


def journey_of(customer: str) -> str:
    """The path of a customer's journey."""
    return f"/v1/customers/{quote(customer, safe='')}/journey"


async def store(client: httpx.AsyncClient, *items: Item) -> list[Item]:
    """Store these one by one; the receipts."""
    receipts = []
    for item in items:
        answer = await client.post("/v1/interactions", json=item)
        assert answer.status_code == 201, answer.text
        receipts.append(answer.json())
    return receipts


async def store_all(client: httpx.AsyncClient, items: list[Item]) -> Item:
    """Store these as one batch, none of which may fail; the receipt."""
    body = b"\n".join(json.dumps(item).encode() for item in items)
    answer = await client.post("/v1/interactions/batch", content=body, headers=NDJSON)
    receipt: Item = answer.json()
    assert answer.status_code == 200, receipt
    assert receipt["stored"] == len(items), receipt
    return receipt


async def items_at(client: httpx.AsyncClient, path: str, **params: Any) -> list[Item]:
    """The items of one page."""
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    items: list[Item] = answer.json()["items"]
    return items


async def ids_at(client: httpx.AsyncClient, path: str, **params: Any) -> list[str]:
    """The senders' ids of the interactions of one page."""
    return [item["id"] for item in await items_at(client, path, **params)]


async def walk(client: httpx.AsyncClient, path: str, **params: Any) -> AsyncIterator[list[Item]]:
    """The pages of a list, by their cursors."""
    cursor: str | None = ""
    while cursor is not None:
        answer = await client.get(path, params=params | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert ("link" in answer.headers) == (page["next_cursor"] is not None)
        cursor = page["next_cursor"]
        yield page["items"]


async def healthy(client: httpx.AsyncClient) -> bool:
    """Whether the service is ready, and has answered nothing with 5xx."""
    return (await client.get("/health/ready")).status_code == 200


@dataclass(frozen=True)
class Served:
    """A running `percorso serve`."""

    url: str
    process: "subprocess.Popen[str]"
    log: Path

    def client(self) -> httpx.AsyncClient:
        """A client with a key that has every scope."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
            event_hooks={"response": [told.answered]},
        )

    def rss_mib(self) -> float:
        """Resident memory of the process, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024


@contextmanager
def serving_at(database_url: str, directory: Path, **environment: str) -> Iterator[Served]:
    """`percorso serve` on this database and a free port, stopped at the end."""
    log = directory / "serve.log"
    given = {
        "PERCORSO_DATABASE_URL": database_url,
        "PERCORSO_BOOTSTRAP_KEY": KEY,
        "PERCORSO_LOG_FORMAT": "json",
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "percorso", "serve", "--port", "0"],
            env=os.environ | given | environment,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if found := re.search(r"http://[\d.]+:\d+", line):
                    yield Served(found[0], process, log)
                    break
            else:
                raise AssertionError(f"it did not start: {said}{log.read_text()}")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
            told.tell("log", log.read_text())


@contextmanager
def database_from(server_url: str, template: str) -> Iterator[str]:
    """The URL of a database cloned from a template, dropped at the end: for fixtures that outlive a test."""
    name = f"percorso_test_{secrets.token_hex(6)}"

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(server_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(execute(f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield database_of(server_url, name)
    finally:
        asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))


@asynccontextmanager
async def raw_connection(served: Served) -> "AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]":
    """A bare TCP connection to a service."""
    host, _, port = served.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
