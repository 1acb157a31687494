"""`percorso audit`: whether the audit log is as it was written."""

import asyncio
import re
from typing import Annotated

import typer

from percorso.cli.running import engine_of, settings_with, with_database
from percorso.errors import StartupError
from percorso.queries import audit, export
from percorso.queries.audit import Verified
from percorso.settings import Settings

app = typer.Typer(help="Check the log of who read or did what to whom.", no_args_is_help=True)

_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


@app.callback()
def audit_() -> None:
    """Check the log of who read or did what to whom."""


@app.command()
def verify(
    heads: Annotated[
        list[str] | None,
        typer.Option(
            "--head", metavar="SEQ:HASH", help="A head that was kept elsewhere: this row must still be there. Repeats."
        ),
    ] = None,
) -> None:
    """Compute the chain of hashes again; exit 1 where it is broken, and say at which row.

    That finds every row that was changed, removed or put in between. Rows that were cut off the end, and a chain that
    was made anew as a whole, show only against a head that was kept elsewhere (--head, from GET /v1/audit/head or from
    the output of this command), and against the certificates of erasures.
    """
    kept = dict(map(_kept, heads or ()))
    with with_database(settings_with()) as settings:
        found = asyncio.run(_verify(settings, kept))
    typer.echo(f"{found.rows} rows are as they were written. Head: {found.head.seq}:{found.head.hash.hex()}")
    if found.broken is not None:
        typer.echo(f"Row {found.broken.seq} {found.broken.why}.", err=True)
        raise typer.Exit(1)


def _kept(given: str) -> tuple[int, bytes]:
    match = _HEAD.fullmatch(given)
    if match is None:
        raise StartupError(f"{given!r} is not a head: it is a number, a colon and 64 hexadecimal digits.")
    return int(match[1]), bytes.fromhex(match[2])


async def _verify(settings: Settings, kept: dict[int, bytes]) -> Verified:
    async with engine_of(settings) as engine, export.snapshot(engine) as session:
        return await audit.verify(session, kept)
