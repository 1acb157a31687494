"""A look at a service's health from outside, again and again, as an orchestrator has it."""

import asyncio
from collections import Counter
from time import monotonic
from typing import Final, Self

from faults.servers import status
from writing import until

_PAUSE_SECONDS: Final = 0.05


class Watch:
    """Asks for `/health/live` and `/health/ready` from entry to exit of the context, each on new connections.

    `live` counts the answers to the first by status; None where there was none.
    """

    def __init__(self, port: int) -> None:
        self.live: Counter[int | None] = Counter()
        self._port = port
        self._ready: list[tuple[float, float, int | None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._watch_live()), asyncio.create_task(self._watch_ready())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ready_after(self, moment: float, seconds: float = 60) -> float:
        """Wait for the first 200 to a question asked after this moment of the monotonic clock; how much later."""
        return await self._seen(200, moment, seconds)

    async def unready_after(self, moment: float, seconds: float = 60) -> float:
        """The same of the first 503."""
        return await self._seen(503, moment, seconds)

    async def _seen(self, wanted: int, moment: float, seconds: float) -> float:
        def moments() -> list[float]:
            return [ended for asked, ended, status in self._ready if status == wanted and asked >= moment]

        await until(moments, seconds)
        return moments()[0] - moment

    async def _watch_live(self) -> None:
        while True:
            self.live[await status(self._port, "/health/live")] += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _watch_ready(self) -> None:
        while True:
            asked = monotonic()
            answer = await status(self._port, "/health/ready")
            self._ready.append((asked, monotonic(), answer))
            await asyncio.sleep(_PAUSE_SECONDS)
