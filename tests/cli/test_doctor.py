"""`percorso doctor`: each thing is broken, and told with what to do."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from percorso.cli import app, diagnosing
from percorso.cli.diagnosing import Finding, of_settings
from percorso.queries import condition
from percorso.queries.condition import Lag, Server
from percorso.queries.doctor import Key, Slot
from percorso.storage import schema
from percorso.workers.partitions import ensure_ahead
from percorso.workers.sampling import Disk
from support import Make, database_of, running, settings_for
from writing import until

Doctor = Callable[..., dict[str, Finding]]
LEADERS = "FROM pg_stat_activity WHERE application_name = 'percorso-workers' AND datname = current_database()"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SERVER = Server("percorso", NOW, 10**9, 20, 97, None, 0.2, None, None)


@pytest.fixture
def percorso(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command on this test's database."""
    monkeypatch.setattr("percorso.ops.logs.configure", lambda *_: None)

    def run(*arguments: str, **environment: str) -> Result:
        given = {"PERCORSO_DATABASE_URL": database_url, "COLUMNS": "200", "PERCORSO_BOOTSTRAP_KEY": "x" * 40}
        with capture_logs():
            return CliRunner().invoke(app, arguments, env=given | environment)

    return run


@pytest.fixture
def doctor(percorso: Callable[..., Result]) -> Doctor:
    """The findings that are not well, by check; the command exits 1 where one of them fails."""

    def run(**environment: str) -> dict[str, Finding]:
        result = percorso("doctor", "--json", **environment)
        found = [Finding(**each) for each in json.loads(result.stdout)]
        assert result.exit_code == int(any(each.status == "fail" for each in found))
        assert all(bool(each.todo) is (each.status != "ok") for each in found)
        return {each.check: each for each in found if each.status != "ok"}

    return run


def sql(url: str, *statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


@pytest.fixture
def served(database_url: str, make: Make) -> str:
    """The database of a service that ran, whose workers did their work."""

    async def run() -> None:
        async with running(database_url) as (application, client):
            await client.post("/v1/interactions", json=make())
            await ensure_ahead(application.state.services.engine, datetime.now(UTC))

    asyncio.run(run())
    sql(database_url, "INSERT INTO followers SELECT 'rollups', generation, xid8, NULL FROM commits")
    return database_url


def test_of_a_service_that_is_well_only_that_it_does_not_run_is_told(served: str, doctor: Doctor) -> None:
    assert served
    # The server of the tests does without fsync.
    assert set(doctor()) <= {"durability", "workers", "settings"}


def test_it_is_told_to_people_in_lines(served: str, percorso: Callable[..., Result]) -> None:
    assert served
    result = percorso("doctor")
    lines = result.stdout.splitlines()
    assert any(line.startswith("ok    schema") for line in lines)
    assert any(line.startswith("warn  workers") for line in lines)
    assert any("PERCORSO_BACKGROUND_WORKERS" in line for line in lines)


def test_while_a_process_runs_it_is_counted_among_the_workers(served: str, doctor: Doctor) -> None:
    async def run() -> dict[str, Finding]:
        async with running(served, background_workers=True):
            await asyncio.sleep(0)
            connection = await asyncpg.connect(served)
            await until(lambda: connection.fetchval(f"SELECT count(*) {LEADERS}"))
            await connection.close()
            return await asyncio.to_thread(doctor)

    assert "workers" not in asyncio.run(run())


def test_a_database_that_is_away_is_told_and_nothing_else(server_url: str, doctor: Doctor) -> None:
    found = doctor(PERCORSO_DATABASE_URL=database_of(server_url, "there_is_no_such"))
    assert set(found) == {"database"}
    assert "PERCORSO_DATABASE_URL" in (found["database"].todo or "")


def test_a_schema_that_is_stale_or_not_there_is_told(served: str, doctor: Doctor) -> None:
    sql(served, "UPDATE alembic_version SET version_num = 'older'")
    assert "older" in doctor()["schema"].found
    sql(served, "DROP TABLE alembic_version")
    assert doctor()["schema"].todo == "Run `percorso db upgrade` with this release."
    assert schema.newest()


def test_partitions_that_were_not_made_are_told(served: str, doctor: Doctor) -> None:
    today = datetime.now(UTC)
    names = [f"commits_{today + timedelta(days=days):%Y_%m_%d}" for days in range(3)]
    sql(
        served,
        "INSERT INTO followers VALUES ('other', 1, '1', NULL)",
        *(f"DROP TABLE IF EXISTS {name}" for name in names),
    )
    assert doctor()["partitions"].found == "commits have no partition for now"


def test_a_follower_that_is_behind_is_told_by_how_much(served: str, doctor: Doctor) -> None:
    sql(served, "UPDATE followers SET xid8 = '1'", "UPDATE commits SET at = date_trunc('day', at)")
    behind = doctor().get("followers")
    begun = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if datetime.now(UTC) - begun > timedelta(minutes=6):
        assert behind is not None
        assert behind.found.startswith("rollups is ")
        assert "by 1 commits" in behind.found
    sql(served, "DELETE FROM followers")
    assert doctor()["followers"].found == "none has begun"


def test_a_transaction_that_stays_open_is_named_with_how_to_end_it(
    served: str, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosing, "_OLDEST_SECONDS", (0.01, 3600))

    async def run() -> tuple[int, dict[str, Finding]]:
        holder = await asyncpg.connect(served, server_settings={"application_name": "forgetful"})
        async with holder.transaction():
            await holder.execute("SELECT pg_current_xact_id()")
            pid = holder.get_server_pid()
            await asyncio.sleep(0.05)
            found = await asyncio.to_thread(doctor)
        await holder.close()
        return pid, found

    pid, found = asyncio.run(run())
    assert found["transactions"].status == "warn"
    assert "that of forgetful" in found["transactions"].found
    assert f"pg_terminate_backend({pid})" in (found["transactions"].todo or "")


def test_a_server_that_takes_risks_with_commits_is_told(served: str, doctor: Doctor) -> None:
    name = served.rpartition("/")[2].partition("?")[0]
    sql(served, f"ALTER DATABASE {name} SET synchronous_commit = off")
    found = doctor()["durability"]
    assert found.found in {"synchronous_commit = off", "fsync = off", "fsync = off, full_page_writes = off"}
    assert (
        diagnosing.of_durability({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "off"}).status
        == "warn"
    )
    assert (
        diagnosing.of_durability({"fsync": "off", "full_page_writes": "on", "synchronous_commit": "on"}).status
        == "fail"
    )


def test_quarantine_that_no_one_looks_at_is_told(served: str, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosing, "_QUARANTINE", (2, 100))
    sql(
        served,
        "INSERT INTO rejected_interactions (rejection_id, received_at, errors, payload, size, format) "
        "SELECT gen_random_uuid(), now(), '[]', '', 0, 'native' FROM generate_series(1, 3)",
    )
    assert doctor()["quarantine"].found == "3 items"


def test_deliveries_that_wait_are_told(served: str, doctor: Doctor) -> None:
    sql(
        served,
        "INSERT INTO subscriptions SELECT gen_random_uuid(), 'tmf683', 'http://a.test', NULL, 's', key_id, now(), 0, "
        "now() FROM api_keys",
        "INSERT INTO deliveries (delivery_id, subscription_id, event, at, interaction_id, revision, refusals) "
        "SELECT gen_random_uuid(), subscription_id, 'e', now() - interval '5 hours', gen_random_uuid(), 0, 0 "
        "FROM subscriptions, generate_series(1, 4)",
    )
    found = doctor()["deliveries"]
    assert found.status == "fail"
    assert found.found.startswith("4 wait; the oldest, of tmf683, for 5:00:0")


def test_that_no_one_can_call_is_told(served: str, doctor: Doctor) -> None:
    sql(served, "UPDATE api_keys SET scopes = '{read}'")
    assert doctor()["keys"].found == "no key that is valid has the scope admin"
    sql(served, "UPDATE api_keys SET revoked_at = now()")
    assert doctor()["keys"].status == "fail"


def test_keys_that_are_about_to_end_are_told_before() -> None:
    later, soon = Key("later", True, NOW + timedelta(days=90)), Key("soon", False, NOW + timedelta(days=3))
    assert diagnosing.of_keys([later], NOW).status == "ok"
    assert diagnosing.of_keys([soon, later], NOW).found == "soon ends 2026-03-04"


def test_settings_that_endanger_are_told_one_by_one() -> None:
    usual = settings_for("postgresql://x/y")
    calm = usual.model_copy(update={"background_workers": True, "bootstrap_key": SecretStr("k" * 40)})
    assert [each.status for each in of_settings(calm)] == ["ok"]
    risks = {"allow_private_callbacks": True, "audit_reads": 0.5, "bootstrap_key": SecretStr("hunter2")}
    wild = usual.model_copy(update=risks)
    found = list(of_settings(wild))
    assert [each.found.partition(":")[0] for each in found] == [
        "PERCORSO_ALLOW_PRIVATE_CALLBACKS",
        "PERCORSO_AUDIT_READS",
        "PERCORSO_BACKGROUND_WORKERS",
        "PERCORSO_BOOTSTRAP_KEY",
    ]
    assert "hunter2" not in {word for each in found for word in each.found.split()}


@pytest.mark.parametrize(
    ("made", "status", "words"),
    [
        (diagnosing.of_server(140_005, replica=False), "fail", "14.5 is too old"),
        (diagnosing.of_server(180_001, replica=True), "fail", "takes no writes"),
        (diagnosing.of_server(180_001, replica=False), "ok", "18.1"),
        (diagnosing.of_clock(-0.2), "ok", "behind"),
        (diagnosing.of_clock(5.0), "warn", "5.000 s ahead of"),
        (diagnosing.of_clock(-90.0), "fail", "90.000 s behind"),
        (diagnosing.of_connections(SERVER, settings_for("postgresql://x/y")), "ok", "20 of 97"),
        (
            diagnosing.of_connections(SERVER._replace(connections=90), settings_for("postgresql://x/y")),
            "warn",
            "90 of 97",
        ),
        (diagnosing.of_connections(SERVER, settings_for("postgresql://x/y", workers=8)), "fail", "may use 128"),
        (diagnosing.of_disk(SERVER, None), "ok", "not on this machine"),
        (diagnosing.of_disk(SERVER, Disk(50 * 2**30, 100 * 2**30)), "ok", "50.0 of 100.0 GiB"),
        (diagnosing.of_disk(SERVER, Disk(10 * 2**30, 100 * 2**30)), "warn", "10.0 of 100.0 GiB"),
        (diagnosing.of_disk(SERVER, Disk(2**30, 100 * 2**30)), "fail", "1.0 of 100.0 GiB"),
        (diagnosing.of_transactions(SERVER._replace(oldest=4000.0, oldest_application="t1")), "fail", "that of t1"),
        (diagnosing.of_slots([Slot("gone", 2 * 2**30)]), "warn", "slot gone"),
        (diagnosing.of_slots([Slot("gone", 40 * 2**30)]), "fail", "40.0 GiB"),
        (diagnosing.of_cleaning([], {"autovacuum": "off"}, 0.0), "fail", "autovacuum = off"),
        (diagnosing.of_cleaning([], {"autovacuum": "on"}, 0.4), "warn", "40%"),
        (diagnosing.of_cleaning([], {"autovacuum": "on"}, 0.8), "fail", "80%"),
        (next(iter(diagnosing.of_followers([Lag("profiles", 7200.0, 9, True)]))), "fail", "has not been through"),
    ],
)
def test_what_no_test_can_break_is_judged_by_its_figures(made: Finding, status: str, words: str) -> None:
    assert made.status == status
    assert words in made.found
    assert bool(made.todo) is (status != "ok")


def test_days_are_counted_to_the_first_gap() -> None:
    now = datetime(2026, 12, 30, 12, tzinfo=UTC)
    names = ["commits_2026_12_29", "commits_2026_12_30", "commits_2026_12_31", "commits_2027_01_02"]
    assert condition.until(names, now) == pytest.approx(1.5)
    assert condition.until(["interactions_2026_12", "interactions_2027_01", "interactions_2027_03"], now) == 32.5
    assert condition.until(["interactions_2026_11"], now) == 0
    assert condition.until([], now) == 0
