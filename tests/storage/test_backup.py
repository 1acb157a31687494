"""A backup of a running service, restored on another server: everything is there, is gone on with, and stored once."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from exchanges import journey_of, serving_at, store, store_all
from percorso.ops import embedded
from support import Make, database_of
from writing import until

PEOPLE = [f"email:person-{number}@example.com" for number in range(12)]
SPAN = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-03T00:00:00Z"}


def percorso(directory: Path, *arguments: str, ends: int = 0, **environment: str) -> str:
    """All that a command prints, which must end so."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERCORSO_", "PG"))}
    command = [sys.executable, "-m", "percorso", *arguments]
    done = subprocess.run(command, cwd=directory, env=kept | environment, capture_output=True, text=True, check=False)
    assert done.returncode == ends, done.stderr
    return " ".join((done.stdout + done.stderr).split())


def left_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """An empty database on a server of its own, which is not that of the other tests."""
    with tempfile.TemporaryDirectory(prefix="percorso-restored-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        server = embedded.start(Path(directory), exclusive=True, fsync=False)
        try:
            yield server.url
        finally:
            server.stop()


@pytest.fixture
async def empty(server_url: str) -> AsyncIterator[str]:
    """An empty database on the server of all tests."""
    name = f"percorso_restored_{os.urandom(4).hex()}"
    connection = await asyncpg.connect(server_url)
    await connection.execute(f"CREATE DATABASE {name}")
    yield database_of(server_url, name)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def told(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


async def told_of_all(client: httpx.AsyncClient) -> dict[str, Any]:
    """What the service says of everyone."""
    paths = ["", "/journey", "/identity", "/traits", "/episodes"]
    said = {f"{who}{path}": await told(client, f"/v1/customers/{who}{path}") for who in PEOPLE[1:] for path in paths}
    keys = await told(client, "/v1/keys")
    for key in keys["items"]:
        key.pop("last_used_at", None)
    return said | {"keys": keys, "rejected": await told(client, "/v1/rejected")}


async def counted(client: httpx.AsyncClient) -> Any:
    """The figures of the touchpoint at which all but those who came meanwhile were."""
    document = await told(client, "/v1/touchpoints", **SPAN)
    [shop] = [item for item in document["items"] if item["slug"] == "shop"]
    return shop


async def profiled(client: httpx.AsyncClient) -> set[str]:
    """Who is found among those with a profile, which are made beside requests."""
    found = await told(client, "/v1/customers", channel="phone", limit=500)
    return {customer["customer_id"] for customer in found["items"]}


async def test_a_backup_restored_elsewhere_says_the_same_and_goes_on(
    database_url: str, elsewhere: str, tmp_path: Path, make: Make
) -> None:
    items = [
        make(id=f"event-{number}", touchpoint="shop", customer={"email": f"person-{number % 12}@example.com"})
        for number in range(240)
    ]
    file = tmp_path / "percorso.dump"
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    with serving_at(database_url, tmp_path / "here") as here:
        async with here.client() as client:
            await store_all(client, items)
            await client.post("/v1/interactions", json={"source": "broken"})
            merging = {"into": PEOPLE[2], "reason": "the same person"}
            assert (await client.post(f"/v1/customers/{PEOPLE[1]}/merge", json=merging)).status_code == 200
            await client.put(f"/v1/customers/{PEOPLE[3]}/traits", json={"traits": {"plan": "gold"}})
            assert (await client.delete(f"/v1/customers/{PEOPLE[0]}")).status_code == 200
            made = (await client.post("/v1/keys", json={"name": "front end", "scopes": ["read"]})).json()["key"]
            await until(lambda: _has(client, 220), 30)
            await until(lambda: _found(client, 10), 30)
            before, figures, profiles = await told_of_all(client), await counted(client), await profiled(client)
            # While it is taken, the service goes on; what is committed by then may be in it or not, whole.
            writing = asyncio.create_task(_go_on(client, make))
            said = await asyncio.to_thread(
                percorso, tmp_path, "db", "backup", str(file), PERCORSO_DATABASE_URL=database_url
            )
            writing.cancel()
    assert "has the whole database" in said
    assert file.stat().st_mode & 0o777 == 0o600
    await asyncio.to_thread(percorso, tmp_path, "db", "restore", str(file), PERCORSO_DATABASE_URL=elsewhere)
    with serving_at(elsewhere, tmp_path / "there") as there:
        async with there.client() as client:
            assert await told_of_all(client) == before
            assert await counted(client) == figures
            assert await profiled(client) >= profiles
            reading = await client.get(journey_of(PEOPLE[1]), headers={"Authorization": f"Bearer {made}"})
            assert reading.status_code == 200
            again = await client.post("/v1/interactions/batch", json=items)
            # Those of the one who was erased stay away.
            assert (again.json()["stored"], again.json()["duplicate"]) == (0, 220), again.text
            assert (await client.get(journey_of(PEOPLE[0]))).status_code == 404
            assert await told_of_all(client) == before | {"rejected": await told(client, "/v1/rejected")}
            # What follows the commit log goes on, though the new server counts its transactions anew.
            new = make(id="after", touchpoint="shop", customer={"email": "new@example.com"})
            [receipt] = await store(client, new)
            await until(lambda: _has(client, 221), 30)
            await until(lambda: _contains(client, receipt["customer_id"]), 30)
    generations = [await _generation(url) for url in (database_url, elsewhere)]
    assert generations == [1, 2]


async def _go_on(client: httpx.AsyncClient, make: Make) -> None:
    while True:
        await store(client, make(customer={"email": "meanwhile@example.com"}))


async def _has(client: httpx.AsyncClient, interactions: int) -> bool:
    items = (await told(client, "/v1/touchpoints", **SPAN))["items"]
    return any(item["slug"] == "shop" and item["interactions"] == interactions for item in items)


async def _found(client: httpx.AsyncClient, customers: int) -> bool:
    return len(await profiled(client)) >= customers


async def _contains(client: httpx.AsyncClient, customer_id: str) -> bool:
    return customer_id in await profiled(client)


async def _generation(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT generation FROM deployment"))
    finally:
        await connection.close()


async def test_a_backup_is_put_into_an_empty_database_only_and_whole_or_not_at_all(
    database_url: str, empty: str, tmp_path: Path, make: Make
) -> None:
    (tmp_path / "here").mkdir()
    with serving_at(database_url, tmp_path / "here") as here:
        async with here.client() as client:
            await store_all(client, [make(id=f"event-{number}", text="x" * 500) for number in range(2000)])
    file, cut = tmp_path / "whole.dump", tmp_path / "cut.dump"

    def run(*arguments: str, ends: int = 2, url: str = empty) -> str:
        return percorso(tmp_path, "db", *arguments, ends=ends, PERCORSO_DATABASE_URL=url)

    await asyncio.to_thread(run, "backup", str(file), ends=0, url=database_url)
    assert "there already" in await asyncio.to_thread(run, "backup", str(file), url=database_url)
    assert "There is no file" in await asyncio.to_thread(run, "restore", str(tmp_path / "none"))
    for content in (file.read_bytes()[: file.stat().st_size * 2 // 3], file.read_bytes()[:100], b"no dump"):
        cut.write_bytes(content)
        assert "cannot be restored" in await asyncio.to_thread(run, "restore", str(cut))
        connection = await asyncpg.connect(empty)
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
        )
        await connection.close()
    await asyncio.to_thread(run, "restore", str(file), ends=0)
    assert "not empty" in await asyncio.to_thread(run, "restore", str(file))
    assert "no such-programs" in await asyncio.to_thread(
        run, "backup", str(tmp_path / "b"), "--programs", "/no such-programs", url=database_url
    )
    connection = await asyncpg.connect(empty)
    assert await connection.fetchval("SELECT count(*) FROM interactions") == 2000
    await connection.close()
    assert left_in(tmp_path) == ["cut.dump", "here", "whole.dump"]


async def test_a_database_that_cannot_be_reached_leaves_no_file_and_tells_no_password(tmp_path: Path) -> None:
    url = "postgresql://percorso:hunter2@127.0.0.1:1/percorso"
    said = await asyncio.to_thread(percorso, tmp_path, "db", "backup", "some.dump", ends=2, PERCORSO_DATABASE_URL=url)
    assert "cannot be dumped" in said
    assert "hunter2" not in said
    assert left_in(tmp_path) == []


def test_an_embedded_database_is_backed_up_whether_its_service_runs_or_not(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="percorso-embedded-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        home.chmod(0o755)
        percorso(home, "db", "upgrade")
        item = {"source": "s", "id": "1", "channel": "phone", "customer": {"email": "anna@example.com"}}
        (home / "one.ndjson").write_text(json.dumps(item) + "\n")
        percorso(home, "import", "one.ndjson")
        percorso(home, "db", "backup", str(tmp_path / "embedded.dump"))
        percorso(home, "db", "restore", str(tmp_path / "embedded.dump"), PERCORSO_DATA_DIR=str(home / "other"))
        exported = percorso(home, "export", PERCORSO_DATA_DIR=str(home / "other"))
    assert '"anna@example.com"' in exported
