"""Whether a process has more to do than it can, and what it then leaves undone: what matters least, first.

Two things are measured ten times a second: how late the event loop is, which is how long everyone waits for nothing,
and how full the writer's queue is. The level rises when they were high three times in a row, and falls only when they
were low for ten: it does not flap.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from percorso.ops import metrics
from percorso.settings import RouteGroup

_log = structlog.get_logger("percorso.pressure")

SHED_AT: Final[dict[RouteGroup, int]] = {"analytics": 1, "exports": 1, "reads": 2}
"""The level from which on requests of a group are refused; ingest is refused by its own bounds alone, the last."""

_EVERY_SECONDS: Final = 0.1
_TO_RISE: Final = 3
_TO_FALL: Final = 10
_LATER: Final = 2
"""How many times as late the loop is at the second level."""
_FILLS: Final = (0.6, 0.95)
"""How full the queue is at each level: where it is full, single interactions are refused."""


class Pressure:
    """One a process."""

    def __init__(self, lag_seconds: float) -> None:
        self._lag = lag_seconds
        self._latest: deque[int] = deque([0] * _TO_FALL, maxlen=_TO_FALL)
        self.level = 0

    def sheds(self, group: RouteGroup) -> bool:
        """Whether requests of this group are refused now."""
        return self.level > 0 and self.level >= SHED_AT.get(group, self.level + 1)

    def note(self, *, lag: float, fill: float) -> None:
        """Take in how many seconds the loop is late, and how full the queue is (0 to 1 or a little more)."""
        late = 0 if lag <= self._lag else 1 if lag <= _LATER * self._lag else 2
        full = sum(fill >= each for each in _FILLS)
        self._latest.append(max(late, full))
        before = self.level
        self.level = max(min(list(self._latest)[-_TO_RISE:]), min(self.level, max(self._latest)))
        metrics.LOOP_LATE.observe(lag)
        metrics.PRESSURE.set(self.level)
        if self.level != before:
            refused = sorted(group for group in SHED_AT if self.sheds(group))
            _log.warning("what is refused changed", refused=refused, lag=round(lag, 3), queue=round(fill, 3))

    @asynccontextmanager
    async def watching(self, *, fill: Callable[[], float], held: Callable[[], int]) -> AsyncIterator[None]:
        """Measure within this block; `fill` says how full the queue is, `held` how many bytes of bodies there are."""
        task = asyncio.create_task(self._watch(fill, held), name="percorso-pressure")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            self.level = 0

    async def _watch(self, fill: Callable[[], float], held: Callable[[], int]) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + _EVERY_SECONDS
            await asyncio.sleep(_EVERY_SECONDS)
            self.note(lag=max(0.0, clock() - due), fill=fill())
            metrics.BODY_BYTES.set(held())
