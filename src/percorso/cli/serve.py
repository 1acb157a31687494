"""`percorso serve`: the service, with its own database where none is named."""

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI
from rich.console import Console
from uvicorn.supervisors import Multiprocess

from percorso.app import create_app
from percorso.cli.running import engine_of, settings_with, with_database
from percorso.errors import StartupError
from percorso.http.access import SCOPES
from percorso.http.connections import Connection
from percorso.ops import logs, process
from percorso.queries import api_keys
from percorso.queries.retention import Policy
from percorso.settings import Settings
from percorso.storage import api_keys as store
from percorso.storage.api_keys import hash_key
from percorso.storage.database import reading, url_of, writing

_KEEP_ALIVE_SECONDS = 75
"""Longer than the usual 60 s of proxies and client pools, so that it is they who let go of a connection."""
_WRITER_STOPS_IN_SECONDS = 3
"""What a stop may take beside the requests, where the database does not answer."""
_FIRST_KEY = "first-key"


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on; 127.0.0.1 unless set.")] = None,
    port: Annotated[
        int | None, typer.Option(help="The port to listen on; 8000 unless set, 0 takes a free one.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes serve; 1 unless set.")] = None,
    *,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Bring the database to this release's schema first.")
    ] = False,
) -> None:
    """Start the service. Ctrl-C stops it, after what it has taken is committed.

    Without PERCORSO_DATABASE_URL it runs its own PostgreSQL under PERCORSO_DATA_DIR, and stops that too.
    """
    signal.signal(signal.SIGTERM, _leave)
    wanted = settings_with(host=host, port=port, workers=workers)
    logs.configure(wanted.log_level, wanted.log_format)
    Policy.of(wanted)
    own = wanted.database_url is None
    with with_database(wanted, exclusive=True) as settings, _shared(settings) as shared:
        key = asyncio.run(_prepare(settings, migrate=migrate or own, own=own))
        _hand_down(settings, shared)
        config = uvicorn.Config(
            "percorso.cli.serve:worker",
            factory=True,
            http=Connection,
            ws="none",
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(settings.drain_seconds - _WRITER_STOPS_IN_SECONDS, 1),
        )
        _serve(config, lambda port: _greet(settings, port, key))


def worker() -> FastAPI:
    """The application of one process, with the settings that `serve` handed down."""
    settings = Settings()
    logs.configure(settings.log_level, settings.log_format)
    Connection.patience_seconds = settings.receive_timeout_seconds
    app = create_app(settings)
    process.settle()
    return app


def _leave(*_: object) -> None:
    """On SIGTERM unwind, so that everything started is stopped."""
    raise SystemExit(0)


async def _prepare(settings: Settings, *, migrate: bool, own: bool) -> str | None:
    """Migrate where wanted, and see to a first key for a database of our own; the key that may be shown."""
    async with engine_of(settings, migrate=migrate) as engine:
        if not own or settings.bootstrap_key is not None:
            return None
        kept = settings.data_dir / _FIRST_KEY
        if kept.is_file():
            key = kept.read_text().strip()
            async with reading(engine) as session:
                return key if await api_keys.valid(session, hash_key(key)) else None
        key = store.generate()
        async with writing(engine) as session:
            await store.create(session, name="first", scopes=SCOPES, key=key)
        kept.touch(mode=0o600)
        kept.write_text(key + "\n")
        return key


@contextlib.contextmanager
def _shared(settings: Settings) -> Iterator[Path | None]:
    """A directory in which several workers count together; a single one needs none, and nothing it could write to."""
    if settings.workers == 1:
        yield None
        return
    try:
        directory = tempfile.TemporaryDirectory(prefix="percorso-")
    except OSError as error:
        raise StartupError(
            f"Several workers count together in files, and there is no place for these: {error.strerror}. "
            "Mount a small tmpfs at /tmp, or set PERCORSO_WORKERS=1."
        ) from error
    with directory as path:
        yield Path(path)


def _hand_down(settings: Settings, shared: Path | None) -> None:
    """Put into the environment what worker processes must know; several count in files in the directory `shared`."""
    os.environ["PERCORSO_DATABASE_URL"] = url_of(settings)
    if shared is not None:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)


class _Greeting(uvicorn.Server):
    """A server that says when it is there."""

    def __init__(self, config: uvicorn.Config, greet: Callable[[], None]) -> None:
        super().__init__(config)
        self._greet = greet

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._greet()


def _serve(config: uvicorn.Config, greet: Callable[[int], None]) -> None:
    """Run one process here, or several under a supervisor, until a signal comes."""
    listening = config.bind_socket()
    port = listening.getsockname()[1]
    if config.workers == 1:
        server = _Greeting(config, lambda: greet(port))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
        if not server.started:
            raise SystemExit(3)
    else:
        # Who connects before the first worker serves is kept waiting.
        listening.listen()
        greet(port)
        Multiprocess(config, sockets=[listening]).run()


def _greet(settings: Settings, port: int, key: str | None) -> None:
    """Say where the service is, and give a first thing to try."""
    url = settings.public_url or f"http://{settings.host}:{port}"
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold]percorso[/] takes interactions at [bold]{url}[/]")
    console.print(f"  docs  {url}/docs")
    if key is None:
        console.print("  keys  percorso keys create NAME --scope ingest --scope read\n")
        return
    console.print(f"  key   {key}")
    console.print("  try\n")
    print(  # noqa: T201 - to be pasted as it stands, without markup
        f"curl -H 'Authorization: Bearer {key}' {url}/v1/interactions "
        """-d '{"source": "hello", "id": "1", "channel": "phone", "customer": {"email": "anna@example.com"}}'\n""",
        flush=True,
    )
