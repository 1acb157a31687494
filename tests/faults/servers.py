"""`percorso serve` as a process of its own: started, found ready, ended in order or not."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from faults.clients import Connection
from faults.clusters import free_port
from support import KEY
from writing import until

_COMMAND: Final = (sys.executable, "-m", "percorso")
READY_SECONDS: Final = 60
"""How long a start may take: these machines are slow, and busy."""


def run(home: Path, *arguments: str, **environment: str) -> None:
    """Run another percorso command to its end."""
    done = subprocess.run(
        [*_COMMAND, *arguments], cwd=home, env=_environment(environment), capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr


def _environment(given: dict[str, str]) -> dict[str, str]:
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("PERCORSO_", "PG"))}
    return usual | {"PYTHONUNBUFFERED": "1"} | given


class Service:
    """The command with one process, or several workers under its supervisor, always on the same port.

    `settings` become PERCORSO_<NAME>; `command` is what runs in the place of `percorso`. As a context it is started and
    ready, and nothing of it is left afterwards.
    """

    def __init__(
        self, home: Path, database_url: str, *, workers: int = 1, command: Sequence[str] = _COMMAND, **settings: object
    ) -> None:
        self.port = free_port()
        self.count = workers
        self._home = home
        self._command = (*command, "serve", "--port", str(self.port), "--workers", str(workers))
        self._environment = {
            "PERCORSO_DATABASE_URL": database_url,
            "PERCORSO_BOOTSTRAP_KEY": KEY,
            "PERCORSO_LOG_LEVEL": "warning",
            "PERCORSO_LOG_FORMAT": "json",
            "TMPDIR": str(home),
        } | {f"PERCORSO_{name.upper()}": str(value) for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    def launch(self) -> None:
        """Start the command."""
        with self._log.open("ab") as log:
            # A session of its own: what a killed supervisor leaves behind is ended with its group.
            self._process = subprocess.Popen(
                self._command,
                cwd=self._home,
                env=_environment(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start(self) -> None:
        """Start the command and wait until it is ready."""
        self.launch()
        await self.ready()

    async def ready(self) -> None:
        """Wait until it answers that it is ready."""

        async def is_ready() -> bool:
            assert self.running, f"the service has ended:\n{self.log()}"
            return await status(self.port, "/health/ready") == 200

        await until(is_ready, READY_SECONDS)

    @property
    def running(self) -> bool:
        """Whether the process that was started lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process that was started: the service, or the supervisor of its workers."""
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """The processes that serve requests."""
        if self.count == 1:
            return [self.pid]
        listed = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, check=True, text=True
        )
        found = [line.split(None, 3) for line in listed.stdout.splitlines()]
        return [
            int(pid)
            for pid, parent, state, arguments in found
            if int(parent) == self.pid and not state.startswith("Z") and "spawn_main" in arguments
        ]

    async def terminate(self, seconds: float) -> int:
        """Send SIGTERM; the status with which it ends, which it must within so many seconds."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self._process.wait, seconds)

    async def kill(self) -> None:
        """End it, and whatever it has started, by SIGKILL."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.to_thread(self._process.wait, READY_SECONDS)

    @property
    def _log(self) -> Path:
        return self._home / f"service-{self.port}.log"

    def log(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""


async def status(port: int, path: str) -> int | None:
    """The status of this path, asked on a connection of its own; None where there is no answer within 10 s."""
    try:
        async with asyncio.timeout(10), Connection(port) as connection:
            return (await connection.ask("GET", path)).status
    except (OSError, TimeoutError):
        return None
