"""No secret that the service is given is ever written: not in its log at any level, not in what commands print."""

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from exchanges import Served, serving_at, store
from percorso.storage.database import parse_url
from support import KEY, Make
from writing import Way, until

PASSWORD: Final = "hunter2-of-the-database"
FIRST: Final = "bootstrap-key-of-this-test"
TOLD: Final = ("key-in-the-query", "key-that-is-wrong", "key-of-segment", "password-in-the-url", "secret-of-a-callback")
"""Secrets that callers put where they belong, and where they do not."""


def with_password(url: str, password: str = PASSWORD) -> str:
    return parse_url(url).set(drivername="postgresql", password=password).render_as_string(hide_password=False)


@asynccontextmanager
async def serving_beside(url: str, directory: Path, **environment: str) -> AsyncIterator[Served]:
    """A service whose way to its database this process keeps open while it starts and stops."""
    service = serving_at(url, directory, **environment)
    served = await asyncio.to_thread(service.__enter__)
    try:
        yield served
    finally:
        await asyncio.to_thread(service.__exit__, None, None, None)


def run(directory: Path, *arguments: str, **environment: str) -> str:
    """All that a command prints, whatever comes of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERCORSO_")}
    given = {"PERCORSO_LOG_LEVEL": "debug", "PERCORSO_CONNECT_TIMEOUT_SECONDS": "2"} | environment
    command = [sys.executable, "-m", "percorso", *arguments]
    done = subprocess.run(
        command, cwd=directory, env=kept | given, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


async def test_the_log_of_a_service_at_its_most_talkative_holds_no_secret(
    database_url: str, tmp_path: Path, make: Make
) -> None:
    async with Way(database_url) as way:
        given = {
            "PERCORSO_LOG_LEVEL": "debug",
            "PERCORSO_BOOTSTRAP_KEY": FIRST,
            "PERCORSO_CONNECT_TIMEOUT_SECONDS": "5",
        }
        made = ""
        async with (
            serving_beside(with_password(way.url), tmp_path, **given) as served,
            served.client() as client,
        ):
            client.headers["Authorization"] = f"Bearer {FIRST}"
            await store(client, make())
            made = (await client.post("/v1/keys", json={"name": "a", "scopes": ["read"]})).json()["key"]
            journey = "/v1/customers/email:anna@example.com/journey"
            for authorization in (f"Bearer {made}", f"Bearer {TOLD[1]}", TOLD[1], f"Digest {TOLD[1]}"):
                await client.get(journey, headers={"Authorization": authorization})
            for path in (journey, "/v1/nothing", "/health/live"):
                await client.get(path, params={"key": TOLD[0], "access_token": TOLD[0]})
                await client.get(f"{path}/{TOLD[0]}")
            basic = base64.b64encode(f"{TOLD[2]}:".encode()).decode()
            await client.post("/segment/v1/track", json={}, headers={"Authorization": f"Basic {basic}"})
            await client.post("/segment/v1/track", json={"writeKey": TOLD[2]})
            await client.get(f"/segment/v1/projects/{TOLD[2]}/settings")
            callback = f"http://user:{TOLD[3]}@127.0.0.1:1/?token={TOLD[4]}"
            await client.post("/tmf-api/partyInteraction/v4/hub", json={"callback": callback})
            await client.post("/v1/interactions", content=f'{{"source": "{TOLD[3]}"'.encode())
            # The way to the database breaks, which is where addresses are told.
            way.open = False
            way.end()
            await asyncio.gather(*(client.get(journey) for _ in range(3)))
            await client.post("/v1/interactions", json=make())
            way.open = True
            await until(lambda: _ready(client))
            await client.get(f"http://user:{TOLD[3]}@{served.url.removeprefix('http://')}/v1/touchpoints")
        log = served.log.read_text()
    assert '"event": "request"' in log
    assert "cannot be reached" in log
    assert '"level": "debug"' in log
    assert made
    for secret in (PASSWORD, FIRST, KEY, made, basic, *TOLD):
        assert secret not in log, [line for line in log.splitlines() if secret in line]


async def _ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/health/ready")).status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://percorso:{PASSWORD}@127.0.0.1:1/percorso",
        f"postgresql://percorso:{PASSWORD}@no-such-host.invalid/percorso",
        f"postgresql://percorso:{PASSWORD}@127.0.0.1:port/percorso",
        f"mysql://percorso:{PASSWORD}@127.0.0.1/percorso",
        f"postgresql://percorso:{PASSWORD}@127.0.0.1:1/percorso?sslmode=nonsense",
        f"//percorso:{PASSWORD}@127.0.0.1",
        f"postgresql://percorso:{PASSWORD}@[::1/percorso",
    ],
    ids=["refused", "no host", "no port", "another", "no mode", "no URL", "no address"],
)
@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["db", "upgrade"]], ids=lambda command: command[0])
def test_a_database_that_cannot_be_reached_is_told_of_without_its_password(
    tmp_path: Path, url: str, command: list[str]
) -> None:
    printed = run(tmp_path, *command, PERCORSO_DATABASE_URL=url, PERCORSO_BOOTSTRAP_KEY=FIRST)
    assert "percorso:" in printed
    assert "Traceback" not in printed, printed
    assert PASSWORD not in printed
    assert FIRST not in printed


def test_the_settings_are_shown_without_what_is_secret_in_them(tmp_path: Path) -> None:
    url = f"postgresql://percorso:{PASSWORD}@127.0.0.1/percorso"
    given = {"PERCORSO_DATABASE_URL": url, "PERCORSO_BOOTSTRAP_KEY": FIRST}
    for options in ([], ["--markdown"]):
        printed = run(tmp_path, "settings", *options, **given)
        assert "PERCORSO_DATABASE_URL" in printed
        assert PASSWORD not in printed
        assert FIRST not in printed


def test_a_setting_that_is_not_as_it_must_be_is_named_and_not_shown(tmp_path: Path) -> None:
    printed = run(tmp_path, "settings", PERCORSO_PORT=PASSWORD, PERCORSO_CORS_ORIGINS=f'["{PASSWORD}"]')
    assert "PERCORSO_PORT" in printed
    assert PASSWORD not in printed
