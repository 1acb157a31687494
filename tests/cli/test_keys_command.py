"""`percorso keys`: made with limits, listed, rotated, revoked, and put down."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner, Result

from percorso.cli import app
from percorso.errors import StartupError
from percorso.storage.api_keys import hash_key
from writing import Database


@pytest.fixture
def keys(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, on this test's database."""
    monkeypatch.setenv("PERCORSO_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "300")
    return lambda *arguments: CliRunner().invoke(app, ["keys", *arguments])


async def test_a_key_is_made_with_limits_listed_rotated_and_revoked(
    keys: Callable[..., Result], database: Database
) -> None:
    arguments = ["--scope", "ingest", "--source", "crm", "--channel", "phone", "--channel", "email"]
    made = await asyncio.to_thread(keys, "create", "crm", *arguments, "--expires-at", "2100-01-01T00:00:00Z")
    assert made.exit_code == 0, made.output
    row = await database.fetchrow("SELECT * FROM api_keys")
    assert row is not None
    assert row["key_hash"] == hash_key(made.stdout.strip())
    assert (row["sources"], row["channels"]) == (["crm"], ["phone", "email"])
    assert row["expires_at"] == datetime(2100, 1, 1, tzinfo=UTC)
    listed = (await asyncio.to_thread(keys, "list")).stdout
    assert "source=crm phone email" in listed
    assert "2100-01-01 00:00" in listed
    rotated = await asyncio.to_thread(keys, "rotate", str(row["key_id"]), "--overlap", "2h")
    assert rotated.exit_code == 0, rotated.output
    [now] = await database.fetch("SELECT key_hash FROM api_keys")
    [old] = await database.fetch("SELECT key_hash, valid_until FROM rotated_keys")
    assert (now["key_hash"], old["key_hash"]) == (hash_key(rotated.stdout.strip()), row["key_hash"])
    assert timedelta(minutes=119) < old["valid_until"] - datetime.now(UTC) <= timedelta(hours=2)
    assert (await asyncio.to_thread(keys, "revoke", str(row["key_id"]))).exit_code == 0
    for again in (["revoke", str(row["key_id"])], ["rotate", str(row["key_id"])]):
        assert (await asyncio.to_thread(keys, *again)).exit_code != 0
    log = await database.fetch("SELECT act, actor, key_id, details FROM audit_log ORDER BY seq")
    assert [each["act"] for each in log] == ["key_made", "key_rotated", "key_revoked"]
    assert {(each["actor"], each["key_id"]) for each in log} == {("percorso keys", None)}
    assert {json.loads(each["details"])["key_id"] for each in log} == {str(row["key_id"])}


async def test_a_key_that_cannot_be_made_is_not(keys: Callable[..., Result], database: Database) -> None:
    for arguments in (
        ["crm", "--scope", "root"],
        ["token:crm", "--scope", "read"],
        ["crm", "--scope", "read", "--source", "crm"],
        ["crm", "--scope", "ingest", "--channel", "telepathy"],
        ["crm", "--scope", "ingest", "--expires-at", "tomorrow"],
        ["crm", "--scope", "ingest", "--expires-at", "2020-01-01T00:00:00Z"],
    ):
        assert (await asyncio.to_thread(keys, "create", *arguments)).exit_code != 0, arguments
    assert await database.fetchval("SELECT count(*) FROM api_keys") == 0


async def test_a_key_is_made_with_a_rate_and_listed_with_it(keys: Callable[..., Result]) -> None:
    make = ("create", "crm", "--scope", "ingest")
    made = await asyncio.to_thread(keys, *make, "--rate", "2.5", "--burst", "700")
    assert made.exit_code == 0, made.output
    listed = (await asyncio.to_thread(keys, "list")).stdout
    assert "rate=2.5 burst=700" in listed
    for wrong, of in ((("--burst", "700"), "burst"), (("--rate", "0"), "rate")):
        refused = await asyncio.to_thread(keys, *make, *wrong)
        assert isinstance(refused.exception, StartupError)
        assert [problem.pointer for problem in refused.exception.problems] == [of]
