"""The disk of the database is full: what cannot be written is refused, until there is room again."""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import pytest

from faults.clusters import Cluster, place_of
from faults.forms import Form
from faults.loads import Load
from faults.report import Trial
from faults.servers import Service
from faults.watch import Watch
from percorso.ops.embedded_place import Place

_MEBIBYTES = 640


@dataclass(frozen=True, slots=True)
class Disk:
    """A small file system at `path`, as whoever runs the command `within` sees it."""

    path: Path
    within: Sequence[str]

    def run(self, *command: str) -> int:
        """Run a command there; its status."""
        return subprocess.run([*self.within, *command], capture_output=True, check=False).returncode

    def fill(self) -> None:
        """Write until nothing more fits."""
        assert self.run("dd", "if=/dev/zero", f"of={self.path}/ballast", "bs=256k") == 1

    def empty(self) -> None:
        """Take away what `fill` wrote."""
        assert self.run("rm", f"{self.path}/ballast") == 0


@pytest.fixture
def place(home: Path) -> Place:
    """A server's place on the small disk."""
    disk = home / "disk"
    disk.mkdir()
    return replace(place_of(home / "cluster"), home=disk)


@pytest.fixture
def disk(place: Place) -> Iterator[Disk]:
    """The small disk, in memory: mounted by root for all, or by any other user in a namespace of their own."""
    options = f"size={_MEBIBYTES}m,mode=700"
    if place.account is not None:
        options += f",uid={place.account.uid},gid={place.account.gid}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place.home], check=True)
        yield Disk(place.home, ())
        subprocess.run(["umount", place.home], check=True)
        return
    script = f'mount -t tmpfs -o {options} tmpfs "$0" && echo mounted && exec cat'
    with subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, place.home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n"
        enter = ("nsenter", "--user", "--mount", "--preserve-credentials", "--target", str(holder.pid))
        # PostgreSQL runs as nobody who is root, in whatever namespace.
        as_before = ("unshare", "--user", f"--map-user={os.getuid()}", f"--map-group={os.getgid()}")
        yield Disk(place.home, (*enter, *as_before))


@pytest.fixture
async def cluster(place: Place, disk: Disk, template: Cluster) -> AsyncIterator[Cluster]:
    """A migrated server on the small disk."""
    made = Cluster(place, within=disk.within, max_wal_size="64MB", min_wal_size="32MB")
    await made.copy(template)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def test_the_disk_is_full(home: Path, disk: Disk, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "Postgres out of disk"
    crashes = 0
    async with (
        Service(home, cluster.url) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger, clients=6) as load,
    ):
        for _ in range(form.rounds(short=1, full=10)):
            await load.acknowledged_more(random.randint(1, 50))
            begun = monotonic()
            disk.fill()
            await load.refused_more(6)
            await watch.unready_after(begun)
            await asyncio.sleep(random.uniform(0, 2))
            disk.empty()
            # Where it could not write its log either, the server has ended, and whoever runs it starts it again.
            if not cluster.running:
                crashes += 1
                await cluster.start()
            await trial.recovered(load, watch, monotonic())
        await trial.settle(load)
        assert watch.live.keys() == {200}
    assert load.hung_up == 0
    trial.row.remark = f"the server itself gave up {crashes} times"
