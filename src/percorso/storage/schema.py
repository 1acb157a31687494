"""The schema's version: bring a database to the newest, and say whether it is there."""

import asyncio
import re
from io import StringIO
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

import percorso
from percorso.errors import StartupError
from percorso.storage.database import OLDEST_SERVER, is_away

_LOCK = 0x70657263_6D696772
"""Advisory lock: replicas that start together migrate one after the other."""
_POLL_SECONDS = 0.2
_VERSION: Final = re.compile(r"\d{8}_\d{4}")
"""How versions are named: by the moment they were written, so that of two the later one can be told."""


def migrations() -> Path:
    """Where the migrations are: inside an installed wheel, beside `src/` in a checkout."""
    package = Path(percorso.__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file; `connection` is what the migrations run on."""
    config = Config()
    config.set_main_option("script_location", str(migrations()))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The version this release needs."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise StartupError(f"No migrations in {migrations()}: the installation is incomplete.")
    return head


def suits(version: str | None, needed: str) -> bool:
    """Whether this code, which needs one version, works on another: on its own, and on a later release's.

    Every migration lets the release before it go on, so that the database is migrated first, under running services,
    and a release can be taken back without touching the schema.
    """
    return version is not None and (version == needed or is_later(version, needed))


def is_later(version: str | None, than: str) -> bool:
    """Whether a version is one that a later release made."""
    return version is not None and _VERSION.fullmatch(version) is not None and version > than


async def current(engine: AsyncEngine) -> str | None:
    """The version the database is at; None where it has no percorso schema."""
    async with engine.connect() as connection:
        return await connection.run_sync(_revision)


async def upgrade(engine: AsyncEngine) -> None:
    """Run every migration that is missing; safe to call from several processes at once.

    A database that a later release has migrated is left as it is.
    """
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        version = (await connection.execute(text("SHOW server_version_num"))).scalar_one()
        if int(version) < OLDEST_SERVER:
            raise StartupError(f"The database server is too old ({version}): percorso needs PostgreSQL 15 or newer.")
        # Not `pg_advisory_lock`: the snapshot of one who waits there would stop CREATE INDEX CONCURRENTLY.
        lock = text("SELECT pg_try_advisory_lock(:lock)").bindparams(lock=_LOCK)
        while not (await connection.execute(lock)).scalar_one():  # noqa: ASYNC110 - another process is waited for
            await asyncio.sleep(_POLL_SECONDS)
        try:
            await connection.execute(text("SET statement_timeout = 0"))
            await connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
            await connection.commit()
            await connection.execution_options(isolation_level="READ COMMITTED")
            version = await connection.run_sync(_revision)
            await connection.commit()
            if not is_later(version, newest()):
                await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "head"))
                await connection.commit()
        finally:
            # With the connection go its settings and the lock.
            await connection.invalidate()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def as_sql() -> str:
    """Every migration, as the SQL it runs on an empty database."""
    config = alembic_config()
    config.output_buffer = StringIO()
    command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


async def require(engine: AsyncEngine) -> None:
    """Raise StartupError unless the database is reachable and at a version that suits this release."""
    try:
        version = await current(engine)
    except Exception as error:
        if not is_away(error):
            raise
        raise StartupError(
            f"The database cannot be reached ({type(error).__name__}): see PERCORSO_DATABASE_URL."
        ) from error
    if not suits(version, newest()):
        found = "has no percorso schema" if version is None else f"is at schema {version}"
        raise StartupError(f"The database {found}; this release needs {newest()}. Run `percorso db upgrade`.")
