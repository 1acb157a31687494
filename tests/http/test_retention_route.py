"""The route that says for how long what is kept, and what is due."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest

from exchanges import check_problem, store
from percorso.http.services import Services
from percorso.interaction import CHANNELS
from percorso.workers import retention
from support import Make, running, settings_for

PATH = "/v1/retention"
SAID = {"retention_days": 1000, "retention_channel_days": {"web": 30}, "quarantine_days": 7}


@pytest.fixture
async def services_and_client(database_url: str) -> AsyncIterator[tuple[Services, httpx.AsyncClient]]:
    async with running(database_url, **SAID) as (app, client):
        yield app.state.services, client


async def test_a_service_that_keeps_everything_says_so(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).json() == {
        "policy": {"days": None, "channel_days": {}, "quarantine_days": None, "commit_log_days": 14},
        "last_run": None,
        "due": {"partitions": [], "channels": [], "commit_days": [], "quarantine_before": None},
    }


async def test_the_policy_what_is_due_and_the_last_run_can_be_read(
    services_and_client: tuple[Services, httpx.AsyncClient],
    make: Make,
    database_url: str,
    database: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    services, client = services_and_client
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    old, web = now - timedelta(days=1100), now - timedelta(days=40)
    await store(client, make(occurred_at=old.isoformat()), make(occurred_at=web.isoformat(), channel="web"))
    await database.execute("ANALYZE interactions")
    before = (await client.get(PATH)).json()
    assert before["policy"] == {
        "days": 1000,
        "channel_days": {"web": 30},
        "quarantine_days": 7,
        "commit_log_days": 14,
    }
    [month] = before["due"]["partitions"]
    assert (month["month"], month["interactions"]) == (f"{old:%Y-%m}", 1)
    assert month["bytes"] > 8192
    channels = {each["channel"]: each for each in before["due"]["channels"]}
    assert channels.keys() == set(CHANNELS)
    assert channels["web"] == {
        "channel": "web",
        "before": f"{midnight - timedelta(days=30):%Y-%m-%dT%H:%M:%S.000Z}",
        "swept_until": None,
    }
    assert before["due"]["quarantine_before"] == f"{midnight - timedelta(days=7):%Y-%m-%dT%H:%M:%S.000Z}"
    assert await retention.run(database_url, settings_for(database_url), services.policy, now)
    after = (await client.get(PATH)).json()
    assert after["due"]["partitions"] == []
    assert {each["swept_until"] for each in after["due"]["channels"]} == {each["before"] for each in channels.values()}
    last = after["last_run"]
    assert {name: last[name] for name in ("partitions", "interactions", "rejected", "commit_days")} == {
        "partitions": 1,
        "interactions": 1,
        "rejected": 0,
        "commit_days": 0,
    }
    assert last["bytes"] == month["bytes"]
    assert now.isoformat() < last["began_at"] <= last["ended_at"]


async def test_only_an_administrator_may_ask_and_nothing_can_be_asked_beside(client: httpx.AsyncClient) -> None:
    check_problem(await client.get(PATH, params={"days": 3}), 422, "invalid_request")
    made = await client.post("/v1/keys", json={"name": "n", "scopes": ["read", "write", "ingest", "privacy"]})
    client.headers["Authorization"] = f"Bearer {made.json()['key']}"
    check_problem(await client.get(PATH), 403, "forbidden")
    del client.headers["Authorization"]
    check_problem(await client.get(PATH), 401, "unauthorized")
