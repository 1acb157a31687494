"""A bench from beginning to end: make a database, store what is to be there, measure the rows, verify."""

import asyncio
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from percorso.bench import place, preload, report
from percorso.bench.limits import connected
from percorso.bench.place import Place
from percorso.bench.report import Machine, Measured
from percorso.bench.rows import Row
from percorso.bench.sides import Options
from percorso.bench.verify import Verified, verify
from percorso.settings import Settings


def run(
    settings: Settings,
    rows: Sequence[Row],
    options: Options,
    *,
    scale: int,
    check: bool,
    embedded: bool,
    console: Console,
) -> tuple[Machine, list[Measured], Verified | None]:
    """Measure these rows in a database of their own, with `scale` interactions stored before; `check` verifies it."""
    with place.made(settings) as here, _progress(console) as progress:
        _store(here, scale, journeys=any(row.reads_journeys for row in rows), progress=progress)
        measured = [_measure(here, row, options, progress) for row in rows]
        verified = asyncio.run(_verify(here, progress)) if check else None
    return report.machine(here.server_version, embedded=embedded, stored_before=scale), measured, verified


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def _store(here: Place, scale: int, *, journeys: bool, progress: Progress) -> None:
    task = progress.add_task("storing", total=scale)
    asyncio.run(
        preload.store(
            here, scale, journeys=journeys, progress=lambda stored: progress.update(task, completed=min(stored, scale))
        )
    )
    progress.remove_task(task)


def _measure(here: Place, row: Row, options: Options, progress: Progress) -> Measured:
    task = progress.add_task(row.name, total=options.rounds)
    pairs = []
    for pair in row.measure(here, options):
        pairs.append(pair)
        progress.advance(task)
    return Measured(row, pairs)


async def _verify(here: Place, progress: Progress) -> Verified:
    progress.add_task("verifying", total=None)
    async with connected(here.settings) as (session, _):
        return await verify(session, here.ledger)
