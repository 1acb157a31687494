"""Puts down when each key was last used: now and then, so that no request waits for it."""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.http.access import Keys
from percorso.ops import logs
from percorso.storage import api_keys
from percorso.storage.database import writing

_log = structlog.get_logger("percorso.keys")

_EVERY_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 3.0
"""A write that takes longer is given up: the next use of the key is put down instead."""


class LastUsed:
    """One a process. `start` it, `stop` it; between and at the end, what `keys` was asked for is written."""

    def __init__(self, engine: AsyncEngine, keys: Keys, *, every: float = _EVERY_SECONDS) -> None:
        self._engine = engine
        self._keys = keys
        self._every = every
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="percorso-last-used")

    async def stop(self) -> None:
        """Write what was not written yet, and end."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await self._write()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self._write()

    async def _write(self) -> None:
        used = {key_id: datetime.fromtimestamp(at, UTC) for key_id, at in self._keys.take_used().items()}
        try:
            if used:
                async with (
                    asyncio.timeout(2 * _LONGEST_SECONDS),
                    writing(self._engine, seconds=_LONGEST_SECONDS) as session,
                ):
                    await api_keys.used(session, used)
        except Exception as error:  # noqa: BLE001 - it may pass, and nothing depends on it
            _log.warning("when keys were last used could not be put down", keys=len(used), **logs.described(error))
