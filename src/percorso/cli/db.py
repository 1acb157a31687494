"""`percorso db`: the schema's version."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from percorso.cli.running import pool_of, settings_with, with_database
from percorso.settings import Settings
from percorso.storage import schema

app = typer.Typer(help="Migrate the database, or ask for its version.", no_args_is_help=True)


@app.command()
def upgrade(
    *, sql: Annotated[bool, typer.Option("--sql", help="Print all migrations as SQL, and run nothing.")] = False
) -> None:
    """Bring the database to this release's schema; safe on a running system, and to run twice."""
    if sql:
        typer.echo(schema.as_sql(), nl=False)
        return
    with with_database(settings_with()) as settings:
        before, after = asyncio.run(_upgrade(settings))
    console = Console()
    if schema.is_later(after, schema.newest()):
        console.print(f"The database is at {after}, of a later release, on which this one works.", highlight=False)
    elif before == after:
        console.print(f"The database was at {after} already.", highlight=False)
    else:
        console.print(f"The database is at {after}; it was {before or 'empty'}.", highlight=False)


@app.command()
def current() -> None:
    """Say at which version the schema is; exit 1 where it is older than this release's."""
    with with_database(settings_with()) as settings:
        version = asyncio.run(_current(settings))
    newest = schema.newest()
    typer.echo(version or "none")
    if not schema.suits(version, newest):
        typer.echo(f"This release needs {newest}: run `percorso db upgrade`.", err=True)
        raise typer.Exit(1)


async def _upgrade(settings: Settings) -> tuple[str | None, str | None]:
    async with pool_of(settings) as engine:
        before = await schema.current(engine)
        await schema.upgrade(engine)
        return before, await schema.current(engine)


async def _current(settings: Settings) -> str | None:
    async with pool_of(settings) as engine:
        return await schema.current(engine)
