"""`percorso retention`: what is not to be kept, counted or taken away."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from percorso.cli.running import engine_of, settings_with, with_database
from percorso.errors import StartupError
from percorso.ops import logs
from percorso.queries import export
from percorso.queries import retention as queries
from percorso.queries.retention import Count, Policy
from percorso.settings import Settings
from percorso.storage.database import url_of
from percorso.workers import retention
from percorso.workers.retention import Outcome

app = typer.Typer(help="Take away what is not to be kept, which a running service does by itself.")


@app.callback(invoke_without_command=True)
def retention_(
    context: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would go, month by month, and leave it.")
    ] = False,
) -> None:
    """Take away what PERCORSO_RETENTION_… and the like say is not to be kept; with `--dry-run`, only count it."""
    if context.invoked_subcommand is not None:
        if dry_run:
            raise typer.BadParameter("stands alone: `percorso retention --dry-run`.", param_hint="--dry-run")
        return
    if not dry_run:
        typer.echo(context.get_help())
        return
    settings = settings_with()
    logs.configure("warning", settings.log_format)
    with with_database(settings) as ready:
        asyncio.run(_count(ready))


@app.command()
def run() -> None:
    """Take away what is due now; safe beside a running service."""
    settings = settings_with()
    logs.configure("warning", settings.log_format)
    with with_database(settings) as ready:
        outcome = asyncio.run(_run(ready))
    if outcome is None:
        raise StartupError("Another run is in progress.")
    console = Console(highlight=False)
    console.print(
        f"Gone: {outcome.partitions} months as a whole and {outcome.commit_days} days of the commit log "
        f"({decimal(outcome.bytes)}), {outcome.interactions} single interactions, {outcome.rejected} refused items."
    )
    if outcome.postponed:
        console.print(f"In use for long, and left for the next run: {', '.join(outcome.postponed)}.")


async def _run(settings: Settings) -> Outcome | None:
    async with engine_of(settings):
        pass
    return await retention.run(url_of(settings), settings, Policy.of(settings), datetime.now(UTC))


async def _count(settings: Settings) -> None:
    """Print what would go."""
    policy, now = Policy.of(settings), datetime.now(UTC)
    table = Table("what", "channel", "how", box=None)
    for name in ("number", "about"):
        table.add_column(name, justify="right")
    interactions = 0
    async with engine_of(settings) as engine, export.snapshot(engine) as session:
        async for count in queries.counts(session, policy, now):
            interactions += count.interactions
            table.add_row(*_row(count))
        for day in await queries.commit_days(session, policy, now):
            table.add_row(f"commit log of {day.first:%Y-%m-%d}", "", "whole", "", decimal(day.size))
        rejected = await queries.count_rejected(session, policy, now)
    if rejected:
        table.add_row("quarantine", "", "single", str(rejected), "")
    console = Console(highlight=False)
    if table.row_count:
        console.print(table)
    console.print(f"{interactions} interactions and {rejected} refused items would go.")


def _row(count: Count) -> tuple[str, ...]:
    how = "whole" if count.whole else "single"
    return f"{count.month.first:%Y-%m}", count.channel, how, str(count.interactions), decimal(count.bytes)
