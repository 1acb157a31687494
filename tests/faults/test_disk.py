"""The disk of the database is full: what cannot be written is refused, until there is room again."""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic

import pytest

from faults.clusters import Cluster, place_of
from faults.forms import Form
from faults.loads import Load
from faults.report import Trial
from faults.servers import Service
from faults.watch import Watch

_DISK_BYTES = 640 * 1024 * 1024
_LEFT_BYTES = 1024 * 1024


@pytest.fixture
def disk(home: Path) -> Iterator[Path]:
    """A small file system of its own, in memory."""
    path = home / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=755", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.fixture
async def cluster(disk: Path, template: Cluster) -> AsyncIterator[Cluster]:
    """A migrated server on the small disk."""
    made = Cluster(place_of(disk / "cluster"), max_wal_size="64MB", min_wal_size="32MB")
    await made.copy(template)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def test_the_disk_is_full(home: Path, disk: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "Postgres out of disk"
    crashes = 0
    async with (
        Service(home, cluster.url) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger, clients=6) as load,
    ):
        for _ in range(form.rounds(short=1, full=10)):
            await load.acknowledged_more(random.randint(1, 50))
            ballast = disk / "ballast"
            begun = monotonic()
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _free(disk) - _LEFT_BYTES)
            await load.refused_more(6)
            await watch.unready_after(begun)
            await asyncio.sleep(random.uniform(0, 2))
            ballast.unlink()
            # Where it could not write its log either, the server has ended, and whoever runs it starts it again.
            if not cluster.running:
                crashes += 1
                await cluster.start()
            await trial.recovered(load, watch, monotonic())
        await trial.settle(load)
        assert watch.live.keys() == {200}
    assert load.hung_up == 0
    trial.row.remark = f"the server itself gave up {crashes} times"


def _free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
