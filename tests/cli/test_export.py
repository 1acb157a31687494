"""`percorso export`, and that `percorso import` takes back what it wrote."""

import asyncio
import gzip
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from percorso.cli import app
from percorso.errors import InvalidRequest, StartupError, UnknownCustomer
from support import FIXTURES, KEY, Make, database_of, running

Run = Callable[..., Result]


@pytest.fixture
def percorso(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on this test's database, or on another."""
    monkeypatch.setattr("percorso.ops.logs.configure", lambda *_: None)

    def run(*arguments: object, url: str = database_url) -> Result:
        environment = {"PERCORSO_DATABASE_URL": url, "PERCORSO_BOOTSTRAP_KEY": KEY}
        with capture_logs():
            return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)

    return run


@pytest.fixture
def fresh_url(server_url: str, template: str) -> Iterator[str]:
    """A second empty database."""
    name = f"percorso_test_{secrets.token_hex(6)}"

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(server_url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield database_of(server_url, name)
    asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def filled(percorso: Run, database_url: str, make: Make) -> list[dict[str, Any]]:
    """Interactions of both excerpts, and some that were sent without an id, over many lines, and enriched since."""
    percorso("import", FIXTURES / "cdnow_excerpt.txt", "--mapping", "cdnow")
    percorso("import", FIXTURES / "web_shop_excerpt.csv", "--mapping", "web_shop")
    items = [make(id=None, occurred_at=None), make(text="one\ntwo", details={"n": 1}), make(status="open")]
    asyncio.run(_send(database_url, items))
    return items


async def _send(url: str, items: list[dict[str, Any]]) -> None:
    async with running(url) as (_, client):
        for item in items:
            body = json.dumps(item, indent=2).replace('"n": 1', '"n": 1.50').replace("\n", "\r\n")
            answer = await client.post("/v1/interactions", content=body, headers={"Content-Type": "application/json"})
            answer.raise_for_status()
        stored = answer.json()["interaction_id"]
        (await client.patch(f"/v1/interactions/{stored}", json={"status": "completed"})).raise_for_status()


def journeys(url: str, *customers: str) -> dict[str, list[dict[str, Any]]]:
    """The journeys of these customers, but for what a deployment adds."""

    async def read() -> dict[str, list[dict[str, Any]]]:
        async with running(url) as (_, client):
            return {
                customer: (await client.get(f"/v1/customers/{customer}/journey?limit=500"))
                .raise_for_status()
                .json()["items"]
                for customer in customers
            }

    own = ("interaction_id", "customer_id", "received_at")
    return {
        customer: [{name: value for name, value in item.items() if name not in own} for item in items]
        for customer, items in asyncio.run(read()).items()
    }


def summary(result: Result) -> str:
    return result.stdout.splitlines()[-1].rpartition(" in ")[0]


@pytest.mark.usefixtures("filled")
def test_everything_comes_out_once_in_order_of_time(percorso: Run) -> None:
    result = percorso("export")
    assert result.stderr.startswith("exported 100 in ")
    times = [json.loads(line)["occurred_at"] for line in result.stdout.splitlines()]
    assert len(times) == 100
    assert times == sorted(times)


def test_each_is_what_was_sent_on_a_line_of_its_own(percorso: Run, filled: list[dict[str, Any]]) -> None:
    lines = percorso("export", "--customer", "email:anna@example.com").stdout.splitlines()
    assert len(lines) == 3
    sent, enriched, assigned = (json.loads(line) for line in lines)
    assert '"n": 1.50' in lines[0]
    assert sent == filled[1] | {"details": {"n": 1.5}}
    assert enriched == filled[2] | {"status": "completed"}
    assert filled[0].items() <= assigned.items()
    assert {"id", "occurred_at"} <= assigned.keys()


@pytest.mark.usefixtures("filled")
def test_an_export_taken_back_is_all_duplicates_and_elsewhere_gives_equal_journeys(
    percorso: Run, database_url: str, fresh_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "all.ndjson.gz"
    assert percorso("export", "--output", file).stdout.startswith("exported 100 in ")
    assert gzip.decompress(file.read_bytes()).count(b"\n") == 100
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
    again = percorso("import", file)
    assert summary(again) == "read 100, stored 0, duplicate 100, conflict 0, rejected 0"
    elsewhere = percorso("import", file, url=fresh_url)
    assert summary(elsewhere) == "read 100, stored 100, duplicate 0, conflict 0, rejected 0"
    customers = ("loyalty_id:1", "loyalty_id:3", "loyalty_id:8", "loyalty_id:499", "email:anna@example.com")
    here, there = journeys(database_url, *customers), journeys(fresh_url, *customers)
    for customer in customers:
        assert here[customer]
        assert len(here[customer]) == len(there[customer])
        assert by_time(here[customer]) == by_time(there[customer])
    assert sorted(percorso("export").stdout.splitlines()) == sorted(
        percorso("export", url=fresh_url).stdout.splitlines()
    )


def by_time(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In order of time; those of one moment stand in an order that each deployment gives them by its own salt."""
    assert [item["occurred_at"] for item in items] == sorted((item["occurred_at"] for item in items), reverse=True)
    return sorted(items, key=lambda item: (item["occurred_at"], item["id"]))


@pytest.mark.usefixtures("filled")
def test_an_export_may_be_of_one_customer_and_of_some_time(percorso: Run) -> None:
    bounds = ("--from", "1997-01-01T00:00:00Z", "--to", "2024-03-23T21:43:47Z")
    lines = percorso("export", "--customer", "loyalty_id:3", *bounds).stdout.splitlines()
    documents = [json.loads(line) for line in lines]
    assert {document["customer"]["loyalty_id"] for document in documents} == {"3"}
    assert {document["source"] for document in documents} == {"cdnow", "web_shop"}
    assert all(document["occurred_at"] < "2024-03-23T21:43:47Z" for document in documents)
    assert percorso("export", "--from", "2024-01-01T00:00:00Z", "--to", "2024-01-01T00:00:01Z").stdout == ""


def test_an_empty_database_gives_nothing(percorso: Run) -> None:
    result = percorso("export")
    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--customer", "nobody"), InvalidRequest),
        (("--customer", "email:nobody@example.com"), UnknownCustomer),
        (("--from", "2024-01-01"), StartupError),
        (("--to", "2024-01-01T00:00:00"), StartupError),
        (("--output", "/nowhere/at/all.ndjson"), StartupError),
    ],
)
def test_what_cannot_be_exported_is_said(percorso: Run, arguments: tuple[str, ...], error: type[Exception]) -> None:
    assert isinstance(percorso("export", *arguments).exception, error)


@pytest.mark.usefixtures("filled")
def test_a_file_is_there_only_when_it_is_complete(percorso: Run, tmp_path: Path) -> None:
    file = tmp_path / "old.ndjson"
    file.write_text("old")
    assert percorso("export", "--output", file, "--customer", "nobody").exit_code == 1
    assert [each.name for each in tmp_path.iterdir()] == ["old.ndjson"]
    assert file.read_text() == "old"


@pytest.mark.usefixtures("filled")
def test_a_reader_that_has_enough_may_leave(database_url: str) -> None:
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"PERCORSO_DATABASE_URL": database_url}
    command = [sys.executable, "-m", "percorso", "export"]
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(command, env=environment, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
