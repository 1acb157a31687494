"""Runs workers: each in one process at a time, of all that serve a database, again and again whatever befalls it.

Who leads a worker holds a session advisory lock on a connection that all workers of a process share. The server ends
that session where it is not heard of for `lease_seconds`; a process that has not been answered for less than that has
stopped its workers by then. Only a process that was stopped in its tracks may go on for a moment beside the next
leader: what a worker does must be harmless where two do it at once.

To add a worker: a function that does some of the work and says whether there is more, and a `Worker` of it in
`percorso.app.workers_of`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic, time
from typing import Final
from zlib import crc32

import structlog

from percorso.ops import logs, metrics
from percorso.settings import Settings
from percorso.storage import database
from percorso.storage.database import ReadSession, limited

_log = structlog.get_logger("percorso.workers")

_LOCK: Final = 0x70657263 << 32
"""Advisory locks: one for each worker, by its name."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds before the next try after a failure: from the first, doubled each time, to the longest or the interval."""
_STOP_SECONDS: Final = 3.0
"""How long a stop waits for workers that hang, such as in a rollback that is not answered."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Something that is to be done again and again, by one process.

    `run` does some of it, and says whether there is more to do at once; else it is called `interval` seconds later. It
    may fail with anything. It is cancelled where the process stops or leads no more, so it must not hold on to more
    than it can leave at any time: what a transaction has not committed is rolled back. `ended` is called afterwards.
    """

    name: str
    interval: float
    run: Callable[[], Awaitable[bool]]
    ended: Callable[[], None] | None = None


class Runtime:
    """One a process. `start` it, `stop` it; between, the workers that it leads run.

    It looks every `beat_seconds` whether it still leads, and whether it may lead more.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        workers: Sequence[Worker],
        *,
        beat_seconds: float = 2.0,
        lease_seconds: float = 15.0,
    ) -> None:
        self._url = url
        self._settings = settings
        self._workers = {_LOCK | crc32(worker.name.encode()): worker for worker in workers}
        self._beat_seconds = beat_seconds
        self._lease_seconds = lease_seconds
        self._led: dict[int, asyncio.Task[None]] = {}
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, as soon as the database can be reached."""
        for worker in self._workers.values():
            metrics.WORKER_LEADER.labels(worker.name).set(0)
        self._keeper = asyncio.create_task(self._keep(), name="percorso-workers")

    async def stop(self) -> None:
        """End what runs; what has not been committed is rolled back."""
        if self._keeper is not None:
            self._keeper.cancel()
            _, pending = await asyncio.wait({self._keeper}, timeout=_STOP_SECONDS)
            if pending:
                _log.warning("workers that hang are left")

    async def _keep(self) -> None:
        """Lead as long as there is a connection, and connect again when it is lost."""
        while True:
            try:
                session = await self._connect()
                try:
                    await self._lead(session)
                finally:
                    await self._give_up()
                    session.terminate()
            except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
                _log.warning("workers wait for the database", error=type(error).__name__)
            await asyncio.sleep(self._beat_seconds)

    async def _connect(self) -> ReadSession:
        lease = str(round(self._lease_seconds * 1000))
        session = await database.connect(self._url, self._settings, name="percorso-workers", idle_session_timeout=lease)
        return ReadSession(session)

    async def _lead(self, session: ReadSession) -> None:
        """Lead whatever no one leads, until the connection is lost."""
        lost = asyncio.Event()
        session.add_termination_listener(lambda _: lost.set())
        while not lost.is_set():
            others = [lock for lock in self._workers if lock not in self._led]
            with limited(session, self._lease_seconds / 3):
                won = await session.fetch(
                    "SELECT lock FROM unnest($1::bigint[]) AS lock WHERE pg_try_advisory_lock(lock)", others
                )
            for [lock] in won:
                worker = self._workers[lock]
                metrics.WORKER_LEADER.labels(worker.name).set(1)
                self._led[lock] = asyncio.create_task(_repeat(worker), name=f"percorso-worker-{worker.name}")
                _log.info("leads a worker", worker=worker.name)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._beat_seconds):
                    await lost.wait()

    async def _give_up(self) -> None:
        """Stop all that is led, and wait until it has stopped: the next leader may be this process."""
        led, self._led = self._led, {}
        for task in led.values():
            task.cancel()
        for lock in led:
            metrics.WORKER_LEADER.labels(self._workers[lock].name).set(0)
        if led:
            await asyncio.wait(led.values())
        for lock in led:
            if (ended := self._workers[lock].ended) is not None:
                ended()


async def _repeat(worker: Worker) -> None:
    """Run a worker until this task is cancelled."""
    failures = 0
    while True:
        begun = monotonic()
        try:
            more = await worker.run()
        except (Exception, asyncio.CancelledError) as error:
            if _is_cancelled():
                raise
            failures += 1
            pause = pause_after(failures, worker.interval)
            metrics.WORKER_FAILURES.labels(worker.name).inc()
            _log.warning("a worker failed", worker=worker.name, failures=failures, **logs.described(error))
        else:
            failures = 0
            pause = 0 if more else worker.interval
            metrics.WORKER_LAST_SUCCESS.labels(worker.name).set(time())
        metrics.WORKER_SECONDS.labels(worker.name).observe(monotonic() - begun)
        await asyncio.sleep(pause)


def _is_cancelled() -> bool:
    """Whether this very task is to end; what it waits for may have been cancelled for another reason."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def pause_after(failures: int, interval: float) -> float:
    """Seconds to wait after so many failures on end."""
    return min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 30), max(_LONGEST_PAUSE, interval))
