"""The processes of a bench: servers and load generators, each started here and ended by its pid."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from percorso.bench.load import PATIENCE_SECONDS, Load, Loaded
from percorso.errors import StartupError

_STOP_SECONDS: Final = 30
_SLOWEST: Final = 100
"""Events per second below which a load of so many events is given up."""
_TAIL: Final = 2000


@dataclass(frozen=True, slots=True)
class Server:
    """A server that takes requests on this port of 127.0.0.1."""

    pid: int
    port: int

    def cpu_seconds(self) -> float | None:
        """What it has used of processors so far; None where the system does not say."""
        with suppress(OSError, ValueError, IndexError):
            after_name = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
        return None

    def peak_mib(self) -> float | None:
        """The most memory it has held so far; None where the system does not say."""
        return self._status("VmHWM:")

    def held_mib(self) -> float | None:
        """The memory it holds; None where the system does not say."""
        return self._status("VmRSS:")

    def _status(self, name: str) -> float | None:
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith(name):
                    return int(line.split()[1]) / 1024
        return None


@contextmanager
def serving(name: str, environment: Mapping[str, str]) -> Iterator[Callable[[], Server]]:
    """Start one of `server.APPLICATIONS`, stopped at the end; what is given waits until it serves."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "percorso.bench.server", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(environment),
        )
        assert process.stdin is not None  # noqa: S101 - piped
        with process.stdin:
            try:
                yield lambda: _served(name, process, log)
            finally:
                process.terminate()
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _served(name: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> Server:
    """The server, once it says its port."""
    assert process.stdout is not None  # noqa: S101 - piped
    with process.stdout:
        port = process.stdout.readline()
    if not port:
        raise StartupError(f"The bench's server {name!r} does not start: {_end_of(log)}")
    return Server(process.pid, int(port))


def _end_of(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read()[-_TAIL:].decode(errors="replace")


def send(load: Load, environment: Mapping[str, str]) -> Loaded:
    """Send this load from a process of its own."""
    seconds = 60 + 2 * PATIENCE_SECONDS + (load.seconds or 0) + (load.count or 0) / _SLOWEST
    try:
        done = subprocess.run(
            [sys.executable, "-m", "percorso.bench.load"],
            input=json.dumps(asdict(load)).encode(),
            capture_output=True,
            check=False,
            env=dict(environment),
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise StartupError(f"A load has not ended after {seconds:.0f} s: the machine is too slow for it.") from None
    if done.returncode != 0:
        raise StartupError(f"The load generator failed: {done.stderr[-_TAIL:].decode(errors='replace')}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return Loaded(**answer | {"missing": [tuple(pair) for pair in answer["missing"]]})
