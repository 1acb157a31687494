"""Where a bench takes place: a database of its own, beside the configured one, gone afterwards."""

import asyncio
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import asyncpg
from pydantic import SecretStr

from percorso.bench.verify import Ledger
from percorso.errors import StartupError
from percorso.settings import Settings
from percorso.storage import schema
from percorso.storage.database import connect, create_engine, parse_url, url_of

_MOST: Final = Settings.model_fields["max_identifiers"].default | {"email": 10}
"""The usual limits, but for customers of ten addresses, whose journeys and merges are measured."""


@dataclass(frozen=True, slots=True)
class Place:
    """The bench's database and what goes with it; `key` has every scope, `now` is the end of the events' time."""

    settings: Settings
    environment: dict[str, str]
    key: str
    now: str
    server_version: str
    ledger: Ledger


@contextmanager
def made(settings: Settings) -> Iterator[Place]:
    """Make a database on the server of the configured one, at this release's schema; drop it at the end."""
    url = url_of(settings)
    name = f"percorso_bench_{secrets.token_hex(6)}"
    try:
        version = asyncio.run(_execute(url, settings, f"CREATE DATABASE {name}"))
    except asyncpg.InsufficientPrivilegeError:
        raise StartupError(
            "The bench makes a database of its own beside the configured one, and this user may not: "
            "grant it CREATEDB, or unset PERCORSO_DATABASE_URL for an embedded PostgreSQL."
        ) from None
    try:
        own = parse_url(url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)
        key = secrets.token_urlsafe(32)
        inside = settings.model_copy(
            update={"database_url": SecretStr(own), "bootstrap_key": SecretStr(key), "max_identifiers": _MOST}
        )
        asyncio.run(_migrate(own, inside))
        yield Place(
            settings=inside,
            environment=os.environ
            | {
                "PERCORSO_DATABASE_URL": own,
                "PERCORSO_BOOTSTRAP_KEY": key,
                "PERCORSO_MAX_IDENTIFIERS": json.dumps(_MOST),
            },
            key=key,
            now=datetime.now(UTC).isoformat(),
            server_version=version,
            ledger=Ledger(),
        )
    finally:
        asyncio.run(_execute(url, settings, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


async def _execute(url: str, settings: Settings, statement: str) -> str:
    """Execute one statement; the server's version."""
    connection = await connect(url, settings, name="percorso-bench")
    try:
        # To drop tens of gigabytes takes longer than any statement of a service may.
        await connection.execute("SET statement_timeout = 0")
        await connection.execute(statement)
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


async def _migrate(url: str, settings: Settings) -> None:
    engine = create_engine(url, settings)
    try:
        await schema.upgrade(engine)
    finally:
        await engine.dispose()
