"""Goes on with erasures that were begun and not completed, since their process ended or the database was away."""

from typing import Final

from percorso.ingest.erase import Eraser
from percorso.workers.runtime import Worker

_EVERY_SECONDS: Final = 30.0


def worker(eraser: Eraser) -> Worker:
    """The worker that does so."""
    return Worker("erasures", _EVERY_SECONDS, eraser.go_on_with_oldest)
