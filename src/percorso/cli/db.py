"""`percorso db`: the schema's version, and the whole database as a file."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from percorso.cli.running import pool_of, settings_with, with_database
from percorso.errors import StartupError
from percorso.ops import dumps
from percorso.queries import health
from percorso.settings import Settings
from percorso.storage import schema
from percorso.storage.database import reading, url_of

app = typer.Typer(help="Migrate the database, ask for its version, back it up and restore it.", no_args_is_help=True)

Programs = Annotated[
    Path | None,
    typer.Option(
        help="The directory of PostgreSQL's programs to use, such as /usr/lib/postgresql/18/bin: needed where the "
        "database is reached by TLS, which those that come with percorso do not speak."
    ),
]


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


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A file that is not there yet.")], programs: Programs = None
) -> None:
    """Write all there is to a file, as of this moment, from a running system; who can read it can read everything."""
    with with_database(settings_with()) as settings:
        dumps.take(url_of(settings), file, programs=programs)
    Console().print(f"{file} has the whole database: {file.stat().st_size:,} bytes.", highlight=False)


@app.command()
def restore(file: Annotated[Path, typer.Argument(help="What `backup` wrote.")], programs: Programs = None) -> None:
    """Put a backup into an empty database, all of it or nothing; then start the service on it."""
    with with_database(settings_with(), exclusive=True) as settings:
        if not asyncio.run(_empty(settings)):
            raise StartupError("The database is not empty: make a new one, and name it in PERCORSO_DATABASE_URL.")
        dumps.put(url_of(settings), file, programs=programs)
        version = asyncio.run(_current(settings))
    console = Console()
    console.print(f"The database is restored, at {version}.", highlight=False)
    if not schema.suits(version, schema.newest()):
        console.print("Run `percorso db upgrade`: this release needs a later one.", highlight=False)


async def _empty(settings: Settings) -> bool:
    async with pool_of(settings) as engine, reading(engine) as session:
        return await health.empty(session)


async def _upgrade(settings: Settings) -> tuple[str | None, str | None]:
    async with pool_of(settings) as engine:
        before = await schema.current(engine)
        await schema.upgrade(engine)
        return before, await schema.current(engine)


async def _current(settings: Settings) -> str | None:
    async with pool_of(settings) as engine:
        return await schema.current(engine)
