"""The form of a run, a migrated server for each scenario, and the report at the end."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from faults.clusters import Cluster, place_of
from faults.forms import Form
from faults.report import Row, Trial, table
from faults.servers import run

ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="make every kind of fault, a few times only")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if rows:
        terminalreporter.section("faults")
        terminalreporter.write_line(table(rows))


@pytest.fixture(scope="session")
def form(pytestconfig: pytest.Config) -> Form:
    """The form of this run."""
    return Form(short=pytestconfig.getoption("short"))


def _directory() -> Path:
    # Not below pytest's own, which the server's user cannot enter where root runs the tests.
    path = Path(tempfile.mkdtemp(prefix="percorso-faults-")).resolve()
    path.chmod(0o755)
    return path


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that every user can enter."""
    path = _directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def template() -> Iterator[Cluster]:
    """A migrated server that does not run, to copy."""
    path = _directory()
    cluster = Cluster(place_of(path / "template"))

    async def make() -> None:
        await cluster.create()
        try:
            await asyncio.to_thread(run, path, "db", "upgrade", PERCORSO_DATABASE_URL=cluster.url)
        finally:
            await cluster.end(signal.SIGINT)

    asyncio.run(make())
    yield cluster
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def cluster(home: Path, template: Cluster) -> AsyncIterator[Cluster]:
    """A migrated server of this test's own, which runs."""
    made = Cluster(place_of(home / "cluster"))
    await made.copy(template)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


@pytest.fixture
def trial(cluster: Cluster, pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Trial:
    """This test's run; its row stands in the report, under the test's name until it is given a better one."""
    made = Trial(cluster)
    made.row.kind = request.node.name
    pytestconfig.stash[ROWS].append(made.row)
    return made
