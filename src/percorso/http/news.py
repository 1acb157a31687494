"""Tells whoever waits for the feed to go on that it does, and how many may wait.

While anyone waits, one look at the database every half second is made for all of them, on a connection that is given
back at once: a thousand that wait cost no more than one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.errors import Unavailable
from percorso.ops import logs, metrics
from percorso.queries import feed
from percorso.queries.feed import Position
from percorso.storage.database import is_away, reading

_log = structlog.get_logger("percorso.feed")

_EVERY_SECONDS: Final = 0.5


class News:
    """One a process; at most `most` may hold a place at the same time."""

    def __init__(self, engine: AsyncEngine, *, most: int) -> None:
        self._engine = engine
        self._most = most
        self._held = 0
        self._waiting: dict[asyncio.Event, Position] = {}
        self._looking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among those who wait; Unavailable where there is none."""
        if self._held >= self._most:
            raise Unavailable("As many wait for the feed as may; read it by pages.", retry_after=5)
        self._held += 1
        metrics.FEED_READERS.inc()
        try:
            yield
        finally:
            self._held -= 1
            metrics.FEED_READERS.dec()

    async def beyond(self, position: Position) -> None:
        """Wait until there is more to read than up to here."""
        woken = asyncio.Event()
        self._waiting[woken] = position
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="percorso-feed")
        try:
            await woken.wait()
        finally:
            self._waiting.pop(woken, None)

    async def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self) -> None:
        """Look for as long as anyone waits."""
        try:
            while self._waiting:
                try:
                    async with reading(self._engine) as session:
                        newest = await feed.newest(session)
                except Exception as error:  # noqa: BLE001 - it may pass, and whoever waits does not wait for ever
                    told = {"error": type(error).__name__} if is_away(error) else logs.described(error)
                    _log.warning("the feed cannot be looked at", **told)
                else:
                    for woken in [woken for woken, position in self._waiting.items() if position < newest]:
                        del self._waiting[woken]
                        woken.set()
                await asyncio.sleep(_EVERY_SECONDS)
        finally:
            self._looking = None
