"""What tests share: settings, databases, a running application, interactions."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from percorso.app import create_app
from percorso.settings import Settings
from percorso.storage.database import parse_url

KEY = "key-of-the-tests"
FIXTURES = Path(__file__).parent / "fixtures"

Make = Callable[..., dict[str, Any]]


def settings_for(url: str, **given: Any) -> Settings:
    """The settings of a test: nothing is read from a file, nothing done beside requests unless it is asked for."""
    usual = {"background_workers": False}
    return Settings(_env_file=None, database_url=SecretStr(url), bootstrap_key=SecretStr(KEY), **(usual | given))


def database_of(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return parse_url(url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@asynccontextmanager
async def running(url: str, **given: Any) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """An application on this database, and a client of it that has a key with every scope."""
    app = create_app(settings_for(url, **given))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://percorso.test", headers=headers) as client:
            yield app, client


def ndjson(*items: dict[str, Any]) -> bytes:
    """Items as newline-delimited JSON."""
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)
