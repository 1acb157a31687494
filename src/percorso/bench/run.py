"""A bench from beginning to end: make a database, store what is to be there, measure the rows, verify."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from percorso.bench import place, preload, report
from percorso.bench.limits import connected
from percorso.bench.load import on_fast_loop
from percorso.bench.place import Place
from percorso.bench.report import Machine, Measured
from percorso.bench.row import Row
from percorso.bench.sides import Options, Pair
from percorso.bench.verify import Verified, verify
from percorso.settings import Settings

_GROWTH: Final = 20
"""A row that grows is measured first when one in so many interactions is stored."""


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
    rows = [row for row in rows if row.cores <= report.cores() or len(rows) == 1]
    with place.made(settings) as here, _progress(console) as progress:
        journeys = any(row.reads_journeys for row in rows)
        histories = any(row.reads_histories for row in rows)
        touchpoints = any(row.reads_touchpoints for row in rows)
        begun = [row.measure(here, options) for row in rows]
        if any(row.grows for row in rows):
            _store(
                here,
                scale // _GROWTH,
                journeys=journeys,
                histories=False,
                touchpoints=touchpoints,
                progress=progress,
            )
            journeys = False
            for row, measuring in zip(rows, begun, strict=True):
                if row.grows:
                    _first(measuring, row, progress)
        _store(here, scale, journeys=journeys, histories=histories, touchpoints=touchpoints, progress=progress)
        measured = [_measure(measuring, row, options, progress) for row, measuring in zip(rows, begun, strict=True)]
        verified = asyncio.run(_verify(here, progress)) if check else None
    return report.machine(here.server_version, embedded=embedded, stored_before=scale), measured, verified


def _first(measuring: Iterator[Pair | None], row: Row, progress: Progress) -> None:
    """Let a row that grows measure what it measures before the store has grown."""
    task = progress.add_task(f"{row.name}, before", total=None)
    next(measuring)
    progress.remove_task(task)


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def _store(here: Place, scale: int, *, journeys: bool, histories: bool, touchpoints: bool, progress: Progress) -> None:
    task = progress.add_task("storing", total=scale)

    def stored(count: int) -> None:
        progress.update(task, completed=min(count, scale))

    on_fast_loop(
        preload.store(here, scale, journeys=journeys, histories=histories, touchpoints=touchpoints, progress=stored)
    )
    progress.remove_task(task)


def _measure(measuring: Iterator[Pair | None], row: Row, options: Options, progress: Progress) -> Measured:
    task = progress.add_task(row.name, total=options.rounds)
    pairs = []
    for pair in measuring:
        if pair is not None:
            pairs.append(pair)
            progress.advance(task)
    return Measured(row, pairs)


async def _verify(here: Place, progress: Progress) -> Verified:
    progress.add_task("verifying", total=None)
    async with connected(here.settings) as (session, _):
        return await verify(session, here.ledger)
