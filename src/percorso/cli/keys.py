"""`percorso keys`: who may call."""

import asyncio
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from asyncpg.pgproto.pgproto import UUID
from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from rich.console import Console
from rich.table import Column, Table

from percorso.cli.running import engine_of, settings_with, with_database
from percorso.errors import Problem, StartupError
from percorso.http.access import SCOPES
from percorso.http.key_bodies import KeyBody, overlap, unlimited
from percorso.ingest.validate import sentence
from percorso.queries import api_keys
from percorso.queries.api_keys import ApiKey
from percorso.settings import Settings
from percorso.storage import api_keys as store
from percorso.storage import audit
from percorso.storage.audit import Entry
from percorso.storage.database import WriteSession, reading, writing

app = typer.Typer(
    help="Make, list, rotate and revoke the keys with which services and front ends call.", no_args_is_help=True
)

_ACTOR = "percorso keys"
"""Who stands in the audit log."""
_NO_KEY = "No valid key has this id: see `percorso keys list`."

KeyId = Annotated[uuid.UUID, typer.Argument(help="The key's id, from `percorso keys list`.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it, such as crm-connector.")],
    scope: Annotated[
        list[str], typer.Option(help=f"What it may do: {', '.join(SCOPES)}. May be repeated; admin may do everything.")
    ],
    source: Annotated[
        list[str] | None, typer.Option(help="A source it may ingest interactions of; none: any. May be repeated.")
    ] = None,
    channel: Annotated[
        list[str] | None, typer.Option(help="A channel it may ingest interactions of; none: any. May be repeated.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="When it ends, such as 2027-01-01T00:00:00Z; none: it does not.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="What it may send a second: interactions, and other requests.")
    ] = None,
    burst: Annotated[int | None, typer.Option(help="What it may send at once; else the rate of ten seconds.")] = None,
) -> None:
    """Make a key and print it: it can be read nowhere afterwards."""
    wanted = _wanted(
        {
            "name": name,
            "scopes": scope,
            "sources": source or None,
            "channels": channel or None,
            "expires_at": expires_at,
            "rate": rate,
            "burst": burst,
        }
    )
    key = store.generate()
    with with_database(settings_with()) as settings:
        key_id = asyncio.run(_create(settings, wanted, key))
    typer.echo(f"{key}")
    typer.echo(f"Key {key_id} for {name}, with {', '.join(scope)}. It is not shown again.", err=True)


@app.command("list")
def list_() -> None:
    """List every key, those revoked included."""
    with with_database(settings_with()) as settings:
        keys = asyncio.run(_all(settings))
    table = Table(
        Column("id", min_width=36), "name", "scopes", "limits", "created", "last used", "expires", "revoked", box=None
    )
    for key in keys:
        limits = " ".join([*(f"source={each}" for each in key.sources or ()), *(key.channels or ()), *_rate(key)])
        moments = map(_moment, (key.created_at, key.last_used_at, key.expires_at, key.revoked_at))
        table.add_row(str(key.key_id), key.name, " ".join(key.scopes), limits, *moments)
    Console().print(table)


@app.command()
def rotate(
    key_id: KeyId,
    overlap_: Annotated[
        str,
        typer.Option("--overlap", help="How long the secrets it had stay valid, such as 24h; 0s ends them at once."),
    ] = "24h",
) -> None:
    """Give a key a new secret and print it; the one it had stays valid for a while."""
    try:
        length = overlap(overlap_)
    except PydanticCustomError as error:
        raise StartupError(f"--overlap {error.message()}.") from None
    key = store.generate()
    with with_database(settings_with()) as settings:
        done = asyncio.run(_rotate(settings, UUID(key_id.bytes), key, length))
    if not done:
        raise StartupError(_NO_KEY)
    typer.echo(f"{key}")
    typer.echo(f"The new secret of key {key_id}; those it had end in {overlap_}. It is not shown again.", err=True)


@app.command()
def revoke(key_id: KeyId) -> None:
    """Revoke a key; running services may take it for a few seconds more."""
    with with_database(settings_with()) as settings:
        done = asyncio.run(_revoke(settings, UUID(key_id.bytes)))
    if not done:
        raise StartupError(_NO_KEY)
    typer.echo("Revoked.")


def _wanted(given: Mapping[str, Any]) -> KeyBody:
    """What a new key is to be; StartupError says what is wrong with it."""
    unknown = sorted(set(given["scopes"]) - set(SCOPES))
    if unknown:
        raise StartupError(f"There is no scope {unknown[0]!r}: choose from {', '.join(SCOPES)}.")
    try:
        wanted = KeyBody.model_validate(given)
    except ValidationError as error:
        problems = [
            Problem("/".join(map(str, each["loc"])), sentence(each)) for each in error.errors(include_url=False)
        ]
        raise StartupError("The key cannot be made as it is wanted.", problems=problems) from None
    if problems := unlimited(wanted.scopes, wanted.limits):
        raise StartupError("The key cannot be limited so.", problems=problems)
    return wanted


def _rate(key: ApiKey) -> list[str]:
    given = {"rate": key.rate, "burst": key.burst}
    return [f"{name}={value:g}" for name, value in given.items() if value is not None]


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


async def _record(session: WriteSession, act: str, key_id: UUID, **said: Any) -> None:
    await audit.record(session, [Entry(act, datetime.now(UTC), {"key_id": str(key_id), **said}, actor=_ACTOR)])


async def _create(settings: Settings, wanted: KeyBody, key: str) -> UUID:
    async with engine_of(settings) as engine, writing(engine) as session:
        key_id = await store.create(session, name=wanted.name, scopes=wanted.scopes, key=key, **wanted.limits)
        await _record(session, "key_made", key_id, scopes=list(wanted.scopes), limits=sorted(wanted.limits))
        return key_id


async def _all(settings: Settings) -> list[ApiKey]:
    async with engine_of(settings) as engine, reading(engine) as session:
        return await api_keys.all_keys(session)


async def _rotate(settings: Settings, key_id: UUID, key: str, length: timedelta) -> bool:
    async with engine_of(settings) as engine, writing(engine) as session:
        done = await store.rotate(session, key_id, key=key, old_until=datetime.now(UTC) + length)
        if done:
            await _record(session, "key_rotated", key_id, overlap_seconds=int(length.total_seconds()))
        return done


async def _revoke(settings: Settings, key_id: UUID) -> bool:
    async with engine_of(settings) as engine, writing(engine) as session:
        done = await store.revoke(session, key_id)
        if done:
            await _record(session, "key_revoked", key_id)
        return done
