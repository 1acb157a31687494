"""A server under load, as a process: `python -m percorso.bench.server percorso|two-workers|accepted|ordinary`.

It listens on a free port of 127.0.0.1, which it prints once it serves, and ends on SIGTERM or when its standard input
is closed, as it is when whoever started it is gone.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from percorso.app import create_app, workers_of
from percorso.http.connections import Connection
from percorso.ingest.verdict import Verdict
from percorso.ingest.writer import Writer
from percorso.ops import logs, process
from percorso.queries.recounting import FOLLOWER
from percorso.settings import Settings
from percorso.storage.interactions import Row
from percorso.storage.rejected import Rejection

TWO_WORKERS: Final = "two-workers"
WITHOUT_ROLLUPS: Final = "without-rollups"
_KEEP_ALIVE_SECONDS: Final = 75


class Forgetful(Writer):
    """Says of everything that it is stored, and stores nothing: what is left is the cost of all the rest."""

    async def write(
        self,
        rows: Sequence[Row],
        rejections: Sequence[Rejection],  # noqa: ARG002 - the writer's signature
        *,
        wait: bool = False,  # noqa: ARG002 - the writer's signature
    ) -> list[Verdict]:
        """Give the verdict that a new row gets."""
        return [Verdict("stored", row.id, row.identifiers[0].id, row.received_at) for row in rows]


def percorso() -> FastAPI:
    """The service as it is."""
    return create_app(_settings())


def accepted() -> FastAPI:
    """The service with a writer that stores nothing."""
    return create_app(_settings(), writer_class=Forgetful)


def ordinary() -> FastAPI:
    """An ordinary service."""
    from percorso.bench import ordinary  # noqa: PLC0415 - the other servers are to be as they are in production

    return ordinary.app


def without_rollups() -> FastAPI:
    """The service as it is, but for the worker that keeps rollups."""
    return create_app(
        _settings(), workers=lambda services: [each for each in workers_of(services) if each.name != FOLLOWER]
    )


def two_workers() -> FastAPI:
    """The service as it is, in one of two processes."""
    app = percorso()
    process.settle()
    return app


APPLICATIONS: Final[dict[str, Callable[[], FastAPI]]] = {
    "percorso": percorso,
    "accepted": accepted,
    "ordinary": ordinary,
    WITHOUT_ROLLUPS: without_rollups,
}


def _settings() -> Settings:
    settings = Settings()
    logs.configure(settings.log_level, settings.log_format)
    return settings


class _Server(uvicorn.Server):
    """A server that prints its port once it serves."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            print(sockets[0].getsockname()[1], flush=True)  # noqa: T201 - this is how it tells


def _end_with_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main(name: str) -> None:
    """Serve one of the applications, in the way of `percorso serve` with one worker, or with two."""
    several = name == TWO_WORKERS
    app = "percorso.bench.server:two_workers" if several else APPLICATIONS[name]()
    process.settle()
    config = uvicorn.Config(
        app,
        factory=several,
        workers=2 if several else 1,
        host="127.0.0.1",
        port=0,
        http="httptools" if name == "ordinary" else Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
    )
    threading.Thread(target=_end_with_input, daemon=True).start()
    listening = config.bind_socket()
    if several:
        # Who connects before they serve is kept waiting.
        listening.listen()
        print(listening.getsockname()[1], flush=True)  # noqa: T201 - as below
        Multiprocess(config, sockets=[listening]).run()
        return
    server = _Server(config)
    server.run(sockets=[listening])
    if not server.started:
        raise SystemExit(3)


if __name__ == "__main__":
    main(sys.argv[1])
