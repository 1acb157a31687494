"""The image, as far as it can be had without a daemon: its commands, as its user, where nothing can be written to."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest

from exchanges import journey_of, serving_at
from percorso.settings import Settings
from support import Make, database_of
from writing import Way, until

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
RUNNING: Final = DOCKERFILE.rpartition("\nFROM ")[2].replace("\\\n", " ")
"""The stage that is shipped, a line an instruction."""
UID: Final = 10001
ENVIRONMENT: Final = dict(re.findall(r"(\w+)=(\S+)", re.findall(r"^ENV (.*)$", RUNNING, re.MULTILINE)[0]))

# Of what is mounted nothing may be written, but for a directory `$1` where that is given. The user may read everything,
# since this Python need not be where it can: in the image it is.
BOX: Final = """
set -e
writable=$1; shift
[ -z "$writable" ] || mount -t tmpfs -o mode=1777 tmpfs "$writable"
awk '{print $5}' /proc/self/mountinfo | while read -r each; do
  [ "$each" = "$writable" ] || mount -o remount,bind,ro "$each" 2>/dev/null || true
done
exec setpriv --reuid %(uid)d --regid %(uid)d --clear-groups --no-new-privs --inh-caps=-all,+dac_read_search \
  --ambient-caps=-all,+dac_read_search --bounding-set=-all,+dac_read_search -- "$@"
""" % {"uid": UID}  # noqa: UP031 - braces are the shell's


def instruction(name: str) -> list[str]:
    """What the instructions of this name say, in order."""
    return re.findall(rf"^{name} +(.*)$", RUNNING, re.MULTILINE)


def healthcheck() -> list[str]:
    [said] = instruction("HEALTHCHECK")
    return list(json.loads(said.partition("CMD ")[2]))


def said(file: Path) -> str:
    return file.read_text()


def boxed(*command: str, writable: str = "") -> list[str]:
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", BOX, "sh", writable, *command]


@pytest.fixture(scope="module")
def read_only() -> None:
    """Skip where this user may not make what is mounted read-only for a process."""
    asked = boxed("sh", "-c", "! touch /var/tmp/percorso-box")
    if not (shutil.which("unshare") and shutil.which("setpriv")) or subprocess.run(asked, check=False).returncode:
        pytest.skip("mounting things read-only for a process takes a Linux, util-linux and root")


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="percorso-box-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
async def way(server_url: str) -> AsyncIterator[str]:
    """An empty database, reached by TCP: the image's user may not use the socket of another's server."""
    name = f"percorso_box_{os.urandom(4).hex()}"
    connection = await asyncpg.connect(server_url)
    await connection.execute(f"CREATE DATABASE {name}")
    async with Way(database_of(server_url, name)) as made:
        yield made.url
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


def environment(database_url: str, **given: str) -> dict[str, str]:
    """That of a container: what the image says, and one variable."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    sources = {"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return ENVIRONMENT | sources | {"PATH": path, "PERCORSO_DATABASE_URL": database_url} | given


async def once(database_url: str, *arguments: str) -> str:
    """What a one-shot command prints, which must go well."""
    started = await asyncio.create_subprocess_exec(
        *boxed(sys.executable, "-m", "percorso", *arguments),
        cwd="/",
        env=environment(database_url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await asyncio.wait_for(started.communicate(), 120)
    assert started.returncode == 0, errors.decode()
    return printed.decode()


@asynccontextmanager
async def serving(
    database_url: str, log: Path, *, writable: str = "", given: Mapping[str, str]
) -> "AsyncIterator[tuple[str, asyncio.subprocess.Process]]":
    """The image's usual command; its address. Stopped as Docker and Kubernetes do, it must end well."""
    with log.open("wb") as errors:
        started = await asyncio.create_subprocess_exec(
            *boxed(sys.executable, "-m", "percorso", "serve", "--port", "0", writable=writable),
            cwd="/",
            env=environment(database_url, **given),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert started.stdout is not None
        url = None
        while line := await asyncio.wait_for(started.stdout.readline(), 60):
            if found := re.search(r"http://0\.0\.0\.0:(\d+)", line.decode()):
                url = f"http://127.0.0.1:{found[1]}"
                break
        assert url is not None, said(log)
        yield url, started
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), 40) == 0, said(log)
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def use(url: str, key: str, make: Make) -> None:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        await until(lambda: _answers(client, "/health/ready"), 60)
        for item in (make(), make()):
            assert (await client.post("/v1/interactions", json=item)).status_code == 201
        batch: Any = [make() for _ in range(50)]
        assert (await client.post("/v1/interactions/batch", json=batch)).json()["stored"] == 50
        page = (await client.get(journey_of("email:anna@example.com"), params={"limit": "500"})).json()
        assert len(page["items"]) >= 52
        assert 'percorso_interactions_total{status="stored"}' in (await client.get("/metrics")).text
        export = await client.get("/v1/customers/email:anna@example.com/export")
        assert export.status_code == 200
        await until(lambda: _answers(client, "/v1/touchpoints/phone/stats?from=2026-03-01T00:00:00Z"), 60)


async def _answers(client: httpx.AsyncClient, path: str) -> bool:
    try:
        return (await client.get(path)).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("workers", [1, 2])
async def test_it_runs_where_nothing_can_be_written_with_one_variable(
    way: str, home: Path, make: Make, workers: int
) -> None:
    # Several workers count in files: they need a place for these, as the Kubernetes manifests give them one.
    tmp = home / "tmp"
    tmp.mkdir()
    several = {"TMPDIR": str(tmp), "PERCORSO_WORKERS": str(workers)} if workers > 1 else {}
    assert "it was empty" in await once(way, "db", "upgrade")
    assert "already" in await once(way, "db", "upgrade")
    key = (await once(way, "keys", "create", "first", "--scope", "admin")).strip()
    async with serving(way, home / "log", writable=str(tmp) if several else "", given=several) as (url, process):
        status = said(Path(f"/proc/{process.pid}/status"))
        assert re.findall(r"^Uid:\t(.*)$", status, re.MULTILINE) == ["\t".join([str(UID)] * 4)]
        assert re.findall(r"^NoNewPrivs:\t(.*)$", status, re.MULTILINE) == ["1"]
        await use(url, key, make)
        # What the image asks of itself, as it stands there.
        port = url.rpartition(":")[2]
        given = environment(way, PERCORSO_PORT=port)
        checked = await asyncio.create_subprocess_exec(*boxed(*healthcheck()), cwd="/", env=given)
        assert await asyncio.wait_for(checked.wait(), 60) == 0
    assert "Read-only" not in said(home / "log")


@pytest.mark.usefixtures("read_only")
async def test_several_workers_without_a_place_to_count_in_say_what_is_missing(way: str) -> None:
    command = boxed(sys.executable, "-m", "percorso", "serve", "--port", "0", "--workers", "2", "--migrate")
    started = await asyncio.create_subprocess_exec(
        *command, cwd="/", env=environment(way), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(started.communicate(), 60)
    assert started.returncode == 2
    assert "tmpfs at /tmp" in " ".join(errors.decode().split())
    assert "Traceback" not in errors.decode()


def test_the_health_check_tells_one_that_serves_from_one_that_does_not(database_url: str, tmp_path: Path) -> None:
    def check(port: str) -> int:
        command = [sys.executable, *healthcheck()[1:]]
        return subprocess.run(
            command, env=os.environ | {"PERCORSO_PORT": port}, check=False, capture_output=True
        ).returncode

    assert healthcheck()[0] == "python"
    with serving_at(database_url, tmp_path) as served:
        port = served.url.rpartition(":")[2]
        assert check(port) == 0
    assert check(port) != 0


def test_it_is_shipped_without_privileges_secrets_or_what_building_takes() -> None:
    names = [line.split()[0] for line in RUNNING.splitlines()[1:] if line and not line.startswith((" ", "#"))]
    assert instruction("USER") == [str(UID)]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "COPY" not in names[names.index("USER") :]
    assert json.loads(instruction("ENTRYPOINT")[0]) == ["percorso"]
    assert json.loads(instruction("CMD")[0]) == ["serve"]
    assert instruction("STOPSIGNAL") == ["SIGTERM"]
    assert instruction("EXPOSE") == [str(Settings.model_fields["port"].default)]
    known = {f"PERCORSO_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in ENVIRONMENT if name.startswith("PERCORSO_")} <= known
    assert not re.search("KEY|PASSWORD|TOKEN|DATABASE_URL", RUNNING)
    # All that comes from elsewhere is named by its hash.
    for install in re.findall(r"pip install.*?-r \S+", DOCKERFILE.replace("\\\n", " ")):
        assert "--require-hashes" in install
    [ignored, *kept] = (ROOT / ".dockerignore").read_text().split()
    assert ignored == "*"
    assert not {"!.env", "!.git", "!.percorso", "!tests"} & set(kept)
