"""The release before this one, run from its own sources, works on this one's schema, beside this one and after it."""

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest

from exchanges import ids_at, journey_of, serving_at, store, store_all
from percorso.storage import schema
from percorso.storage.database import create_engine
from support import Make, database_of, settings_for
from writing import until

ROOT: Final = Path(__file__).parents[2]
LINES: Final = (ROOT / "tests/storage/previous_release").read_text().splitlines()
[COMMIT] = [line for line in LINES if line and not line.startswith("#")]


def git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the release before."""
    inside = git("rev-parse", "--is-shallow-repository")
    if inside.returncode != 0:
        pytest.skip("these sources are no checkout, so those of the release before are not there")
    if inside.stdout.strip() == b"true" and git("cat-file", "-e", COMMIT).returncode != 0:
        pytest.skip("this checkout is shallow, so the sources of the release before are not there")
    archive = git("archive", COMMIT, "src", "migrations")
    assert archive.returncode == 0, archive.stderr
    directory = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as sources:
        sources.extractall(directory, filter="data")
    return directory


def run(directory: Path, code: Path, database_url: str, *command: str) -> str:
    """A command of one of the releases, which must succeed; what it prints."""
    environment = os.environ | {"PYTHONPATH": str(code / "src"), "PERCORSO_DATABASE_URL": database_url}
    done = subprocess.run(
        [sys.executable, *command], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@asynccontextmanager
async def served(database_url: str, directory: Path, code: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service of one of the releases, which does all that is done beside requests too."""
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    with serving_at(database_url, directory, PYTHONPATH=str(code / "src")) as service:
        async with service.client() as client:
            await until(lambda: _ready(client))
            yield client
        log = service.log.read_text()
        assert '"level": "error"' not in log, log


async def _ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/health/ready")).status_code == 200


@pytest.fixture
async def old_schema(server_url: str, previous: Path, tmp_path: Path) -> AsyncIterator[str]:
    """A database that the release before migrated."""
    connection = await asyncpg.connect(server_url)
    name = f"percorso_previous_{os.urandom(4).hex()}"
    await connection.execute(f"CREATE DATABASE {name}")
    url = database_of(server_url, name)
    await asyncio.to_thread(run, tmp_path, previous, url, "-m", "percorso", "db", "upgrade")
    yield url
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def done(client: httpx.AsyncClient, method: str, path: str, **given: Any) -> Any:
    answer = await client.request(method, path, **given)
    assert answer.is_success, (method, path, answer.status_code, answer.text)
    return answer.json() if answer.content else None


async def use(client: httpx.AsyncClient, make: Make, name: str) -> list[dict[str, Any]]:
    """Do with a service what people do with it, as a person of this name; what was stored and is still there."""
    person, other = f"email:{name}@example.com", f"email:{name}-2@example.com"
    named = {"customer": {"email": f"{name}@example.com", "cookie_id": name}}
    items = [make(id=f"{name}-{number}", touchpoint="shop", **named) for number in range(4)]
    receipts = await store(client, items[0])
    assert (await done(client, "POST", "/v1/interactions", json=items[0]))["status"] == "duplicate"
    await store_all(client, items[1:])
    assert (await client.post("/v1/interactions", json=items[0] | {"text": "other"})).status_code == 409
    assert (await client.post("/v1/interactions", json={"source": name})).status_code == 422
    path = f"/v1/interactions/{receipts[0]['interaction_id']}"
    await done(client, "PATCH", path, json={"resolution": "resolved"})
    assert (await done(client, "GET", path))["resolution"] == "resolved"
    assert len((await done(client, "GET", f"{path}/revisions"))["items"]) >= 1
    call = {"userId": name, "messageId": f"{name}-segment", "type": "track", "event": "Signed Up"}
    await done(client, "POST", "/segment/v1/batch", json={"batch": [call]})
    await done(client, "PUT", f"/v1/customers/{person}/traits", json={"traits": {"plan": "gold"}})
    await store(client, make(id=f"{name}-else", customer={"email": f"{name}-2@example.com"}))
    await done(client, "POST", f"/v1/customers/{other}/merge", json={"into": person, "reason": "asked for"})
    assert len(await ids_at(client, journey_of(person))) == 5
    body = {"identifiers": [other], "reason": "not so"}
    await done(client, "POST", f"/v1/customers/{person}/split", json=body)
    assert set(await ids_at(client, journey_of(person))) == {item["id"] for item in items}
    for path in ("", "/summary", "/episodes", "/identity", "/traits", "/consents"):
        await done(client, "GET", f"/v1/customers/{person}{path}")
    await done(client, "PUT", "/v1/touchpoints/shop", json={"stage": "purchase"})
    for path in ("/v1/touchpoints", "/v1/rejected", "/v1/keys", "/v1/erasures", "/v1/audit?limit=5", "/v1/retention"):
        await done(client, "GET", path)
    gone = make(id=f"{name}-gone", customer={"email": f"{name}-gone@example.com"})
    await store(client, gone)
    erased = await done(client, "DELETE", f"/v1/customers/email:{name}-gone@example.com")
    assert erased["erasure_id"]
    assert (await client.get(journey_of(f"email:{name}-gone@example.com"))).status_code == 404
    return items


async def check(client: httpx.AsyncClient, make: Make, name: str, items: list[dict[str, Any]]) -> None:
    """What one release stored is all there for another, is stored once, and can be gone on with."""
    person = f"email:{name}@example.com"
    assert set(await ids_at(client, journey_of(person))) == {item["id"] for item in items}
    again = await done(client, "POST", "/v1/interactions/batch", json=items)
    assert (again["stored"], again["duplicate"]) == (0, len(items))
    more = make(id=f"{name}-later-{len(items)}", customer={"cookie_id": name})
    await store(client, more)
    assert more["id"] in await ids_at(client, journey_of(person))
    items.append(more)
    gone = make(id=f"{name}-gone", customer={"email": f"{name}-gone@example.com"})
    answer = await client.post("/v1/interactions", json=gone)
    assert answer.json().get("status") != "stored", answer.text


async def counted(client: httpx.AsyncClient) -> dict[str, int]:
    """How many interactions each touchpoint has had, once the rollups have caught up."""
    document = await done(client, "GET", "/v1/touchpoints", params={"from": "2026-03-01T00:00:00Z"})
    return {item["slug"]: item["interactions"] for item in document["items"]}


async def test_the_release_before_is_another_one(previous: Path, tmp_path: Path) -> None:
    asked = "import percorso; from percorso.storage import schema; print(percorso.__file__, schema.newest())"
    where, version = (await asyncio.to_thread(run, tmp_path, previous, "", "-c", asked)).split()
    assert Path(where).is_relative_to(previous)
    assert schema.suits(schema.newest(), version)


async def test_the_release_before_does_all_it_did_on_the_new_schema_and_both_do_it_beside_each_other(
    database_url: str, previous: Path, tmp_path: Path, make: Make
) -> None:
    async with served(database_url, tmp_path / "old", previous) as old:
        by_old = await use(old, make, "anna")
        async with served(database_url, tmp_path / "new", ROOT) as new:
            await check(new, make, "anna", by_old)
            by_new = await use(new, make, "beppe")
            await check(old, make, "beppe", by_new)
            await check(old, make, "anna", by_old)
        # The new one is taken back, and the old one goes on.
        more = await use(old, make, "carla")
        await asyncio.to_thread(run, tmp_path, previous, database_url, "-m", "percorso", "db", "upgrade")
        version = await asyncio.to_thread(run, tmp_path, previous, database_url, "-m", "percorso", "db", "current")
        assert version.strip() == schema.newest()
    async with served(database_url, tmp_path / "new", ROOT) as new:
        await check(new, make, "carla", more)
        await until(lambda: _caught_up(new, 3 * 4))


async def _caught_up(client: httpx.AsyncClient, at_least: int) -> bool:
    return (await counted(client)).get("shop", 0) >= at_least


async def test_the_database_is_migrated_while_the_release_before_serves_and_no_request_fails(
    old_schema: str, previous: Path, tmp_path: Path, make: Make
) -> None:
    async with served(old_schema, tmp_path / "old", previous) as old:
        before = await use(old, make, "anna")
        stop = asyncio.Event()
        sent: list[str] = []

        async def go_on() -> None:
            while not stop.is_set():
                [item] = [make(id=f"during-{len(sent)}", customer={"email": "during@example.com"})]
                await store(old, item)
                sent.append(item["id"])
                assert await _ready(old)

        going = asyncio.create_task(go_on())
        await until(lambda: len(sent) > 2)
        engine = create_engine(old_schema, settings_for(old_schema))
        try:
            await schema.upgrade(engine)
            assert await schema.current(engine) == schema.newest()
        finally:
            await engine.dispose()
        enough = len(sent) + 3
        await until(lambda: len(sent) > enough or going.done())
        stop.set()
        await going
        after = await use(old, make, "beppe")
    async with served(old_schema, tmp_path / "new", ROOT) as new:
        await check(new, make, "anna", before)
        await check(new, make, "beppe", after)
        assert set(await ids_at(new, journey_of("email:during@example.com"), limit=500)) == set(sent)
