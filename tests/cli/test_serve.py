"""`percorso serve` as a person starts it: on its own database, tried with the curl it prints, stopped with Ctrl-C."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

POSTMASTER = ".percorso/postgresql/data/postmaster.pid"


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that the server's user can enter, which pytest's own need not be."""
    with tempfile.TemporaryDirectory(prefix="percorso-serve-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@contextmanager
def serving(home: Path, *options: str, stop: int = signal.SIGINT) -> Iterator[list[str]]:
    """The command on its embedded database; the words of the curl it prints. Stopped by a signal, it ends well."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PERCORSO_")}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "percorso", "serve", "--port", "0", *options],
            cwd=home,
            env=environment | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(home)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            curl = next((line for line in process.stdout if line.startswith("curl ")), None)
            assert curl is not None, (home / "log").read_text()
            yield shlex.split(curl)
            process.send_signal(stop)
            assert process.wait(30) == 0, (home / "log").read_text()
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def run(curl: list[str]) -> httpx.Response:
    """Do what curl would do of it, as far as the printed one goes; wait until the workers listen."""
    header, url, body = curl[curl.index("-H") + 1], curl[3], curl[curl.index("-d") + 1]
    name, _, value = header.partition(": ")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with httpx.Client(transport=httpx.HTTPTransport(retries=8), timeout=30) as client:
        return client.post(url, content=body, headers={name: value} | form)


def test_what_it_prints_works_when_pasted_and_a_second_start_keeps_the_data(home: Path) -> None:
    with serving(home) as curl:
        assert run(curl).json()["status"] == "stored"
        assert (home / POSTMASTER).exists()
    assert not (home / POSTMASTER).exists()
    with serving(home, stop=signal.SIGTERM) as again:
        assert again[2] == curl[2]
        assert run(again).json()["status"] == "duplicate"
    assert not (home / POSTMASTER).exists()


def test_several_workers_count_together_and_leave_nothing_behind(home: Path) -> None:
    with serving(home, "--workers", "2") as curl:
        for number in range(4):
            answer = run([*curl[:-1], curl[-1].replace('"1"', f'"{number}"')])
            assert answer.status_code == 201
        metrics = httpx.get(str(answer.url.copy_with(path="/metrics"))).text
        assert 'percorso_interactions_total{status="stored"} 4.0' in metrics
    assert sorted(path.name for path in home.iterdir()) == [".percorso", "log"]
