"""`percorso export`: interactions as a file, which `percorso import` takes back."""

import asyncio
import contextlib
import gzip
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Annotated, BinaryIO, Final

import typer
from pydantic import TypeAdapter, ValidationError

from percorso.app import serving
from percorso.cli.running import engine_of, settings_with, with_database
from percorso.cli.tallying import bars, rate
from percorso.details import Moment
from percorso.errors import StartupError
from percorso.http import parameters
from percorso.http.services import Services
from percorso.ops import logs
from percorso.queries import customers, export
from percorso.settings import Settings

_LINE_BREAKS: Final = bytes.maketrans(b"\r\n", b"  ")
"""JSON has them only between its tokens, where a blank says the same."""
_MOMENT: Final[TypeAdapter[datetime]] = TypeAdapter(Moment)


def export_(
    customer: Annotated[
        str | None, typer.Option(metavar="REF", help="Only this customer's: an id, or such as email:anna@example.com.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="MOMENT", help="Only from then on, such as 2026-11-20T10:00:00Z.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="MOMENT", help="Only before then.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write; compressed if it ends in .gz.")
    ] = None,
) -> None:
    """Export interactions as newline-delimited JSON, in order of time, as they stand at this moment.

    Each is what its sender gave, enriched where it was enriched, and complete by itself: `percorso import` takes it
    back, into this database as a duplicate. What is in quarantine, and what was said of customers other than by
    interactions, is not exported.
    """
    settings = settings_with()
    logs.configure("warning", settings.log_format)
    low, high = _moment(since, "--from"), _moment(until, "--to")
    began = monotonic()
    with with_database(settings) as ready, _writing(output) as file:
        count = asyncio.run(_export(ready, file, customer, low, high, migrate=settings.database_url is None))
    typer.echo(f"exported {count} in {rate(count, began)}", err=output is None)


async def _export(
    settings: Settings,
    file: BinaryIO,
    customer: str | None,
    since: datetime | None,
    until: datetime | None,
    *,
    migrate: bool,
) -> int:
    """Write what is wanted, and say how many there were."""
    if migrate:
        async with engine_of(settings, migrate=True):
            pass
    async with serving(settings) as services:
        return await _write(services, file, customer, since, until)


async def _write(
    services: Services, file: BinaryIO, customer: str | None, since: datetime | None, until: datetime | None
) -> int:
    count, done, began = 0, 0, monotonic()
    async with export.snapshot(services.engine) as session:
        identities = None
        if customer is not None:
            identity = await parameters.customer(customer, services)
            identities = (await customers.by_identity(session, identity)).identity_ids
        parts = await export.parts(session, since=since, until=until)
        total = sum(part.size for part in parts)
        with bars() as progress:
            task = progress.add_task("export", total=total, said="")
            for part in parts:
                written = 0
                async for documents in export.documents(session, part, identities):
                    lines = [document.encode().translate(_LINE_BREAKS) + b"\n" for document in documents]
                    file.writelines(lines)
                    count += len(lines)
                    written += sum(map(len, lines))
                    said = f"{count} in {rate(count, began)}"
                    progress.update(task, completed=done + min(written, part.size), said=said)
                done += part.size
                progress.update(task, completed=done)
    return count


@contextlib.contextmanager
def _writing(output: Path | None) -> Iterator[BinaryIO]:
    """Where to write. A file is there under its name only once it is complete, for its owner alone to read."""
    if output is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read has enough; the interpreter would complain of the pipe once more when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        return
    part = output.with_name(f"{output.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise StartupError(f"{output} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "wb") as plain:
            if output.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=plain, mode="wb", compresslevel=6) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield plain
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _moment(given: str | None, option: str) -> datetime | None:
    if given is None:
        return None
    try:
        return _MOMENT.validate_python(given)
    except ValidationError:
        wanted = "a date and time with an offset, such as 2026-11-20T10:00:00+01:00"
        raise StartupError(f"{option} must be {wanted}.") from None
