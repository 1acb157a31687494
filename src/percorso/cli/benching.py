"""`percorso bench`: how fast this machine is, as ratios."""

import json
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console

from percorso.bench import report
from percorso.bench.rows import ROWS
from percorso.bench.run import run
from percorso.bench.sides import Options
from percorso.cli.running import settings_with, with_database
from percorso.errors import StartupError
from percorso.ops import logs

_WIDE = 180
"""Columns of the table where it does not go to a terminal: none of its own are left out."""


def bench(
    only: Annotated[list[str] | None, typer.Option(help=f"Only this row; may be repeated: {', '.join(ROWS)}.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each row is measured; medians are told.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each side of a round lasts.")] = 5,
    connections: Annotated[int, typer.Option(min=1, help="Connections of single posts.")] = 64,
    lines: Annotated[int, typer.Option(min=1, help="Lines of a stream.")] = 200_000,
    posts: Annotated[int, typer.Option(min=10, help="Single posts over which memory is watched.")] = 100_000,
    scale: Annotated[
        int, typer.Option(min=0, help="Interactions stored before; rows that grow are measured at a twentieth too.")
    ] = 1_000_000,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="At the end hold what is stored against what was acknowledged.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure this machine: each figure a ratio to a limit taken in the same run.

    It works in a database of its own, made beside the configured one and dropped at the end. With `--verify` it exits
    with 1 where anything acknowledged was lost or doubled.
    """
    unknown = sorted(set(only or ()) - ROWS.keys())
    if unknown:
        raise StartupError(f"There is no row {unknown[0]!r}: choose from {', '.join(ROWS)}.")
    signal.signal(signal.SIGTERM, _leave)
    configured = settings_with()
    logs.configure("warning", configured.log_format)
    with with_database(configured) as settings:
        where, measured, verified = run(
            settings,
            [row for name, row in ROWS.items() if not only or name in only],
            Options(rounds=rounds, seconds=seconds, connections=connections, lines=lines, posts=posts),
            scale=scale,
            check=verify,
            embedded=configured.database_url is None,
            console=Console(stderr=True),
        )
    if as_json:
        typer.echo(json.dumps(report.as_json(where, measured, verified), indent=2))
    else:
        report.render(Console(width=None if sys.stdout.isatty() else _WIDE), where, measured, verified)
    if verified is not None and not verified.good:
        raise typer.Exit(1)


def _leave(*_: object) -> None:
    """On SIGTERM unwind, so that everything started is stopped and the database is dropped."""
    raise SystemExit(0)
