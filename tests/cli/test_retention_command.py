"""`percorso retention`: counts, and takes away."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from percorso.cli import app
from percorso.errors import StartupError
from percorso.workers import retention
from support import Make, running

Run = Callable[..., Result]
SAID = {
    "PERCORSO_RETENTION_DAYS": "100",
    "PERCORSO_RETENTION_CHANNEL_DAYS": json.dumps({"web": 10}),
    "PERCORSO_QUARANTINE_DAYS": "1",
}


@pytest.fixture
def percorso(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on this test's database."""
    monkeypatch.setattr("percorso.ops.logs.configure", lambda *_: None)

    def run(*arguments: str, **environment: str) -> Result:
        with capture_logs():
            given = SAID | {"PERCORSO_DATABASE_URL": database_url, "COLUMNS": "200"} | environment
            return CliRunner().invoke(app, arguments, env=given)

    return run


@pytest.fixture
def filled(database_url: str, make: Make) -> list[datetime]:
    """When three interactions occurred: two weeks ago on the web and by phone, and half a year ago."""
    now = datetime.now(UTC)
    times = [now - timedelta(days=days) for days in (14, 14, 200)]
    items = [
        make(occurred_at=time.isoformat(), channel=channel)
        for time, channel in zip(times, ("web", "phone", "web"), strict=True)
    ]

    async def store() -> None:
        async with running(database_url) as (_, client):
            answer = await client.post("/v1/interactions/batch", json=[*items, {"broken": 1}])
            assert answer.json()["stored"] == 3

    asyncio.run(store())
    return times


def ids_in(database_url: str) -> list[str]:
    async def read() -> list[str]:
        connection = await asyncpg.connect(database_url)
        rows = await connection.fetch("SELECT document->>'id' AS id FROM interactions ORDER BY 1")
        await connection.close()
        return [row["id"] for row in rows]

    return asyncio.run(read())


def test_a_dry_run_counts_by_month_and_channel_and_leaves_all(
    percorso: Run, filled: list[datetime], database_url: str
) -> None:
    result = percorso("retention", "--dry-run")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert [f"{filled[2]:%Y-%m}", "web", "whole", "1"] in [line[:4] for line in lines]
    assert [f"{filled[0]:%Y-%m}", "web", "single", "1"] in [line[:4] for line in lines]
    assert not any("phone" in line for line in lines)
    assert lines[-1] == ["2", "interactions", "and", "0", "refused", "items", "would", "go."]
    assert len(ids_in(database_url)) == 3
    nothing = percorso("retention", "--dry-run", PERCORSO_RETENTION_DAYS="4000", PERCORSO_RETENTION_CHANNEL_DAYS="{}")
    assert nothing.output == "0 interactions and 0 refused items would go.\n"


def test_a_run_takes_it_away_and_says_what(percorso: Run, filled: list[datetime], database_url: str) -> None:
    assert len(filled) == 3
    result = percorso("retention", "run")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Gone: 1 months as a whole and 0 days of the commit log (")
    assert "1 single interactions, 0 refused items." in result.output
    assert ids_in(database_url) == ["event-2"]


def test_what_is_in_use_and_another_run_are_told(
    percorso: Run, filled: list[datetime], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.storage.dropping._LONG", "0 s")
    loop = asyncio.new_event_loop()
    other = loop.run_until_complete(asyncpg.connect(database_url))
    loop.run_until_complete(other.execute("BEGIN; SELECT FROM interactions"))
    result = percorso("retention", "run")
    assert result.exit_code == 0, result.output
    assert f"In use for long, and left for the next run: interactions_{filled[2]:%Y_%m}." in result.output
    loop.run_until_complete(other.execute(f"ROLLBACK; SELECT pg_advisory_lock({retention.LOCK})"))
    result = percorso("retention", "run")
    assert isinstance(result.exception, StartupError)
    assert "Another run" in result.exception.detail
    loop.run_until_complete(other.close())
    loop.close()


def test_settings_that_cannot_be_followed_are_told(percorso: Run) -> None:
    for days in ('{"webb": 3}', '{"web": 0}', "{", "3"):
        for command in (("retention", "--dry-run"), ("serve",)):
            result = percorso(*command, PERCORSO_RETENTION_CHANNEL_DAYS=days)
            assert isinstance(result.exception, StartupError), (days, command, result.output)
            said = result.exception.detail + str(result.exception.problems)
            assert "retention_channel_days" in said.lower()


def test_without_a_wish_it_says_what_can_be_wished_for(percorso: Run) -> None:
    assert "--dry-run" in percorso("retention").output
    assert percorso("retention", "--dry-run", "run").exit_code == 2
