"""Puts down who read which customer: kept a moment, then written with all the others of that moment.

A read is answered at once; the audit log has it at most a second later. So a process that is killed may take the reads
of its last second with it; one that is stopped writes them first. Where they cannot be written, reading ends once too
many wait: what is not put down is not shown.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import structlog
from asyncpg.pgproto.pgproto import UUID
from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.errors import Unavailable
from percorso.http.callers import Caller
from percorso.ops import logs, metrics
from percorso.storage import audit
from percorso.storage.audit import Entry
from percorso.storage.database import is_away, writing

_log = structlog.get_logger("percorso.audit")

_WITHIN_SECONDS: Final = 0.5
"""How long a read may wait until it is written with others."""
_AT_ONCE: Final = 2_000
"""Most in one transaction; so many are not kept waiting."""
_MOST: Final = 20_000
_LONGEST_SECONDS: Final = 3.0
"""A write that takes longer is cut, and tried again; a stop tries once more."""


def entry(
    act: str, key: Caller, subject: UUID | None, details: Mapping[str, Any], *, reason: bytes | None = None
) -> Entry:
    """An act of this caller, to be recorded in the transaction that does it; `reason` as its keyed hash."""
    told = dict(details) if reason is None else {**details, "reason": reason.hex()}
    return Entry(act, datetime.now(UTC), told, subject, actor=key.name, key_id=key.key_id)


class Recorder:
    """One a process. `start` it, tell it of each `read`, `stop` it: what it was told of is written."""

    def __init__(self, engine: AsyncEngine, fraction: float) -> None:
        self._engine = engine
        self._fraction = fraction
        self._waiting: deque[Entry] = deque()
        self._told = asyncio.Event()
        self._pressing = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def read(self, request: Request, key: Caller, subject: UUID) -> None:
        """Put down that this request shows its caller what is held of this customer, or of one of its interactions.

        `subject` is any identity of the customer. Raises Unavailable where it cannot be put down.
        """
        if self._fraction < 1 and random.random() >= self._fraction:  # noqa: S311 - which reads are left out is no secret
            return
        route = f"{request.method} {request.scope['route'].path_format}"
        self.note(entry(audit.READ, key, subject, {"route": route}))

    def note(self, what: Entry) -> None:
        """Put this down with what else waits. Raises Unavailable where it cannot be put down."""
        if len(self._waiting) >= _MOST:
            raise Unavailable("Reads cannot be put down in the audit log now.", retry_after=2)
        self._waiting.append(what)
        self._told.set()
        if len(self._waiting) >= _AT_ONCE:
            self._pressing.set()

    def waiting(self) -> int:
        """How many reads wait to be written."""
        return len(self._waiting)

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="percorso-audit")

    async def stop(self) -> None:
        """Write what it was told of, and end; what a database that is away does not take is logged as lost."""
        self._closing = True
        self._told.set()
        self._pressing.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        failed = False
        while not (self._closing and (failed or not self._waiting)):
            await self._told.wait()
            if not self._closing:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_WITHIN_SECONDS):
                        await self._pressing.wait()
            failed = not await self._write()
        if self._waiting:
            _log.error("reads could not be put down in the audit log", lost=len(self._waiting))

    async def _write(self) -> bool:
        """Write the oldest of what waits; False where that failed, for whatever reason: then they go on waiting."""
        entries = list(islice(self._waiting, _AT_ONCE))
        try:
            if entries:
                async with writing(self._engine, seconds=_LONGEST_SECONDS) as session:
                    await audit.record(session, entries)
        except Exception as error:  # noqa: BLE001 - it may pass, and until then reading is refused once too many wait
            told = {"error": type(error).__name__} if is_away(error) else logs.described(error)
            _log.warning("reads wait to be put down in the audit log", waiting=len(self._waiting), **told)
            self._pressing.clear()
            return False
        for _ in entries:
            self._waiting.popleft()
        metrics.AUDITED.inc(len(entries))
        if not self._closing:
            if not self._waiting:
                self._told.clear()
            if len(self._waiting) < _AT_ONCE:
                self._pressing.clear()
        return True
