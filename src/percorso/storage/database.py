"""Connections: one engine a process, and two session types that say in a signature who may write."""

from asyncio import get_running_loop
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NewType

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from percorso.errors import StartupError
from percorso.settings import Settings

ReadSession = NewType("ReadSession", "asyncpg.Connection[asyncpg.Record]")
"""For `queries/`: every statement sees what is committed when it begins, and stays prepared on its connection."""

WriteSession = NewType("WriteSession", "asyncpg.Connection[asyncpg.Record]")
"""For `storage/`: one transaction. Both are asyncpg's own connection: only that can COPY, and nothing reads faster."""

_LONGEST = "percorso_longest_session"
"""The engine's option that says after how many seconds a session of its pool is cut."""

OLDEST_SERVER = 150_000
"""`server_version_num` of PostgreSQL 15, the oldest that is tested."""


def url_of(settings: Settings) -> str:
    """The URL of the settings' database; StartupError where they name none."""
    if settings.database_url is None:
        raise StartupError("PERCORSO_DATABASE_URL is not set.")
    return settings.database_url.get_secret_value()


def parse_url(url: str) -> URL:
    """A Postgres URL in any of the usual spellings, as SQLAlchemy's; StartupError where it is none."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # What it came from quotes the URL, and the password with it.
        raise StartupError("PERCORSO_DATABASE_URL is not a URL: use postgresql://user:password@host/name.") from None
    if parsed.drivername.partition("+")[0] not in {"postgresql", "postgres"}:
        raise StartupError(f"PERCORSO_DATABASE_URL names {parsed.drivername!r}; percorso stores in postgresql:// only.")
    return parsed.set(drivername="postgresql+asyncpg")


def create_engine(url: str, settings: Settings) -> AsyncEngine:
    """The process's pool of reading connections."""
    return _pool(
        url,
        settings,
        name="percorso",
        size=settings.pool_size,
        longest=settings.statement_timeout_seconds,
        # Each statement relies on one index whatever its parameters: to plan it anew for them costs more than it.
        plan_cache_mode="force_generic_plan",
    )


def create_analytics_engine(url: str, settings: Settings) -> AsyncEngine:
    """The process's pool for analytics: few connections, which are made when they are first needed."""
    return _pool(
        url,
        settings,
        name="percorso-analytics",
        size=settings.analytics_connections,
        longest=settings.analytics_timeout,
        plan_cache_mode="auto",
    )


def _pool(url: str, settings: Settings, *, name: str, size: int, longest: int, plan_cache_mode: str) -> AsyncEngine:
    """A pool of at most `size` connections, whose statements are ended after `longest` seconds."""

    async def open_() -> "asyncpg.Connection[asyncpg.Record]":
        return await _open(url, settings, name=name, longest=longest, plan_cache_mode=plan_cache_mode)

    engine = create_async_engine(
        parse_url(url),
        async_creator=open_,
        pool_size=size,
        max_overflow=0,
        pool_timeout=settings.connect_timeout_seconds,
        pool_pre_ping=False,
        # The server ends a statement first, where it can be heard.
        execution_options={_LONGEST: longest + settings.connect_timeout_seconds},
    )
    event.listen(engine.sync_engine, "checkout", _still_open)
    return engine


def _still_open(connection: Any, *_: object) -> None:
    """Let the pool replace a connection that was lost while it lay there; this costs no round trip."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


async def connect(url: str, settings: Settings, *, name: str, **others: str) -> "asyncpg.Connection[asyncpg.Record]":
    """One plain asyncpg connection of its own; `name` shows in `pg_stat_activity`, `others` are server settings."""
    return await _open(url, settings, name=name, longest=settings.commit_timeout_seconds, **others)


async def _open(
    url: str, settings: Settings, *, name: str, longest: int, **others: str
) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect, with `others` of the server's settings; it ends whatever takes longer than `longest` seconds.

    Else a process that is cut off, or stopped in its tracks, would go on holding its locks. asyncpg itself reads the
    URL, since SQLAlchemy does not understand all that may stand in one, such as `sslmode`.
    """
    parsed = parse_url(url).set(drivername="postgresql")
    return await asyncpg.connect(
        parsed.render_as_string(hide_password=False),
        timeout=settings.connect_timeout_seconds,
        server_settings={
            "application_name": name,
            "statement_timeout": str(longest * 1000),
            "idle_in_transaction_session_timeout": str(longest * 1000),
            "jit": "off",
            # What waits for others relies on seeing what they committed, however the database is set up.
            "default_transaction_isolation": "read committed",
            **others,
        },
    )


@contextmanager
def limited(session: "asyncpg.Connection[asyncpg.Record]", seconds: float) -> Iterator[None]:
    """Cut the connection where what is done in this block takes longer, so that it fails with one of `AWAY`.

    A timeout that cancels is not enough: on a connection that answers no more, the rollback would wait for ever.
    """
    watch = get_running_loop().call_later(seconds, session.terminate)
    try:
        yield
    finally:
        watch.cancel()


AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    OSError,
    TimeoutError,
)
"""Failures of the database or of the way to it, after which the same statement may succeed."""


def is_away(error: BaseException) -> bool:
    """Whether a failure, or what it came from, is one of `AWAY` or a pool that had no connection to give."""
    causes: BaseException | None = error
    while causes is not None:
        if isinstance(causes, (*AWAY, PoolTimeout)):
            return True
        causes = causes.__cause__ or causes.__context__
    return False


@asynccontextmanager
async def reading(engine: AsyncEngine, *, seconds: float | None = None) -> AsyncIterator[ReadSession]:
    """A read session; each of its statements sees what is committed when it begins.

    It is cut after `seconds`, or what the engine allows: else one whose way to the database is lost, without a word,
    would be waited for as long as the kernel does, and be lacking in the pool.
    """
    async with _lent(engine, seconds) as connection:
        yield ReadSession(connection)


@asynccontextmanager
async def writing(engine: AsyncEngine, *, seconds: float | None = None) -> AsyncIterator[WriteSession]:
    """A write session: committed at the end of the block, rolled back where the block raises; cut as a read session."""
    async with _lent(engine, seconds) as connection, connection.transaction():
        yield WriteSession(connection)


@asynccontextmanager
async def _lent(engine: AsyncEngine, seconds: float | None) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A connection of the pool, which goes back at the end of the block."""
    lent = await engine.raw_connection()
    try:
        assert lent.driver_connection is not None  # noqa: S101 - the pool hands out open connections only
        with limited(lent.driver_connection, seconds or engine.get_execution_options()[_LONGEST]):
            yield lent.driver_connection
    finally:
        await greenlet_spawn(lent.close)
