"""A real database for every test: cloned from a template that Alembic migrated, on an embedded or a given server."""

import asyncio
import os
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis

import told
from percorso.app import serving
from percorso.http.services import Services
from percorso.ops import embedded
from percorso.storage import schema
from percorso.storage.database import create_engine
from support import Make, database_of, running, settings_for

hypothesis.register_profile(
    "percorso",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
hypothesis.register_profile("long", parent=hypothesis.get_profile("percorso"), max_examples=2000, derandomize=False)
hypothesis.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "percorso"))


def pytest_configure() -> None:
    """Let SIGINT work in what tests start: a shell ignores it for its background jobs, which is passed on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those last that look at what all others did."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(autouse=True)
def heard() -> None:
    """What is logged is looked at, also after a test whose command configured logging its own way."""
    told.listen()


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A database server: that of PERCORSO_DATABASE_URL, or an embedded one for this session."""
    given = os.environ.get("PERCORSO_DATABASE_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="percorso-tests-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        server = embedded.start(Path(directory), exclusive=True, fsync=False)
        try:
            yield server.url
        finally:
            server.stop()


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database to clone."""
    name = f"percorso_template_{secrets.token_hex(4)}"

    async def make() -> None:
        await _execute(server_url, f"CREATE DATABASE {name}")
        engine = create_engine(database_of(server_url, name), settings_for(server_url))
        try:
            await schema.upgrade(engine)
        finally:
            await engine.dispose()

    asyncio.run(make())
    yield name
    asyncio.run(_execute(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def database_url(server_url: str, template: str) -> AsyncIterator[str]:
    """An empty database of this test's own, at the newest schema."""
    name = f"percorso_test_{secrets.token_hex(6)}"
    await _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield database_of(server_url, name)
    await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A connection to this test's database, to look at what is stored."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def services(database_url: str) -> AsyncIterator[Services]:
    """A process without HTTP: pipeline, writer, pool."""
    async with serving(settings_for(database_url)) as running:
        yield running


@pytest.fixture
async def one_lane(database_url: str) -> AsyncIterator[Services]:
    """A process that writes on one connection: one group commit after the other."""
    async with serving(settings_for(database_url, commit_connections=1)) as running:
        yield running


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service on this test's database, with a key that has every scope."""
    async with running(database_url) as (_, made):
        yield made


@pytest.fixture
def make() -> Make:
    """A factory of interactions: a valid one, with what the test says otherwise; None leaves a member out."""
    count = 0

    def interaction(**members: Any) -> dict[str, Any]:
        nonlocal count
        count += 1
        usual: dict[str, Any] = {
            "source": "test",
            "id": f"event-{count}",
            "occurred_at": (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=count)).isoformat(),
            "channel": "phone",
            "customer": {"email": "anna@example.com"},
        }
        return {name: value for name, value in (usual | members).items() if value is not None}

    return interaction
