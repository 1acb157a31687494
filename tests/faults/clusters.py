"""A PostgreSQL server of a test's own: made from binaries, durable as in production, ended in every way there is."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeAlias

import asyncpg

from percorso.ops import embedded_place
from percorso.ops.embedded_place import Place

Database: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

NAME: Final = "percorso"
"""The database, and the role without privileges that owns it: what a service connects as."""

_START_SECONDS: Final = 60
_SETTINGS: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "listen_addresses": "127.0.0.1",
    "log_checkpoints": "off",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "synchronous_commit": "on",
    "unix_socket_directories": "",
}


def place_of(directory: Path) -> Place:
    """Where a server can run below this directory: the binaries are those of PGBIN, or the embedded ones."""
    place = embedded_place.find(directory)
    binaries = os.environ.get("PGBIN")
    return replace(place, programs=Path(binaries).resolve()) if binaries else place


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Cluster:
    """One server. `create` or `copy` makes its files; it may be started and ended any number of times.

    `within` is a command that runs another where the server's files are, if they are not there for everyone.
    """

    def __init__(self, place: Place, *, within: Sequence[str] = (), **settings: str) -> None:
        self.place = place
        self._within = within
        self.port = free_port()
        self._settings = _SETTINGS | settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _log(self) -> Path:
        return self.place.home.with_suffix(".log")

    @property
    def url(self) -> str:
        """The database, as the role that owns it."""
        return f"postgresql://{NAME}@127.0.0.1:{self.port}/{NAME}"

    @property
    def admin_url(self) -> str:
        """The database, as the superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{NAME}"

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs to its end, as the server's user."""
        done = self.place.run(program, *arguments, timeout=_START_SECONDS)
        assert done.returncode == 0, done.stderr

    async def create(self) -> None:
        """Make the files, and an empty database; the server runs when this returns."""
        options = ("-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        await asyncio.to_thread(self.run, "initdb", "-D", str(self.place.data), *options)
        await self.start()
        first = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
        try:
            await first.execute(f"CREATE ROLE {NAME} LOGIN")
            await first.execute(f"CREATE DATABASE {NAME} OWNER {NAME}")
        finally:
            await first.close()

    async def copy(self, template: "Cluster") -> None:
        """Take the files of another server, which must not run; owners and modes stay."""
        command = (*self._within, "cp", "-a", str(template.place.data), str(self.place.data))
        await asyncio.to_thread(subprocess.run, command, check=True)

    async def follow(self, primary: "Cluster") -> None:
        """Take the files of a server that runs, and become its standby."""
        conninfo = f"host=127.0.0.1 port={primary.port} user=postgres"
        options = (
            "-D",
            str(self.place.data),
            "-d",
            conninfo,
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        )
        await asyncio.to_thread(self.run, "pg_basebackup", *options)
        await self.start()

    async def start(self, **settings: str) -> None:
        """Start it, with these settings beside its own, and wait until it answers.

        What a killed server left behind refuses a new one until it is gone, so that is tried again.
        """
        end = monotonic() + _START_SECONDS
        while True:
            self._process = self._launched(settings)
            while self._process.poll() is None:
                if await self._answers():
                    return
                assert monotonic() < end, self.log()
                await asyncio.sleep(0.02)
            assert monotonic() < end, self.log()
            await asyncio.sleep(0.05)

    def _launched(self, settings: dict[str, str]) -> subprocess.Popen[bytes]:
        program = str(self.place.programs / "postgres")
        command = (*self._within, program, "-D", str(self.place.data), "-p", str(self.port))
        options = (f"--{name}={value}" for name, value in (self._settings | settings).items())
        account = self.place.account
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*command, *options],
                cwd="/",
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.admin_url.rpartition("/")[0] + "/postgres", timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    @property
    def running(self) -> bool:
        """Whether the postmaster lives."""
        return self._process is not None and self._process.poll() is None

    async def end(self, how: signal.Signals) -> None:
        """End the postmaster: SIGINT stops it in order, SIGQUIT at once, as a crash does; SIGKILL it cannot see."""
        assert self._process is not None
        self._process.send_signal(how)
        await asyncio.to_thread(self._process.wait, _START_SECONDS)

    async def close(self) -> None:
        """End it, if it runs, and remove its files."""
        if self.running:
            await self.end(signal.SIGQUIT)
        await asyncio.to_thread(shutil.rmtree, self.place.home, ignore_errors=True)

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Database]:
        """A connection as the superuser, whatever it takes to get one within the time of a start."""
        end = monotonic() + _START_SECONDS
        while True:
            try:
                connection = await asyncpg.connect(self.admin_url, timeout=5)
                break
            except (OSError, TimeoutError, asyncpg.PostgresError):
                assert monotonic() < end, self.log()
                await asyncio.sleep(0.05)
        try:
            yield connection
        finally:
            connection.terminate()

    async def execute(self, *statements: str) -> None:
        """Run these as the superuser, each for itself."""
        async with self.admin() as connection:
            for statement in statements:
                await connection.execute(statement)

    async def value(self, query: str) -> Any:
        """Ask one thing as the superuser."""
        async with self.admin() as connection:
            return await connection.fetchval(query)

    async def backends(self, application: str = "percorso-writer") -> list[int]:
        """The server's processes that serve connections of this name."""
        async with self.admin() as connection:
            records = await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE application_name = $1", application
            )
        return [record["pid"] for record in records]

    def log(self) -> str:
        """The end of what the server wrote."""
        return self._log.read_text(errors="replace")[-4000:]
