"""`percorso import`: files into the database, or to a running service."""

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from threading import Thread
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from percorso.cli import destinations
from percorso.cli.destinations import Take, patiently
from percorso.cli.running import engine_of, settings_with, with_database
from percorso.cli.sources import Item, Source, batches, find_mapping, shipped
from percorso.cli.tallying import Tally, bars
from percorso.formats.mapping import RowMapping
from percorso.ingest.verdict import Verdict
from percorso.ops import logs
from percorso.settings import Settings

_IN_FLIGHT = 2
"""Batches on their way while the next is read."""
_INTERRUPTED = 130


def import_(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="Files to read, gzip or not; - is standard input.")
    ],
    mapping: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help=f"How to read delimited text: {', '.join(shipped())}, or a TOML file."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Send to the service that runs there, instead of writing into the database.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="PERCORSO_KEY", help="A key of that service, with the scope ingest.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="How many interactions go together.")] = 1000,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only judge: show the first interaction and what is wrong.")
    ] = False,
) -> None:
    """Import interactions from files: newline-delimited JSON, or delimited text with a mapping.

    To import a file twice is safe: what is stored already is counted as a duplicate, by its `source` and `id`.
    Lines without an `id` of their own cannot be told apart from new ones. What cannot be taken goes into quarantine,
    and the rest is stored. The exit status is 1 where anything was rejected or in conflict.

    A mapping says which column becomes what. For a file orders.csv with the columns order, when, mail, sum:

    ```toml
    source = "orders"
    constants = { channel = "purchase", "details.total.currency" = "EUR" }
    time = { column = "when", format = "%d.%m.%Y %H:%M", zone = "Europe/Rome" }
    id = { columns = ["order"] }
    customer.email = { column = "mail" }

    [fields]
    "details.order_id" = { column = "order" }
    "details.total.amount" = { column = "sum", type = "number" }
    ```

    Try it with `percorso import orders.csv --mapping orders.toml --dry-run`. Further keys: `file` (delimiter, header,
    columns, encoding, decimal), `id.occurrence` (numbers equal rows), `pattern`, `prefix`, `type`, `map`, `default`
    and `when` in fields, `keep_rest`. Cells that stand nowhere else are kept under `source_fields`.
    """
    settings = settings_with()
    logs.configure("warning", settings.log_format)
    rows = None if mapping is None else find_mapping(mapping)
    sources = [Source(file) for file in files]
    tally = Tally(dry=dry_run)
    with nullcontext(settings) if url or dry_run else with_database(settings) as ready:
        if not url and not dry_run and settings.database_url is None:
            asyncio.run(_migrate(ready))
        if dry_run:
            destination = destinations.nowhere(ready)
        else:
            destination = destinations.service(url, key) if url else destinations.database(ready)
        try:
            interrupted = asyncio.run(
                _import(sources, rows, destination, tally, ready.max_event_bytes, batch, show=dry_run)
            )
        except BaseException:
            if tally.read:
                _report(tally)
            raise
        _report(tally)
    if interrupted or not tally.sound:
        raise typer.Exit(_INTERRUPTED if interrupted else 1)


async def _migrate(settings: Settings) -> None:
    async with engine_of(settings, migrate=True):
        pass


async def _import(
    sources: Sequence[Source],
    mapping: RowMapping | None,
    destination: AbstractAsyncContextManager[Take],
    tally: Tally,
    max_bytes: int,
    size: int,
    *,
    show: bool,
) -> bool:
    """Import these files, one after the other; whether it was interrupted, after all that was on its way has come."""
    this = asyncio.current_task()
    assert this is not None  # noqa: S101 - this is a coroutine
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with destination as take:
        with bars() as progress:
            try:
                for source in sources:
                    await _import_one(source, mapping, take, tally, max_bytes, size, progress, show=show)
            except asyncio.CancelledError:
                this.uncancel()
                return True
    return False


async def _import_one(
    source: Source,
    mapping: RowMapping | None,
    take: Take,
    tally: Tally,
    max_bytes: int,
    size: int,
    progress: Progress,
    *,
    show: bool,
) -> None:
    task = progress.add_task(Path(source.name).name, total=source.size, said="")
    cut = batches(source.items(mapping, max_bytes=max_bytes), size)
    flying: deque[tuple[list[Item], asyncio.Task[list[Verdict]]]] = deque()

    async def land() -> None:
        items, answer = flying[0]
        tally.add(source.name, items, await asyncio.shield(answer))
        flying.popleft()
        progress.update(task, completed=source.position, total=source.size, said=tally.brief())

    try:
        while items := await _next(cut):
            if show:
                _show(items)
                show = False
            contents = [item.content for item in items]
            flying.append((items, asyncio.create_task(patiently(take, contents))))
            if len(flying) >= _IN_FLIGHT:
                await land()
        while flying:
            await land()
    except BaseException:
        # What is on its way may be stored, and counts.
        answers = await asyncio.gather(*(answer for _, answer in flying), return_exceptions=True)
        for (items, _), verdicts in zip(flying, answers, strict=True):
            if not isinstance(verdicts, BaseException):
                tally.add(source.name, items, verdicts)
        raise


async def _next(cut: Iterator[list[Item]]) -> list[Item] | None:
    """The next batch. Reading blocks and takes as long as storing does, so it has a thread.

    The thread may be left behind: one that waits for standard input must not hold up an interrupted import.
    """
    batch: Future[list[Item] | None] = Future()
    batch.set_running_or_notify_cancel()

    def read() -> None:
        try:
            batch.set_result(next(cut, None))
        except BaseException as error:  # noqa: BLE001 - it is raised where the batch is awaited
            batch.set_exception(error)

    Thread(target=read, daemon=True).start()
    return await asyncio.wrap_future(batch)


def _show(items: Sequence[Item]) -> None:
    """Show the first of these items that is one, as it would be sent."""
    first = next((item.content for item in items if isinstance(item.content, bytes)), None)
    if first is not None:
        with contextlib.suppress(ValueError):
            Console(stderr=True).print_json(first.decode())


def _report(tally: Tally) -> None:
    for said in tally.named:
        typer.echo(said, err=True)
    typer.echo(tally.line())
