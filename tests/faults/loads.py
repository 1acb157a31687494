"""A load: clients that send single events, JSON arrays and NDJSON at the same time, and note every answer."""

import asyncio
import json
import random
from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import Final, Self

from faults.clients import Answer, Connection
from faults.ledger import Acknowledgement, Ledger
from writing import until

SETTLE_SECONDS: Final = 120

_PATIENCE_SECONDS: Final = 90
"""How long a client waits for an answer: longer than anything in the service may take."""
_PAUSE_SECONDS: Final = 0.05
"""How soon a client sends again after it was refused: impatient, so that recovery is seen when it happens."""
_LINES_A_PIECE: Final = 20
_SIZES: Final = {"single": (1, 1), "array": (2, 120), "ndjson": (2, 300)}


class Load:
    """So many clients against these ports, from entry to exit of the context, or until it is settled.

    What is refused or not answered is sent again, at once or, without `retry`, when the load is settled. `most` bounds
    the events of a request. `unexpected` has a line for whatever no client may ever see: a 5xx that is no 503, a 503
    without Retry-After, a conflict, a verdict that no one understands, no answer at all.
    """

    def __init__(
        self, ports: Iterable[int], ledger: Ledger, *, clients: int = 12, retry: bool = True, most: int = 300
    ) -> None:
        self.ledger = ledger
        self.statuses: Counter[int] = Counter()
        self.hung_up = 0
        self.unexpected: list[str] = []
        self._ports = list(ports)
        self._clients = clients
        self._retry = retry
        self._most = most
        self._moments = array("d")
        self._again: deque[int] = deque()
        self._flying = 0
        self._fresh = True
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        ports = (self._ports[number % len(self._ports)] for number in range(self._clients))
        self._tasks = [asyncio.create_task(self._client(port)) for port in ports]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Begin no more requests, and wait for the answers to those that are under way."""
        self._ending = True
        await self._finished()

    async def settle(self) -> None:
        """Send nothing new, and send again all that is not acknowledged until it is."""
        self._fresh = False
        if not self._retry:
            self._retry = True
            self._again.extend(self.ledger.outstanding())
        await self._finished()
        assert not self.ledger.outstanding(), f"never acknowledged: {self.ledger.outstanding()[:5]}"

    async def _finished(self) -> None:
        async with asyncio.timeout(SETTLE_SECONDS):
            await asyncio.gather(*self._tasks)

    @property
    def flying(self) -> int:
        """How many requests are under way."""
        return self._flying

    @property
    def last_acknowledged(self) -> float:
        """When the last acknowledgement came, by the monotonic clock; 0 before the first."""
        return self._moments[-1] if self._moments else 0

    async def acknowledged_after(self, moment: float, seconds: float = 60) -> float:
        """Wait for the first acknowledgement after this moment of the monotonic clock; how much later it came."""
        await until(lambda: self.last_acknowledged > moment, seconds)
        return self._moments[bisect_left(self._moments, moment)] - moment

    async def acknowledged_more(self, count: int, seconds: float = 60) -> None:
        """Wait until so many more requests are answered with an acknowledgement."""
        end = len(self._moments) + count
        await until(lambda: len(self._moments) >= end, seconds)

    async def refused_more(self, count: int, seconds: float = 60) -> None:
        """Wait until so many more requests are answered with 503."""
        end = self.statuses[503] + count
        await until(lambda: self.statuses[503] >= end, seconds)

    async def _client(self, port: int) -> None:
        async with Connection(port) as connection:
            while not self._ending:
                kind = random.choice(list(_SIZES))
                numbers = self._taken(kind)
                if numbers:
                    self._flying += 1
                    try:
                        missing = await self._send(connection, kind, numbers)
                    finally:
                        self._flying -= 1
                    if self._retry:
                        self._again.extend(missing)
                    if missing:
                        await asyncio.sleep(_PAUSE_SECONDS)
                elif self._flying:
                    await asyncio.sleep(_PAUSE_SECONDS)
                else:
                    return

    def _taken(self, kind: str) -> list[int]:
        """What to send next: first what must be sent again."""
        size = min(random.randint(*_SIZES[kind]), self._most)
        numbers = [self._again.popleft() for _ in range(min(size, len(self._again)))]
        return numbers or (self.ledger.new(size) if self._fresh else [])

    async def _send(self, connection: Connection, kind: str, numbers: Sequence[int]) -> Sequence[int]:
        """Send these events; those that the answer does not acknowledge."""
        kind = "array" if kind == "single" and len(numbers) > 1 else kind
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await self._asked(connection, kind, [self.ledger.event(number) for number in numbers])
        except TimeoutError:
            self.unexpected.append(f"{kind}: no answer within {_PATIENCE_SECONDS} s")
            return numbers
        except OSError:
            self.hung_up += 1
            return numbers
        self.statuses[answer.status] += 1
        try:
            missing = list(self._missing(kind, answer, numbers))
        except (LookupError, TypeError, ValueError) as error:
            self.unexpected.append(f"{kind}: {error!r} of {answer}")
            return numbers
        if len(missing) < len(numbers):
            self._moments.append(monotonic())
        return missing

    async def _asked(self, connection: Connection, kind: str, events: Sequence[bytes]) -> Answer:
        path = "/v1/interactions"
        if kind == "single":
            return await connection.ask("POST", path, events[0], content_type="application/json")
        if kind == "array":
            body = b"[" + b",".join(events) + b"]"
            return await connection.ask("POST", f"{path}/batch", body, content_type="application/json")
        pieces = (b"\n".join(events[at : at + _LINES_A_PIECE]) + b"\n" for at in range(0, len(events), _LINES_A_PIECE))
        return await connection.ask("POST", f"{path}/batch", pieces, content_type="application/x-ndjson")

    def _missing(self, kind: str, answer: Answer, numbers: Sequence[int]) -> Iterator[int]:
        """Take note of what an answer acknowledges; the others. ValueError where it says what it must not."""
        if answer.status == 503:
            if int(answer.headers["retry-after"]) < 1:
                raise ValueError("Retry-After")
            yield from numbers
            return
        if answer.status not in {200, 201}:
            raise ValueError(f"status {answer.status}")
        said = json.loads(answer.body)
        if kind == "single":
            self.ledger.acknowledge(numbers[0], _acknowledgement(said["status"]))
            return
        if said["received"] != len(numbers):
            raise ValueError(f"{said['received']} received of {len(numbers)}")
        named = {result["index"]: result["status"] for result in said["results"]}
        for index, number in enumerate(numbers):
            status = named.get(index, "stored")
            if status == "retry":
                yield number
            else:
                self.ledger.acknowledge(number, _acknowledgement(status))


def _acknowledgement(status: str) -> Acknowledgement:
    if status == "stored":
        return "stored"
    if status == "duplicate":
        return "duplicate"
    raise ValueError(f"verdict {status}")
