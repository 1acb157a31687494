"""Analytics work apart: on connections and threads of their own, few at a time, each call within one deadline.

A call takes a *place* when it first asks the database, or first computes in a thread, and keeps it to its end. There
are as many places as connections. So however many calls there are, ingest and journeys have their own connections, and
of the requests that a process works on at once only few can be analytics: those with a place, and those that wait.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import copy_context
from typing import Any, Final, ParamSpec, TypeVar, cast

import asyncpg
from asyncpg import Record
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.analytics.deadline import Deadline
from percorso.settings import Settings
from percorso.storage import database
from percorso.storage.database import ReadSession, reading

_WAITING_EACH: Final = 8
"""Calls that may wait for each place; more are refused at once, since they would wait in vain."""
_SHARE: Final = 4
"""Of the requests that a process works on at once, one in so many may be analytics that wait."""

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


class Places:
    """One a process: the connections of analytics, their threads, and who may use them. `close` it at the end."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.engine: AsyncEngine = database.create_analytics_engine(url, settings)
        self._seconds = settings.analytics_timeout
        self._free = asyncio.Semaphore(settings.analytics_connections)
        self._threads = ThreadPoolExecutor(settings.analytics_connections, "percorso-analytics")
        self._waiting = 0
        self._most = min(_WAITING_EACH * settings.analytics_connections, settings.max_concurrent_requests // _SHARE)

    @asynccontextmanager
    async def call(self) -> AsyncIterator["Analysis"]:
        """One call of analytics; its time begins now, its place is given back at the end of the block."""
        analysis = Analysis(self)
        try:
            yield analysis
        finally:
            await analysis.leave()

    def deadline(self) -> Deadline:
        """The time that a call has from now on."""
        return Deadline(self._seconds)

    async def enter(self, deadline: Deadline) -> None:
        """Wait for a place; TooMuch where none is free in time, or too many wait already."""
        if self._free.locked() and self._waiting >= self._most:
            raise deadline.busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(deadline.left()):
                await self._free.acquire()
        except TimeoutError:
            raise deadline.busy() from None
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        """Give a place back."""
        self._free.release()

    def begin(self, work: Callable[[], _Made]) -> asyncio.Future[_Made]:
        """Do this in a thread of analytics."""
        return asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work)

    async def close(self) -> None:
        """End its threads, without waiting for what is still computed, and close its connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self.engine.dispose()


class Analysis:
    """What one call works with: its `session`, its `deadline`, and a thread to `run` in."""

    def __init__(self, places: Places) -> None:
        self.deadline: Final = places.deadline()
        self.session: Final = ReadSession(cast("asyncpg.Connection[Record]", _Session(self)))
        self._places = places
        self._entering = asyncio.Lock()
        self._entered = False
        self._lent = AsyncExitStack()
        self._connection: ReadSession | None = None
        self._computing: set[asyncio.Future[Any]] = set()

    async def run(self, work: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> _Made:
        """What `work` makes of what it is given, computed in a thread; TooMuch where that takes too long.

        A thread cannot be stopped: work that may take long is given the deadline, and asks it between chunks. Until
        it has ended it keeps its place, although its caller was answered.
        """
        await self._enter()
        self.deadline.check()
        future = self._places.begin(lambda: work(*given, **named))
        self._computing.add(future)
        future.add_done_callback(self._computing.discard)
        done, _ = await asyncio.wait({future}, timeout=self.deadline.left())
        if not done:
            raise self.deadline.missed()
        return future.result()

    async def connection(self) -> ReadSession:
        """The connection of this call, which it is lent when it first asks for it."""
        await self._enter()
        async with self._entering:
            if self._connection is None:
                self._connection = await self._lent.enter_async_context(reading(self._places.engine))
        return self._connection

    async def leave(self) -> None:
        """Give back what was lent; the place too, once nothing is computed any more."""
        self.deadline.end()
        try:
            await self._lent.aclose()
        finally:
            if self._entered:
                self._last(None)

    def _last(self, ended: asyncio.Future[Any] | None) -> None:
        """Give the place back where this was the last that was computed; else look again when the next has ended."""
        if ended is not None and not ended.cancelled():
            ended.exception()  # no one waits for it
        still = next((future for future in self._computing if not future.done()), None)
        if still is None:
            self._places.leave()
        else:
            still.add_done_callback(self._last)

    async def _enter(self) -> None:
        async with self._entering:
            if not self._entered:
                await self._places.enter(self.deadline)
                self._entered = True


class _Session:
    """A read session that is lent its connection by its first statement, and ends with TooMuch at the deadline."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._deadline = analysis.deadline

    async def fetch(self, query: str, *given: Any) -> list[Record]:
        """As asyncpg's."""
        connection = await self._analysis.connection()
        async with self._timed() as left:
            return await connection.fetch(query, *given, timeout=left)

    async def fetchrow(self, query: str, *given: Any) -> Record | None:
        """As asyncpg's."""
        connection = await self._analysis.connection()
        async with self._timed() as left:
            return await connection.fetchrow(query, *given, timeout=left)

    async def fetchval(self, query: str, *given: Any, column: int = 0) -> Any:
        """As asyncpg's."""
        connection = await self._analysis.connection()
        async with self._timed() as left:
            return await connection.fetchval(query, *given, column=column, timeout=left)

    async def execute(self, query: str, *given: Any) -> str:
        """As asyncpg's."""
        connection = await self._analysis.connection()
        async with self._timed() as left:
            return await connection.execute(query, *given, timeout=left)

    async def cursor(self, query: str, *given: Any, prefetch: int = 5_000) -> AsyncIterator[Record]:
        """As asyncpg's, to go through; within a transaction."""
        connection = await self._analysis.connection()
        rows = aiter(connection.cursor(query, *given, prefetch=prefetch))
        while True:
            async with self._timed() as left, asyncio.timeout(left):
                row = await anext(rows, None)
            if row is None:
                return
            yield row

    @asynccontextmanager
    async def transaction(self, **given: Any) -> AsyncIterator[None]:
        """As asyncpg's: `isolation="repeatable_read", readonly=True` lets all statements see the same."""
        connection = await self._analysis.connection()
        async with connection.transaction(**given):
            yield

    @asynccontextmanager
    async def _timed(self) -> AsyncIterator[float]:
        """The seconds that a statement may take, and TooMuch where it takes longer or is cancelled."""
        self._deadline.check()
        try:
            yield self._deadline.left()
        except (TimeoutError, asyncpg.QueryCanceledError):
            raise self._deadline.missed() from None
