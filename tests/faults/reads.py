"""Readers beside the writers: they ask for a journey, again and again, and note how the service answers."""

import asyncio
import json
from collections import Counter
from time import monotonic
from typing import Final, Self
from urllib.parse import quote

from faults.clients import Answer, Connection
from faults.ledger import Ledger
from writing import until

PATIENCE_SECONDS: Final = 20
"""How long a reader waits for an answer: longer than all timeouts of the services that are tested add up to."""

_PAUSE_SECONDS: Final = 0.05


class Reads:
    """So many readers of the journey of a ledger's first customer, from entry to exit of the context.

    `unexpected` has a line for each answer but 200, and 503 with Retry-After, and for each that did not come.
    """

    def __init__(self, port: int, ledger: Ledger, *, readers: int = 6) -> None:
        self.statuses: Counter[int] = Counter()
        self.unexpected: list[str] = []
        self._port = port
        self._ledger = ledger
        self._readers = readers
        self._good: dict[int, tuple[float, float]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await until(lambda: self._ledger.sent > 0)
        email = json.loads(self._ledger.event(0))["customer"]["email"]
        path = f"/v1/customers/{quote(f'email:{email}', safe='')}/journey"
        async with Connection(self._port) as connection:

            async def is_there() -> bool:
                return (await connection.ask("GET", path)).status == 200

            await until(is_there, 60)
        self._tasks = [asyncio.create_task(self._reader(number, path)) for number in range(self._readers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def all_after(self, moment: float, seconds: float = 60) -> float:
        """Wait until every reader has a page that it asked for after this moment; how much later the last came."""

        def all_have() -> bool:
            return len(self._good) == self._readers and all(asked > moment for asked, _ in self._good.values())

        await until(all_have, seconds)
        return max(ended for _, ended in self._good.values()) - moment

    async def _reader(self, number: int, path: str) -> None:
        async with Connection(self._port) as connection:
            while True:
                asked = monotonic()
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        answer = await connection.ask("GET", path)
                except (OSError, TimeoutError) as error:
                    self.unexpected.append(f"{type(error).__name__} after {monotonic() - asked:.1f} s")
                    continue
                self.statuses[answer.status] += 1
                if answer.status == 200:
                    self._good[number] = asked, monotonic()
                elif not _refused(answer):
                    self.unexpected.append(str(answer))
                await asyncio.sleep(_PAUSE_SECONDS)


def _refused(answer: Answer) -> bool:
    return answer.status == 503 and int(answer.headers.get("retry-after", "0")) > 0
