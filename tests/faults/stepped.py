"""percorso under a wall clock that is stepped from outside: `python stepped.py FILE ARGUMENT…`.

FILE holds the seconds by which the clock is off; the arguments are those of `percorso`. The monotonic clock goes on.
"""

import sys
import threading
import time
from pathlib import Path

import time_machine

from percorso.cli import main

_POLL_SECONDS = 0.02


def _follow(file: Path, clock: time_machine.Traveller) -> None:
    """Step the clock whenever the file says something else."""
    off = 0.0
    while True:
        wanted = float(file.read_text())
        if wanted != off:
            clock.shift(wanted - off)
            off = wanted
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    given = Path(sys.argv.pop(1))
    clock = time_machine.travel(time.time(), tick=True).start()
    threading.Thread(target=_follow, args=(given, clock), daemon=True).start()
    main()
