"""Three times as much is sent as the service can take: it takes what it can, and refuses the rest politely."""

import asyncio
import os
from collections import Counter
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Final

from faults.clusters import Cluster
from faults.forms import Form
from faults.generator import Outcome, Stream, generate
from faults.loads import Load
from faults.probes import Probe, many_files, peak_mib
from faults.report import Trial
from faults.servers import Service
from percorso.bench import load
from percorso.bench.processes import Server, send
from support import KEY

_TIMES: Final = 3
_GENERATORS: Final = 2
_CONCURRENT: Final = 200
"""Requests that the service may have in progress. What it takes waits for at most so many before it."""
_CONNECTIONS: Final = 900
"""Of each generator; together fewer than the service's backlog, so that none waits for the kernel to try again."""
_FILES: Final = 6_000
_MOST_MIB: Final = 300
_PROBES: Final = 50
_BACK_SECONDS: Final = 10
_LEAST_SHARE: Final = 0.2
_SLOWEST: Final = 4


async def test_three_times_as_much_as_it_can_take(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    seconds = form.seconds(short=10, full=60)
    trial.row.kind = f"{_TIMES} × what it can take, for {seconds:.0f} s"
    with many_files(_FILES):
        async with Service(home, cluster.url, max_concurrent_requests=_CONCURRENT) as service:
            server = Server(service.pid, service.port)
            begun = _cpu(server)
            capacity, count = await _capacity(service.port, trial)
            usual_price = (_cpu(server) - begun) / count
            async with Probe(service.port, trial.ledger) as probe:
                await probe.more(_PROBES)
                usual = probe.p99()
            begun = _cpu(server)
            outcomes = await _overload(service.port, trial, rate=_TIMES * capacity, seconds=seconds)
            spent = _cpu(server) - begun
            over = monotonic()
            async with Probe(service.port, trial.ledger) as probe:
                normal = max(3 * usual, 0.1)
                while True:
                    since = probe.taken()
                    await probe.more(_PROBES)
                    if probe.p99(since=since) < normal:
                        break
                    assert monotonic() < over + _BACK_SECONDS
            back = monotonic() - over
            peak = peak_mib(service.pid)
            trial.row.rounds += 1
            async with Load([service.port], trial.ledger, clients=4, retry=False) as rest:
                await trial.settle(rest)
    statuses = Counter(status for outcome in outcomes for status in outcome.statuses)
    taken = sorted(
        waited
        for outcome in outcomes
        for status, waited in zip(outcome.statuses, outcome.seconds, strict=True)
        if status == 201
    )
    p99 = taken[ceil(len(taken) * 0.99) - 1]
    rate, answered = len(taken) / (seconds + taken[-1]), statuses.total() / (seconds + taken[-1])
    trial.row.remark = (
        f"can take {capacity:.0f}/s, took {rate:.0f}/s with p99 {p99 * 1000:.0f} ms, refused "
        f"{statuses[503] / seconds:.0f}/s, at most {peak:.0f} MiB, usual latency {back:.1f} s later"
    )
    assert set(statuses) == {201, 503}
    # Generators that are late themselves offer less than they should.
    assert max(outcome.late for outcome in outcomes) < 1
    # The generators take processor time from the service, so what it took is held against the time that it had: most
    # of that may go into refusing, but not nearly all.
    assert len(taken) > _LEAST_SHARE * spent / usual_price
    # By Little's law a request is looked at after connections / answered seconds in the mean, and what is taken of them
    # is through after another concurrent / taken; several times that is allowed to the slowest of a hundred.
    assert p99 < _SLOWEST * (_GENERATORS * _CONNECTIONS / answered + _CONCURRENT / rate)
    assert peak < _MOST_MIB


def _cpu(server: Server) -> float:
    used = server.cpu_seconds()
    assert used is not None, "the system does not say what processor time a process took"
    return used


async def _capacity(port: int, trial: Trial) -> tuple[float, int]:
    """The single events a second that it takes from clients that wait for their answers, and how many that were."""
    ledger = trial.ledger
    work = load.Load(
        "single", port, KEY, 64, source=ledger.source, now=ledger.now.isoformat(), first=ledger.sent, seconds=5
    )
    done = await asyncio.to_thread(send, work, os.environ)
    for number in ledger.new(done.following - done.first):
        ledger.acknowledge(number, "stored")
    assert done.missing == []
    return done.acknowledged / done.seconds, done.acknowledged


async def _overload(port: int, trial: Trial, *, rate: float, seconds: float) -> list[Outcome]:
    """Send so much, and note what was acknowledged."""
    ledger = trial.ledger
    count = int(rate * seconds / _GENERATORS)
    numbers = [ledger.new(count) for _ in range(_GENERATORS)]
    outcomes = await asyncio.gather(
        *(
            generate(
                Stream(port, ledger.source, ledger.now.isoformat(), each[0], count, rate / _GENERATORS, _CONNECTIONS)
            )
            for each in numbers
        )
    )
    for each, outcome in zip(numbers, outcomes, strict=True):
        for number, status in zip(each, outcome.statuses, strict=True):
            if status in {200, 201}:
                ledger.acknowledge(number, "stored" if status == 201 else "duplicate")
    return list(outcomes)
