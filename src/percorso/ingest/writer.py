"""The writer: a bounded queue before a few connections, emptied by group commits.

Whoever writes waits for the commit. While one connection waits for the database, the next group is made ready for
another. While the database cannot be reached, what waits is tried again for a while, with the same ids, so that nothing
can be stored twice; new work is refused until it is back.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

import structlog

from percorso.errors import Unavailable
from percorso.ingest import group
from percorso.ingest.identity import Identifiers
from percorso.ingest.known import Known
from percorso.ingest.recall import recall
from percorso.ingest.verdict import Verdict
from percorso.ops import logs, metrics, tracing
from percorso.settings import Settings
from percorso.storage import deployment, epoch, groups
from percorso.storage.database import AWAY, WriteSession, limited
from percorso.storage.interactions import Row
from percorso.storage.linking import Guards
from percorso.storage.rejected import Rejection

Connect = Callable[[], Awaitable[WriteSession]]

_log = structlog.get_logger("percorso.writer")

_ROW_OVERHEAD: Final = 256
"""Bytes a waiting row takes beside its document, roughly."""
_PAUSES: Final = (0.0, 0.1, 0.3, 1.0, 2.0)
"""Seconds before each further try at a group; after the last it is answered with 503."""
_PROBE_SECONDS: Final = 1.0
"""How often an unreachable database is asked for."""
_CLOSE_SECONDS: Final = 0.5
_RECALL_SECONDS: Final = 60.0
"""What is not remembered by then is learnt as it comes."""
_RECALL_EVERY_SECONDS: Final = _RECALL_SECONDS
"""It is not recalled anew before."""
_STOP_SECONDS: Final = 1.0
"""How often a stop looks whether anyone still waits for what is with the writer."""


@dataclass(slots=True, eq=False)
class _Waiting:
    rows: Sequence[Row]
    rejections: Sequence[Rejection]
    size: int
    verdicts: asyncio.Future[list[Verdict]]
    traced: tracing.Waiting | None


@dataclass(slots=True, eq=False)
class _Lane:
    """A connection and the group that is with it."""

    session: WriteSession | None = None
    taken: Sequence[_Waiting] = ()
    busy_since: float | None = None
    task: asyncio.Task[None] | None = None


class Writer:
    """One a process. `start` it, `write` to it from any number of tasks, `stop` it: what it had taken is committed."""

    def __init__(self, connect: Connect, settings: Settings, identifiers: Identifiers, *, generation: int) -> None:
        self._connect = connect
        self._settings = settings
        self._identifiers = identifiers
        self._generation = generation
        self._guards = Guards.of(settings)
        self._known = Known(settings.seen_identities, 0)
        self._lanes = [_Lane() for _ in range(settings.commit_connections)]
        self._queue: deque[_Waiting] = deque()
        self._rows = 0
        self._bytes = 0
        self._idle: deque[asyncio.Future[None]] = deque()
        self._crowded: deque[asyncio.Future[None]] = deque()
        self._recalling: asyncio.Task[None] | None = None
        self._recalled = (0, 0.0)
        self._closing = asyncio.Event()
        self._reachable = True

    async def start(self) -> None:
        """Connect and begin."""
        try:
            for lane in self._lanes:
                await self._open(lane)
        except BaseException:
            await self._disconnect_all()
            raise
        metrics.WRITER_UP.set(1)
        metrics.QUEUE_ROWS_LIMIT.set(self._settings.queue_rows)
        metrics.QUEUE_BYTES_LIMIT.set(self._settings.queue_bytes)
        for lane in self._lanes:
            lane.task = asyncio.create_task(self._run(lane), name="percorso-writer")

    async def stop(self) -> None:
        """Take nothing more, commit what was taken, and end; what no one waits for any more may be left.

        A service stops its writer when its requests are answered, or were told that it is stopping. What is then still
        with a database that does not answer was acknowledged to nobody.
        """
        self._closing.set()
        _wake(self._idle)
        _wake(self._crowded)
        pending = {lane.task for lane in self._lanes if lane.task is not None}
        try:
            while pending:
                _, pending = await asyncio.wait(pending, timeout=_STOP_SECONDS)
                if pending and self._abandoned():
                    for lane in self._lanes:
                        if lane.session is not None and lane.task in pending:
                            # A task that is cancelled waits for its rollback, which may be answered as little.
                            lane.session.terminate()
                    for task in pending:
                        task.cancel()
        finally:
            await self._disconnect_all()

    def _abandoned(self) -> bool:
        """Whether no one waits for what is with the writer."""
        taken = (waiting for lane in self._lanes for waiting in lane.taken)
        return all(waiting.verdicts.done() for waiting in (*taken, *self._queue))

    @property
    def healthy(self) -> bool:
        """Whether it takes work, and is not stuck with what it has."""
        limit = monotonic() - self._settings.commit_timeout_seconds
        return (
            self._reachable
            and not self._closing.is_set()
            and all(lane.task is not None and not lane.task.done() for lane in self._lanes)
            and all(lane.busy_since is None or lane.busy_since > limit for lane in self._lanes)
        )

    @property
    def fill(self) -> float:
        """How full the queue is: 1 where nothing more is taken at once."""
        return max(self._rows / self._settings.queue_rows, self._bytes / self._settings.queue_bytes)

    async def write(self, rows: Sequence[Row], rejections: Sequence[Rejection], *, wait: bool = False) -> list[Verdict]:
        """Commit these, and give the verdict on each row, in order.

        Raises Unavailable where nothing was taken: the queue is full (unless `wait`, which waits for room), the
        database is away, or the service is stopping. Also where a commit's outcome could not be learnt in time: to
        send it again is safe then too.
        """
        if not rows and not rejections:
            return []
        size = sum(len(row.document) for row in rows) + sum(len(item.payload) for item in rejections)
        size += _ROW_OVERHEAD * len(rows)
        self._require()
        while not self._has_room():
            if not wait:
                raise Unavailable("More arrives than can be stored.", retry_after=1)
            await _woken(self._crowded)
            self._require()
        waiting = _Waiting(rows, rejections, size, asyncio.get_running_loop().create_future(), tracing.waiting())
        self._queue.append(waiting)
        self._count(waiting, 1)
        if self._idle:
            _wake(self._idle, most=1)
        return await waiting.verdicts

    def _require(self) -> None:
        """Raise Unavailable where nothing can be taken."""
        if self._closing.is_set():
            raise Unavailable("The service is stopping.", retry_after=2)
        if not self._reachable:
            raise Unavailable("The database cannot be reached.", retry_after=2)

    def _has_room(self) -> bool:
        return self._rows < self._settings.queue_rows and self._bytes < self._settings.queue_bytes

    def _count(self, waiting: _Waiting, sign: int) -> None:
        self._rows += sign * (len(waiting.rows) + len(waiting.rejections))
        self._bytes += sign * waiting.size
        metrics.QUEUE_ROWS.set(self._rows)
        metrics.QUEUE_BYTES.set(self._bytes)

    async def _run(self, lane: _Lane) -> None:
        while True:
            while not self._queue:
                if self._closing.is_set():
                    return
                await _woken(self._idle)
            lane.taken = self._take()
            await self._answer(lane, lane.taken)
            for waiting in lane.taken:
                self._count(waiting, -1)
            lane.taken = ()
            if self._has_room():
                _wake(self._crowded)
            if not self._reachable:
                await self._until_reachable(lane)
            self._recall_again()

    def _take(self) -> list[_Waiting]:
        """The next group: at least one, then as many as the limits of a commit allow."""
        taken = [self._queue.popleft()]
        rows, size = len(taken[0].rows), taken[0].size
        while self._queue:
            rows, size = rows + len(self._queue[0].rows), size + self._queue[0].size
            if rows > self._settings.commit_rows or size > self._settings.commit_bytes:
                break
            taken.append(self._queue.popleft())
        return taken

    async def _answer(self, lane: _Lane, taken: Sequence[_Waiting]) -> None:
        """Commit a group and resolve everyone who waits for it, whatever happens."""
        rows = [row for waiting in taken for row in waiting.rows]
        rejections = [rejection for waiting in taken for rejection in waiting.rejections]
        traced = [waiting.traced for waiting in taken if waiting.traced is not None] if tracing.on() else ()
        lane.busy_since = begun = monotonic()
        try:
            with tracing.commit(traced, rows=len(rows)):
                verdicts = await self._commit(lane, rows, rejections)
        except Exception as error:  # noqa: BLE001 - whoever waits is told; the writer goes on
            if not isinstance(error, Unavailable):
                _log.error("group commit failed", rows=len(rows), **logs.described(error))
            for waiting in taken:
                if not waiting.verdicts.done():
                    waiting.verdicts.set_exception(error)
            return
        finally:
            metrics.COMMIT_SECONDS.observe(monotonic() - begun)
            lane.busy_since = None
        metrics.COMMIT_ROWS.observe(len(rows))
        metrics.TAKEN_BYTES.inc(sum(waiting.size for waiting in taken) - _ROW_OVERHEAD * len(rows))
        at = 0
        for waiting in taken:
            end = at + len(waiting.rows)
            if not waiting.verdicts.done():
                waiting.verdicts.set_result(verdicts[at:end])
            at = end

    async def _commit(self, lane: _Lane, rows: Sequence[Row], rejections: Sequence[Rejection]) -> list[Verdict]:
        """Commit a group, again after each failure of the database, for as long as `_PAUSES` lasts."""
        for tries, pause in enumerate(_PAUSES):
            if pause:
                await asyncio.sleep(pause)
            opened = False
            try:
                session = lane.session or await self._open(lane)
                opened = True
                target = group.Target(
                    session,
                    self._known,
                    self._generation,
                    self._settings.commit_timeout_seconds,
                    self._settings.statement_rows,
                )
                return await group.write(target, rows, rejections, again=tries > 0)
            except Exception as error:
                await self._disconnect(lane)
                if opened and not isinstance(error, AWAY):
                    raise
                metrics.COMMIT_RETRIES.inc()
                _log.warning("group commit will be tried again", error=type(error).__name__, tries=tries + 1)
        self._unreachable()
        raise Unavailable("The database cannot be reached.", retry_after=2)

    async def _open(self, lane: _Lane) -> WriteSession:
        """Connect to a database that takes writes; what was known of the one before is forgotten."""
        session = await self._connect()
        try:
            with limited(session, self._settings.connect_timeout_seconds):
                async with session.transaction():
                    self._generation = (await deployment.ensure(session)).generation
                await groups.define(session, self._guards)
                now_is = await epoch.current(session)
        except BaseException:
            session.terminate()
            raise
        lane.session = session
        self._known = Known(self._settings.seen_identities, now_is)
        self._begin_recall()
        return session

    def _begin_recall(self) -> None:
        """Begin to recall who was stored last, for the epoch there is."""
        if self._recalling is not None:
            self._recalling.cancel()
        self._recalled = self._known.epoch, monotonic()
        self._recalling = asyncio.create_task(self._recall(self._known), name="percorso-recall")

    def _recall_again(self) -> None:
        """Recall anew what was forgotten since, though not at each of many changes of identity."""
        since, at = self._recalled
        if since != self._known.epoch and monotonic() - at > _RECALL_EVERY_SECONDS:
            self._begin_recall()

    async def _recall(self, known: Known) -> None:
        """Learn on a connection of its own, while the others write, who was stored last; it is only a shortcut."""
        try:
            session = await self._connect()
            try:
                with limited(session, _RECALL_SECONDS):
                    await recall(session, known, self._identifiers)
                    await session.close()
            finally:
                session.terminate()
        except Exception as error:  # noqa: BLE001 - without it everything works, though slower at first
            _log.warning("who was stored last is not remembered", error=type(error).__name__)

    async def _disconnect(self, lane: _Lane) -> None:
        session, lane.session = lane.session, None
        if session is not None:
            with contextlib.suppress(Exception):
                await session.close(timeout=_CLOSE_SECONDS)

    async def _disconnect_all(self) -> None:
        if self._recalling is not None:
            self._recalling.cancel()
            await asyncio.wait({self._recalling})
        for lane in self._lanes:
            await self._disconnect(lane)

    def _unreachable(self) -> None:
        """Refuse work from now on, that which waits already included."""
        self._reachable = False
        metrics.WRITER_UP.set(0)
        for waiting in self._queue:
            if not waiting.verdicts.done():
                waiting.verdicts.set_exception(Unavailable("The database cannot be reached.", retry_after=2))
            self._count(waiting, -1)
        self._queue.clear()
        _wake(self._crowded)

    async def _until_reachable(self, lane: _Lane) -> None:
        """Ask for the database until it takes writes again, or the service stops."""
        while not self._closing.is_set():
            try:
                session = lane.session or await self._open(lane)
                with limited(session, self._settings.connect_timeout_seconds):
                    await deployment.prove(session)
            except Exception as error:  # noqa: BLE001 - whatever it is, it may pass, and the writer must live to see it
                await self._disconnect(lane)
                _log.warning("the database cannot be reached", error=type(error).__name__)
            else:
                self._reachable = True
                metrics.WRITER_UP.set(1)
                _log.info("the database is back")
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_SECONDS):
                    await self._closing.wait()


async def _woken(waiting: deque[asyncio.Future[None]]) -> None:
    """Wait to be woken."""
    future = asyncio.get_running_loop().create_future()
    waiting.append(future)
    await future


def _wake(waiting: deque[asyncio.Future[None]], *, most: int | None = None) -> None:
    """Wake those who wait, the first first, at most so many; those who gave up do not count."""
    woken = 0
    while waiting and woken != most:
        future = waiting.popleft()
        if not future.done():
            future.set_result(None)
            woken += 1
