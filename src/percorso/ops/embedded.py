"""The embedded PostgreSQL: made, started, found again and stopped.

One process owns the server of a data directory, and holds its lock as long as it lives. Other processes beside it, such
as commands, connect to the running server. A server left behind by an owner that was killed is taken over by the next.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from percorso.errors import StartupError
from percorso.ops import embedded_place
from percorso.ops.embedded_place import PORT, USE_ANOTHER, Place

if sys.platform != "win32":
    import fcntl

DATABASE = "percorso"
SUPERUSER = "postgres"
# After a crash the server first replays up to `max_wal_size` of its log, which can take minutes on a slow disk.
START_SECONDS = 300
# For commands beside an owner that is itself starting.
READY_SECONDS = 60
STOP_SECONDS = 60
LOG_TAIL_LINES = 15

SETTINGS = {
    "cluster_name": "percorso",
    "fsync": "on",
    "full_page_writes": "on",
    "jit": "off",
    "listen_addresses": "",
    "log_checkpoints": "off",  # the log grows until the next start: it is for what went wrong
    "log_destination": "stderr",
    "log_min_messages": "warning",
    "logging_collector": "off",
    "max_connections": "200",
    "max_wal_size": "4GB",
    "port": str(PORT),
    "shared_buffers": "256MB",
    "synchronous_commit": "on",
    "unix_socket_permissions": "0700",
    "wal_level": "replica",
}
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A server that accepts connections at `url`, with its cluster in `data`; `owned` if this process is to stop it."""

    url: str
    data: Path
    owned: bool
    _place: Place = field(repr=False)
    _lock: TextIO | None = field(repr=False)

    def stop(self) -> None:
        """Stop the server if it is owned, ending open connections; once more does nothing.

        Raises StartupError where it does not end.
        """
        if self._lock is None or self._lock.closed:
            return
        with self._lock:
            try:
                _stop(self._place)
            except OSError as error:
                raise StartupError(f"The PostgreSQL in {self.data} cannot be stopped: {error}.") from error


def start(data_dir: Path, *, exclusive: bool, fsync: bool = True) -> EmbeddedPostgres:
    """Start the server of `data_dir`, made first if need be, and wait until it answers.

    Where another process owns it, `exclusive` raises StartupError; otherwise its running server is returned, not owned.
    `fsync=False` is for tests: faster, and a crash of the machine loses data.

    Raises StartupError for whatever prevents it, and says what to do.
    """
    if sys.platform == "win32":
        raise StartupError(f"There is no embedded PostgreSQL on Windows. {USE_ANOTHER}")
    try:
        data_dir = data_dir.expanduser().absolute()
        place = embedded_place.find(data_dir.resolve())
        return _own_or_join(place, data_dir, exclusive=exclusive, fsync=fsync)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # pathlib's RuntimeError: no home, or a loop
        raise StartupError(
            f"The embedded PostgreSQL cannot use {data_dir}: {error}. Mend that, or name another directory in "
            f"PERCORSO_DATA_DIR. {USE_ANOTHER}"
        ) from error


def _own_or_join(place: Place, data_dir: Path, *, exclusive: bool, fsync: bool) -> EmbeddedPostgres:
    deadline = time.monotonic() + READY_SECONDS
    while (lock := _take_lock(place)) is None:
        pid = (place.home / "lock").read_text().strip()
        owner = f"process {pid}" if pid else "another process"
        if exclusive:
            raise StartupError(
                f"{data_dir} is in use by {owner}. Stop that process first, or name another directory in "
                "PERCORSO_DATA_DIR."
            )
        socket = _recorded_socket(place)
        if socket is not None and _query(place, socket, DATABASE, "SELECT 1") is not None:
            return EmbeddedPostgres(_url(socket), place.data, owned=False, _place=place, _lock=None)
        if time.monotonic() > deadline:
            raise StartupError(
                f"The PostgreSQL of {data_dir}, owned by {owner}, is not ready after {READY_SECONDS} s. "
                f"See {place.log}, or stop that process.{_log_tail(place)}"
            )
        time.sleep(0.1)
    try:
        socket = _serve(place, fsync=fsync)
    except BaseException:
        lock.close()
        raise
    return EmbeddedPostgres(_url(socket), place.data, owned=True, _place=place, _lock=lock)


def _take_lock(place: Place) -> TextIO | None:
    """The lock with this process's pid in it, held until it is closed or the process ends; None if another holds it."""
    lock = os.fdopen(os.open(place.home / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")
    try:
        if place.account is not None:
            # So that the account may own the same directory later, without root.
            os.fchown(lock.fileno(), place.account.uid, place.account.gid)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
    except BlockingIOError:
        lock.close()
        return None
    except BaseException:
        lock.close()
        raise
    return lock


def _serve(place: Place, *, fsync: bool) -> Path:
    """Bring the server up, under the lock; returns its socket's directory."""
    if not place.data.exists():
        _initialise(place, fsync=fsync)
    _check_version(place)
    socket = _adopted(place)
    if socket is None:
        socket = _started(place, fsync=fsync)
    try:
        if not _query(place, socket, "postgres", f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):  # noqa: S608
            _check(place.run("createdb", *_connection(socket), DATABASE), f"The database {DATABASE} cannot be made")
    except BaseException:
        _stop(place)
        raise
    return socket


def _initialise(place: Place, *, fsync: bool) -> None:
    making = place.home / "initdb"
    if making.exists():
        shutil.rmtree(making)
    done = place.run(
        "initdb",
        "--auth=trust",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--locale=C",
        "--no-instructions",
        f"--pgdata={making}",
        f"--username={SUPERUSER}",
        *([] if fsync else ["--no-sync"]),
    )
    _check(done, f"A PostgreSQL cluster cannot be made in {place.home}")
    making.rename(place.data)
    if fsync:
        home = os.open(place.home, os.O_RDONLY)
        try:
            os.fsync(home)
        finally:
            os.close(home)


def _check_version(place: Place) -> None:
    try:
        found = (place.data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise StartupError(
            f"{place.data} is not a PostgreSQL cluster. Move it away, or name another directory in PERCORSO_DATA_DIR."
        ) from None
    installed = embedded_place.major_version()
    if found != installed:
        raise StartupError(
            f"{place.data} was made by PostgreSQL {found}, and PostgreSQL {installed} is installed, which cannot "
            f"read it. Install the percorso that made it and take a dump with pg_dump, or convert it with pg_upgrade."
        )


def _adopted(place: Place) -> Path | None:
    """The socket's directory of a server that a killed owner left behind; None if there is none, or it has ended."""
    deadline = time.monotonic() + START_SECONDS
    while (pid := _postmaster(place)) is not None:
        socket = _recorded_socket(place)
        if socket is not None and _query(place, socket, "postgres", "SELECT 1") is not None:
            return socket
        if time.monotonic() > deadline:
            raise StartupError(
                f"A PostgreSQL left behind as process {pid} has {place.data} open and does not answer. "
                f"Stop it with `kill -INT {pid}` and start again.{_log_tail(place)}"
            )
        time.sleep(0.1)
    return None


def _started(place: Place, *, fsync: bool) -> Path:
    socket = embedded_place.socket_directory(place)
    _disown_stale_pid(place, socket)
    quoted = os.fspath(socket).replace('"', '""')
    settings = SETTINGS | ({} if fsync else NOT_DURABLE) | {"unix_socket_directories": f'"{quoted}"'}
    options = ["-D", os.fspath(place.data)]
    for name, value in settings.items():
        options += ["-c", f"{name}={value}"]
    log = _new_log(place)
    try:
        # The log goes by standard output and the directory by quoted options: pg_ctl hands both its own -l and -D to a
        # shell within double quotes, where a "$" in the path would not be itself.
        done = place.run(
            "pg_ctl",
            "start",
            "--wait",
            "--silent",
            f"--timeout={START_SECONDS}",
            f"--pgdata={place.data}",
            f"--options={shlex.join(options)}",
            output=log,
        )
    finally:
        os.close(log)
    if done.returncode != 0:
        raise StartupError(
            f"PostgreSQL does not start on {place.data}. Mend what its log says and start again. {USE_ANOTHER}"
            f"{_log_tail(place)}{_indented(done.stderr)}"
        )
    return socket


def _stop(place: Place) -> None:
    for mode in ("fast", "immediate"):  # immediate loses nothing that was committed: the next start replays it
        arguments = ("stop", "--wait", "--silent", f"--mode={mode}", f"--timeout={STOP_SECONDS}")
        done = place.run("pg_ctl", *arguments, f"--pgdata={place.data}")
        pid = _postmaster(place)
        if done.returncode == 0 or pid is None:
            return
    raise StartupError(f"PostgreSQL, process {pid}, does not stop. Stop it with `kill -QUIT {pid}`.{_log_tail(place)}")


def _postmaster(place: Place) -> int | None:
    """The pid of the server running on the cluster; None if it does not run, whatever its pid file says."""
    lines = _pid_file(place)
    try:
        pid = int(lines[0])
    except (IndexError, ValueError):
        return None
    return pid if os.fspath(place.data) in _command_line(pid) else None


def _recorded_socket(place: Place) -> Path | None:
    """The socket's directory that the server wrote in its pid file: the fifth line."""
    lines = _pid_file(place)
    return Path(lines[4]) if len(lines) > 4 and lines[4] else None  # noqa: PLR2004 - see above


def _pid_file(place: Place) -> list[str]:
    try:
        return (place.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _command_line(pid: int) -> list[str]:
    """The arguments of a process, none if there is no such process."""
    if sys.platform == "linux":
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
        except (FileNotFoundError, ProcessLookupError):
            return []
    else:
        command = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
        done = subprocess.run(command, capture_output=True, check=False, text=True)  # noqa: S603 - fixed, and a number
        return re.split(" -[cD] ", done.stdout.strip())


def _disown_stale_pid(place: Place, socket: Path) -> None:
    """Let the server start where the pid in a pid file left behind has meanwhile become another process's.

    That is the rule in containers, where each start gives out the same pids; the server would take such a process for
    itself and refuse. The pid of its own starter it disregards, and still looks for shared memory in use.
    """
    lines = _pid_file(place)
    if not lines:
        return
    (socket / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
    with os.fdopen(os.open(place.data / "postmaster.pid", os.O_RDWR | os.O_NOFOLLOW), "r+") as file:
        file.write("\n".join([str(os.getpid()), *lines[1:], ""]))
        file.truncate()


def _new_log(place: Place) -> int:
    with contextlib.suppress(FileNotFoundError):
        place.log.replace(place.log.with_name("server.log.1"))
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    if place.account is not None:
        os.fchown(log, place.account.uid, place.account.gid)
    return log


def _query(place: Place, socket: Path, database: str, query: str) -> str | None:
    """What the server answers, None where it does not."""
    arguments = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", *_connection(socket), "-c", query, database)
    try:
        done = place.run("psql", *arguments, timeout=10)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _connection(socket: Path) -> tuple[str, ...]:
    return (f"--host={socket}", f"--port={PORT}", f"--username={SUPERUSER}", "--no-password")


def _url(socket: Path) -> str:
    # The port stands there so that a PGPORT in the environment does not replace it.
    return f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(os.fspath(socket))}&port={PORT}"


def _check(done: subprocess.CompletedProcess[str], failure: str) -> None:
    if done.returncode != 0:
        raise StartupError(f"{failure}. {USE_ANOTHER}{_indented(done.stderr)}")


def _log_tail(place: Place) -> str:
    try:
        return _indented(place.log.read_text(errors="replace"))
    except OSError:
        return ""


def _indented(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "".join(f"\n    {line}" for line in lines[-LOG_TAIL_LINES:])
