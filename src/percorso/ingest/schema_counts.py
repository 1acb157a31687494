"""Writes down what came of checking by schemas, a few seconds after it was counted.

They are counts to go by, not a ledger: a process that is killed takes those of its last seconds with it.
"""

import asyncio
import contextlib
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.ingest.event_schemas import EventSchemas
from percorso.ops import logs
from percorso.storage import event_schemas as store
from percorso.storage.database import is_away, writing
from percorso.storage.event_schemas import Counted

_log = structlog.get_logger("percorso.schemas")

_EVERY_SECONDS: Final = 2.0
_LONGEST_SECONDS: Final = 3.0


class SchemaCounts:
    """One a process. `start` it, `stop` it: what was counted is written."""

    def __init__(self, engine: AsyncEngine, schemas: EventSchemas) -> None:
        self._engine = engine
        self._schemas = schemas
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="percorso-schema-counts")

    async def stop(self) -> None:
        """Write what was counted, where the database takes it, and end."""
        self._closing.set()
        if self._task is not None:
            await self._task

    async def write(self) -> None:
        """Write what was counted so far; it is kept where that fails."""
        taken = self._schemas.take_tallies()
        if not taken:
            return
        counted = [
            Counted(*version, tally.checked, tally.reported, tally.refused, tally.places)
            for version, tally in sorted(taken.items())
        ]
        try:
            async with writing(self._engine, seconds=_LONGEST_SECONDS) as session:
                await store.count(session, counted)
        except Exception as error:  # noqa: BLE001 - it may pass, and ingest goes on without
            self._schemas.give_back(taken)
            told = {"error": type(error).__name__} if is_away(error) else logs.described(error)
            _log.warning("counts of schemas wait to be written", **told)

    async def _run(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._closing.wait()
            await self.write()
