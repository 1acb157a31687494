"""Workers: led by one process at a time, whatever happens to it, to them, or to the database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from time import monotonic

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from faults.proxy import Fault, Proxy
from percorso.app import workers_of
from percorso.http.services import Services
from percorso.storage.database import create_engine, writing
from percorso.workers.runtime import Runtime, Worker, pause_after
from support import Make, running, settings_for
from writing import Database, statuses, until

LEADERS = "FROM pg_stat_activity WHERE application_name = 'percorso-workers' AND datname = current_database()"


class Log:
    """Where workers write down who runs them, and how many do at once."""

    def __init__(self) -> None:
        self.now: list[str] = []
        self.began: list[str] = []
        self.most = 0

    def worker(self, by: str, name: str = "test") -> Worker:
        """A worker that runs until it is cancelled."""

        async def run() -> bool:
            self.began.append(by)
            self.now.append(by)
            self.most = max(self.most, len(self.now))
            try:
                await asyncio.Event().wait()
            finally:
                self.now.remove(by)
            return False

        return Worker(name, 0.01, run)


@asynccontextmanager
async def runtime(url: str, *workers: Worker, lease_seconds: float = 15) -> AsyncIterator[Runtime]:
    made = Runtime(url, settings_for(url), workers, beat_seconds=0.02, lease_seconds=lease_seconds)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def counting(name: str = "test") -> tuple[list[float], Callable[..., Worker]]:
    """When a worker ran, and what makes that worker."""
    times: list[float] = []

    def make(interval: float, *, more: int = 0, fails: BaseException | None = None) -> Worker:
        async def run() -> bool:
            times.append(monotonic())
            if fails is not None:
                raise fails
            return len(times) <= more

        return Worker(name, interval, run)

    return times, make


def metric(name: str, worker: str) -> float:
    return REGISTRY.get_sample_value(f"percorso_worker_{name}", {"worker": worker}) or 0.0


async def test_of_many_processes_one_runs_a_worker_and_another_takes_over_when_it_stops(database_url: str) -> None:
    log = Log()
    async with asyncio.TaskGroup() as tasks:
        stops = {name: asyncio.Event() for name in "abcd"}

        async def process(name: str) -> None:
            async with runtime(database_url, log.worker(name)):
                await stops[name].wait()

        for name in stops:
            tasks.create_task(process(name))
        for count in range(1, len(stops) + 1):
            await until(lambda count=count: len(log.began) == count)  # type: ignore[misc]
            stops[log.now[0]].set()
    assert sorted(log.began) == ["a", "b", "c", "d"]
    assert log.most == 1
    assert log.now == []


async def test_workers_are_led_each_for_itself(database_url: str) -> None:
    log = Log()
    async with runtime(database_url, log.worker("a", "one")):
        await until(lambda: log.now == ["a"])
        async with runtime(database_url, log.worker("b", "one"), log.worker("b", "other")):
            await until(lambda: log.now == ["a", "b"])
    assert log.began == ["a", "b"]


async def test_a_leader_whose_connection_is_lost_stops_at_once_and_leads_again_once_it_can(
    database_url: str, database: Database
) -> None:
    log = Log()
    async with runtime(database_url, log.worker("a")):
        await until(lambda: log.now == ["a"])
        for times in (2, 3):
            await database.fetch(f"SELECT pg_terminate_backend(pid, 5000) {LEADERS}")
            await until(lambda times=times: len(log.began) == times)  # type: ignore[misc]
        assert log.most == 1


async def test_a_leader_that_hears_nothing_has_stopped_before_another_leads(database_url: str) -> None:
    log = Log()
    lease = 1.0
    async with Proxy(database_url) as proxy, runtime(proxy.url, log.worker("a"), lease_seconds=lease):
        await until(lambda: log.now == ["a"])
        async with runtime(database_url, log.worker("b"), lease_seconds=lease):
            proxy.arm(Fault("stall", "now"))
            await until(lambda: log.now == ["b"])
            assert log.began == ["a", "b"]
            proxy.heal()
        await until(lambda: log.now == ["a"])
    assert log.most == 1


async def test_workers_begin_once_the_database_can_be_reached(database_url: str) -> None:
    log = Log()
    async with Proxy(database_url) as proxy:
        proxy.arm(Fault("reset", "now"))
        with capture_logs() as logs:
            async with runtime(proxy.url, log.worker("a")):
                await until(lambda: len([line for line in logs if "wait for the database" in line["event"]]) > 1)
                assert log.began == []
                proxy.heal()
                await until(lambda: log.now == ["a"])


@pytest.mark.parametrize(
    "failure", [ValueError("anna@example.com"), asyncio.CancelledError(), TimeoutError("anna@example.com")]
)
async def test_a_worker_that_fails_is_tried_again_and_holds_up_no_other(
    database_url: str, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.workers.runtime._FIRST_PAUSE", 0.01)
    times, failing = counting("failing")
    others, other = counting("other")
    before = metric("failures_total", "failing"), metric("seconds_count", "other")
    with capture_logs() as logs:
        async with runtime(database_url, failing(0.01, fails=failure), other(0.01)):
            await until(lambda: len(times) >= 4)
            assert metric("leader", "failing") == 1
            await until(lambda: len(others) >= 4)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[1] >= 0.02
    assert pauses[2] >= 0.04
    assert metric("failures_total", "failing") - before[0] == len(times)
    assert metric("seconds_count", "other") - before[1] >= 4
    assert metric("last_success_timestamp_seconds", "other") > metric("last_success_timestamp_seconds", "failing") == 0
    assert metric("leader", "failing") == metric("leader", "other") == 0
    failed = [line for line in logs if line["event"] == "a worker failed"]
    assert [line["failures"] for line in failed] == list(range(1, len(times) + 1))
    assert type(failure).__name__ in failed[0]["error"][0]
    assert "anna" not in str(logs)


def test_pauses_after_failures_grow_to_the_longest_or_the_interval() -> None:
    assert [pause_after(failures, 5) for failures in (1, 2, 3, 7, 2000)] == [1, 2, 4, 60, 60]
    assert [pause_after(failures, 3600) for failures in (1, 7, 2000)] == [1, 64, 3600]


async def test_a_worker_that_has_more_to_do_goes_on_at_once_and_then_waits(database_url: str) -> None:
    times, worker = counting()
    async with runtime(database_url, worker(3600, more=50)):
        await until(lambda: len(times) == 51)
        await asyncio.sleep(0.05)
        assert len(times) == 51


async def test_a_stop_is_prompt_and_leaves_nothing_half_done(database_url: str, database: Database) -> None:
    engine = create_engine(database_url, settings_for(database_url))
    await database.execute("CREATE TABLE work (done int)")

    async def run() -> bool:
        async with writing(engine) as session:
            await session.execute("INSERT INTO work VALUES (1)")
            await session.execute("SELECT pg_sleep(60)")
        return False

    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    async with runtime(database_url, Worker("test", 1, run)):
        await until(lambda: database.fetchval(sleeping))
        began = monotonic()
    assert monotonic() - began < 2
    assert await database.fetchval(sleeping) == 0
    assert await database.fetchval("SELECT count(*) FROM work") == 0
    await engine.dispose()


async def test_a_stop_does_not_wait_for_a_worker_that_hangs(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("percorso.workers.runtime._STOP_SECONDS", 0.05)
    began, end = asyncio.Event(), asyncio.Event()

    async def run() -> bool:
        began.set()
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()
        return False

    with capture_logs() as logs:
        async with runtime(database_url, Worker("test", 1, run)):
            await began.wait()
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["workers that hang are left"]
    end.set()
    await asyncio.sleep(0)


async def test_a_service_works_beside_its_requests_where_its_settings_say_so(
    database_url: str, database: Database, make: Make
) -> None:
    connections = f"SELECT count(*) {LEADERS}"
    async with running(database_url, background_workers=True) as (app, client):
        services: Services = app.state.services
        names = [worker.name for worker in workers_of(services)]
        assert "partitions" in names
        await until(lambda: all(metric("leader", name) == 1 for name in names))
        await until(lambda: metric("last_success_timestamp_seconds", "partitions") > 0)
        assert 'percorso_worker_leader{worker="partitions"} 1.0' in (await client.get("/metrics")).text
        assert await database.fetchval(connections) == 1
        assert await statuses(services, make()) == ["stored"]
    await until(lambda: database.fetchval(connections.replace("count(*)", "count(*) = 0")))
    async with running(database_url, background_workers=False):
        assert await database.fetchval(connections) == 0
