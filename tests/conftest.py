"""A real database for every test: cloned from a template that Alembic migrated, on an embedded server or a given one."""

import asyncio
import json
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, settings as hypothesis
from percorso.app import create_app, serving
from percorso.http.services import Services
from percorso.ops import embedded
from percorso.settings import Settings
from percorso.storage import schema
from percorso.storage.database import create_engine, parse_url
from pydantic import SecretStr

KEY = "key-of-the-tests"
FIXTURES = Path(__file__).parent / "fixtures"

hypothesis.register_profile(
    "percorso", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
hypothesis.register_profile("long", parent=hypothesis.get_profile("percorso"), max_examples=2000, derandomize=False)
hypothesis.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "percorso"))

Make = Callable[..., dict[str, Any]]
Post = Callable[..., Awaitable[httpx.Response]]


def settings_for(url: str, **given: Any) -> Settings:
    """The settings of a test: nothing is read from a file."""
    return Settings(_env_file=None, database_url=SecretStr(url), bootstrap_key=SecretStr(KEY), **given)  # type: ignore[call-arg]


def database_of(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return parse_url(url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)


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


@asynccontextmanager
async def running(url: str, **given: Any) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """An application on this database, and a client of it that has a key with every scope."""
    app = create_app(settings_for(url, **given))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://percorso.test", headers=headers) as client:
            yield app, client


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
            "occurred_at": f"2026-03-{1 + count // 86400 % 28:02d}T{count // 3600 % 24:02d}:{count // 60 % 60:02d}:{count % 60:02d}Z",
            "channel": "phone",
            "customer": {"email": "anna@example.com"},
        }
        return {name: value for name, value in (usual | members).items() if value is not None}

    return interaction


def ndjson(*items: dict[str, Any]) -> bytes:
    """Items as newline-delimited JSON."""
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)
