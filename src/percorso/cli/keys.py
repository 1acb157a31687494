"""`percorso keys`: who may call."""

import asyncio
import uuid
from typing import Annotated

import typer
from asyncpg.pgproto.pgproto import UUID
from rich.console import Console
from rich.table import Table

from percorso.cli.running import engine_of, settings_with, with_database
from percorso.errors import StartupError
from percorso.http.access import SCOPES
from percorso.queries import api_keys
from percorso.queries.api_keys import ApiKey
from percorso.settings import Settings
from percorso.storage import api_keys as store
from percorso.storage.database import reading, writing

app = typer.Typer(help="Make, list and revoke the keys with which services and front ends call.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it, such as crm-connector.")],
    scope: Annotated[
        list[str], typer.Option(help=f"What it may do: {', '.join(SCOPES)}. May be repeated; admin may do everything.")
    ],
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, max=1_000_000, help="What it may send a second: interactions, and other requests."),
    ] = None,
    burst: Annotated[
        int | None, typer.Option(min=1, max=100_000_000, help="What it may send at once; else the rate of ten seconds.")
    ] = None,
) -> None:
    """Make a key and print it: it can be read nowhere afterwards."""
    unknown = sorted(set(scope) - set(SCOPES))
    if unknown:
        raise StartupError(f"There is no scope {unknown[0]!r}: choose from {', '.join(SCOPES)}.")
    if burst is not None and rate is None:
        raise StartupError("--burst needs a --rate.")
    key = store.generate()
    with with_database(settings_with()) as settings:
        key_id = asyncio.run(_create(settings, name, scope, key, rate, burst))
    typer.echo(f"{key}")
    typer.echo(f"Key {key_id} for {name}, with {', '.join(scope)}. It is not shown again.", err=True)


@app.command("list")
def list_() -> None:
    """List every key, those revoked included."""
    with with_database(settings_with()) as settings:
        keys = asyncio.run(_all(settings))
    table = Table("id", "name", "scopes", "created", "revoked", "rate", "burst", box=None)
    for key in keys:
        revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M}"
        limit = ["" if each is None else f"{each:g}" for each in (key.rate, key.burst)]
        table.add_row(
            str(key.key_id), key.name, " ".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}", revoked, *limit
        )
    Console().print(table)


@app.command()
def revoke(key_id: Annotated[uuid.UUID, typer.Argument(help="The key's id, from `percorso keys list`.")]) -> None:
    """Revoke a key; running services may take it for a few seconds more."""
    with with_database(settings_with()) as settings:
        done = asyncio.run(_revoke(settings, UUID(key_id.bytes)))
    if not done:
        raise StartupError("No valid key has this id: see `percorso keys list`.")
    typer.echo("Revoked.")


async def _create(
    settings: Settings, name: str, scopes: list[str], key: str, rate: float | None, burst: int | None
) -> UUID:
    async with engine_of(settings) as engine, writing(engine) as session:
        return await store.create(session, name=name, scopes=scopes, key=key, rate=rate, burst=burst)


async def _all(settings: Settings) -> list[ApiKey]:
    async with engine_of(settings) as engine, reading(engine) as session:
        return await api_keys.all_keys(session)


async def _revoke(settings: Settings, key_id: UUID) -> bool:
    async with engine_of(settings) as engine, writing(engine) as session:
        return await store.revoke(session, key_id)
