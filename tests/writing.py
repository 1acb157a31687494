"""What tests of the write path share: processes, a look at what is stored, and a way to the database that breaks."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from time import monotonic
from typing import Any, Literal, Self, TypeAlias

import asyncpg
from prometheus_client import REGISTRY

from percorso.app import serving
from percorso.http.services import Services
from percorso.ingest.verdict import Verdict
from percorso.storage.database import parse_url
from support import settings_for

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

WRITER = "application_name = 'percorso-writer' AND datname = current_database()"


@asynccontextmanager
async def processes(url: str, count: int, **given: Any) -> AsyncIterator[list[Services]]:
    """As many processes on this database, as far as it can tell."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(settings_for(url, **given))) for _ in range(count)]


async def take(services: Services, *items: dict[str, Any], wait: bool = False) -> list[Verdict]:
    """Store these."""
    return await services.pipeline.take([json.dumps(item).encode() for item in items], wait=wait)


async def statuses(services: Services, *items: dict[str, Any]) -> list[str]:
    """Store these, and say what became of each."""
    return [verdict.status for verdict in await take(services, *items)]


async def until(condition: Callable[[], Awaitable[Any] | Any], seconds: float = 10) -> None:
    """Wait until this holds."""
    end = monotonic() + seconds
    while True:
        holds = condition()
        if asyncio.iscoroutine(holds):
            holds = await holds
        if holds:
            return
        assert monotonic() < end, "waited in vain"
        await asyncio.sleep(0.005)


def healthy(services: Services) -> bool:
    """Whether the writer says so."""
    return services.writer.healthy


def queued() -> int:
    """The interactions that wait for the writer of this process, or are with it."""
    return int(REGISTRY.get_sample_value("percorso_queue_rows") or 0)


def retries() -> int:
    """How often a group commit of this process was tried again."""
    return int(REGISTRY.get_sample_value("percorso_commit_retries_total") or 0)


async def count(database: Database, table: str) -> int:
    """The rows of a table."""
    return int(await database.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608 - constants of the tests


async def sender_ids(database: Database) -> list[str]:
    """The sender's id of each stored interaction, in order."""
    return [
        record["id"] for record in await database.fetch("SELECT document->>'id' AS id FROM interactions ORDER BY 1")
    ]


async def end_writers(database: Database) -> int:
    """Kill the connection of every writer on this database, and wait until they are gone; how many there were."""
    ended = await database.fetch(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {WRITER}")  # noqa: S608 - constants of the tests
    return len(ended)


async def waiting_for_a_lock(database: Database, writers: int = 1) -> bool:
    """Whether so many writers on this database wait for a lock."""
    condition = f"{WRITER} AND wait_event_type = 'Lock'"
    return await count(database, f"pg_stat_activity WHERE {condition}") >= writers


@asynccontextmanager
async def stopped(url: str, table: str = "interaction_keys") -> AsyncIterator[None]:
    """No writer gets past this table within the block."""
    holder = await asyncpg.connect(url)
    try:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await holder.close()


@asynccontextmanager
async def occupied(services: Services, database: Database, url: str, item: dict[str, Any]) -> AsyncIterator[None]:
    """The writer is busy with this item; whatever is taken within the block is one group after it."""
    async with asyncio.TaskGroup() as tasks, stopped(url):
        tasks.create_task(take(services, item))
        await until(lambda: waiting_for_a_lock(database))
        yield


Cut = Literal["before", "during", "after"]


class Way:
    """A TCP way to the database server that can be cut at the COMMIT of interactions, closed, or left without answer.

    `cut`: at the next such COMMIT the connection ends `before` it is passed on, right when it is (`during`), or `after`
    the server has done it, whose answer is lost. `open`: whether connections are taken. `loud`: cleared, nothing
    passes.
    """

    def __init__(self, url: str) -> None:
        self._to = parse_url(url)
        self.cut: Cut | None = None
        self.cuts = 0
        self.open = True
        self.loud = asyncio.Event()
        self.loud.set()
        self.url = ""
        self._ways: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        query = {name: value for name, value in self._to.query.items() if name not in {"host", "port"}}
        way = self._to.set(drivername="postgresql", host="127.0.0.1", port=port, query={**query, "sslmode": "disable"})
        self.url = way.render_as_string(hide_password=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self.loud.set()
        self._server.close()
        self.end()
        await asyncio.gather(*self._ways, return_exceptions=True)

    def end(self) -> None:
        """End every connection there is."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._to.query.get("host", self._to.host), self._to.query.get("port", self._to.port) or 5432
        if str(host).startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(str(host), int(str(port)))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        this = asyncio.current_task()
        assert this is not None
        self._ways.add(this)
        if self.open:
            await self.loud.wait()
            answers, upstream = await self._connect()
            both = {writer, upstream}
            self._writers |= both
            back = asyncio.create_task(self._back(answers, writer))
            with suppress(OSError):
                if await self._forth(reader, upstream) == "after":
                    back.cancel()
                    with suppress(asyncio.CancelledError):
                        await back
                    await answers.read()
            upstream.transport.abort()
            back.cancel()
            self._writers -= both
        writer.transport.abort()

    async def _forth(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> Cut | None:
        """Pass on what the client says, until it says no more or is cut; how it was cut."""
        begun = stores = False
        while data := await reader.read(65536):
            await self.loud.wait()
            if data.startswith(_BEGIN):
                begun, stores = True, False
            stores = stores or _DOCUMENT in data
            # A statement outside of a transaction is its own commit.
            commits = data.startswith(_COMMIT) if begun else _DOCUMENT in data
            begun = begun and not data.startswith(_COMMIT)
            if self.cut is not None and stores and commits:
                cut, self.cut = self.cut, None
                self.cuts += 1
                if cut != "before":
                    upstream.write(data + _TERMINATE)
                    await upstream.drain()
                return cut
            upstream.write(data)
            await upstream.drain()
        return None

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.loud.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


_BEGIN = b"Q\0\0\0\x0bBEGIN;"
_DOCUMENT = b'"channel": '
_COMMIT = b"Q\0\0\0\x0cCOMMIT;"
_TERMINATE = b"X\0\0\0\x04"
