"""How much each key may send: a token bucket a key, which all processes of the service share through the database.

One interaction costs one, and so does every other request; a batch costs as many as it has items. A bucket has `burst`
tokens at most and gains `rate` a second. What is not empty lets a request through, however much that costs: a batch may
leave it below zero, and then nothing goes through until that is paid.

A process takes tokens from the database in *slices*, ahead of need, so that a request asks nothing. Whatever was given
out and is not used yet lies in slices, one a process at most. So, however many processes there are, what goes through
in `t` seconds is at most `burst + rate × t`, and a slice for each process, and what the largest request costs.

Where the database cannot be asked, each process goes on by itself from what it last knew.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Final

import structlog
from asyncpg.pgproto.pgproto import UUID
from fastapi import Request
from starlette.types import Scope

from percorso.errors import TooManyRequests
from percorso.http import budgets
from percorso.http.callers import Caller
from percorso.ops import logs, metrics
from percorso.settings import Settings
from percorso.storage import rates as store
from percorso.storage.database import WriteSession, is_away, limited
from percorso.storage.rates import Lease

Connect = Callable[[], Awaitable[WriteSession]]

_log = structlog.get_logger("percorso.rates")

_BURST_SECONDS: Final = 10
"""How long a rate gathers where no burst is named."""
_SLICE_SECONDS: Final = 0.2
_SLICE_OF_BURST: Final = 20
_PATIENCE_SECONDS: Final = 10.0
"""How long a part of a batch waits for its turn."""
_LEASE_SECONDS: Final = 1.0
"""How long the database is waited for."""
_AWAY_SECONDS: Final = 1.0
"""How long it is not asked after it could not be."""
_MOST_REMEMBERED: Final = 10_000
_LONGEST_SECONDS: Final = 3600
"""The longest that anyone is told to wait: by then the key may be allowed more."""
_SPENT: Final = "percorso.spent"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a key may send: `rate` a second, of which up to `burst` may gather."""

    rate: float
    burst: int

    @classmethod
    def of(cls, rate: float | None, burst: int | None) -> "Policy | None":
        """That of a rate, or None where there is no limit."""
        if rate is None:
            return None
        return cls(rate, burst or max(1, ceil(rate * _BURST_SECONDS)))

    @property
    def slice(self) -> int:
        """How many a process takes from the database at once."""
        return max(1, min(self.burst, max(self.burst // _SLICE_OF_BURST, int(self.rate * _SLICE_SECONDS))))

    @property
    def window(self) -> int:
        """The whole seconds in which as many are added as may gather, 1 at least."""
        return max(1, ceil(self.burst / self.rate))

    @property
    def quota(self) -> int:
        """How many go through in a window, on and on."""
        return max(self.burst, int(self.rate * self.window)) if self.window == 1 else self.burst


class Rates:
    """One a process; `close` it at the end."""

    def __init__(self, connect: Connect, settings: Settings) -> None:
        self._connect = connect
        self._usual = Policy.of(settings.key_rate, settings.key_burst)
        self._buckets: dict[UUID, _Bucket] = {}
        self._session: WriteSession | None = None
        self._turn = asyncio.Lock()
        self._away_until = 0.0

    async def spend(self, request: Request, caller: Caller, count: int = 1) -> None:
        """Let so much of what a key may send be sent, or raise TooManyRequests."""
        bucket = self._of(caller)
        if bucket is not None and count > 0:
            request.scope[_SPENT] = bucket
            await _spent(bucket, count)

    async def pace(self, scope: Scope, caller: Caller, count: int) -> None:
        """As `spend`, but wait a while where the key has sent all that it may: its sender is slowed down to its rate.

        Others have the request's place meanwhile.
        """
        bucket = self._of(caller)
        if bucket is None or count <= 0:
            return
        patient_until = monotonic() + _PATIENCE_SECONDS
        while monotonic() < patient_until:
            try:
                await bucket.spend(count)
            except TooManyRequests:
                wait = bucket.wait()
                if monotonic() + wait > patient_until:
                    break
                with budgets.aside(scope):
                    await asyncio.sleep(wait)
            else:
                return
        await _spent(bucket, count)

    async def close(self) -> None:
        """End what is under way, and disconnect."""
        asking = [bucket.asking for bucket in self._buckets.values() if bucket.asking is not None]
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)
        self._disconnect()

    def _of(self, caller: Caller) -> "_Bucket | None":
        if caller.rate is None and self._usual is None:
            return None
        bucket = self._buckets.get(caller.counted_as)
        if bucket is not None and bucket.of == (caller.rate, caller.burst):
            return bucket
        policy = self._usual if caller.rate is None else Policy.of(caller.rate, caller.burst)
        if policy is None:
            return None
        if bucket is None or bucket.policy != policy:
            if len(self._buckets) >= _MOST_REMEMBERED:
                self._buckets = {key_id: each for key_id, each in self._buckets.items() if each.asking is not None}
            bucket = self._buckets[caller.counted_as] = _Bucket(caller.counted_as, policy, self._lease)
        bucket.of = caller.rate, caller.burst
        return bucket

    async def _lease(self, key_id: UUID, policy: Policy, need: int, more: int) -> Lease | None:
        """Tokens out of the database; None where it cannot be asked."""
        async with self._turn:
            if monotonic() < self._away_until:
                return None
            try:
                if self._session is None or self._session.is_closed():
                    async with asyncio.timeout(_LEASE_SECONDS):
                        self._session = await self._connect()
                with limited(self._session, _LEASE_SECONDS):
                    return await store.lease(
                        self._session, key_id, rate=policy.rate, burst=policy.burst, need=need, more=more
                    )
            except Exception as error:
                self._disconnect()
                if not is_away(error):
                    raise
                self._away_until = monotonic() + _AWAY_SECONDS
                _log.warning("rates are counted by each process alone", **logs.described(error))
                return None

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.terminate()


async def _spent(bucket: "_Bucket", count: int) -> None:
    """Spend so much, and count it where that is refused."""
    try:
        await bucket.spend(count)
    except TooManyRequests:
        metrics.RATE_LIMITED.inc()
        raise


class _Bucket:
    """What this process knows of one key's bucket: its slice, and what was left in the database when it last asked."""

    def __init__(
        self, key_id: UUID, policy: Policy, lease: Callable[[UUID, Policy, int, int], Awaitable[Lease | None]]
    ) -> None:
        self.policy = policy
        self.of: tuple[float | None, int | None] | None = None
        self.asking: asyncio.Task[None] | None = None
        self._key_id = key_id
        self._lease = lease
        self._slice = policy.slice
        self._held = 0
        self._left = float(policy.burst)
        self._at = monotonic()
        self._empty_until = 0.0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._says = f'"key";q={policy.quota};w={policy.window}'.encode()

    async def spend(self, count: int) -> None:
        """Take so many, or raise TooManyRequests; only where the slice is used up this waits for the database."""
        if self._held >= count and not self._waiting:
            self._held -= count
            if self._held < self._slice / 2 and monotonic() >= self._empty_until:
                self._ask()
            return
        if self.wait() > 0:
            raise self._refusal()
        admitted = asyncio.get_running_loop().create_future()
        self._waiting.append((count, admitted))
        self._ask()
        await admitted

    def wait(self) -> float:
        """The seconds until the database will have something to give again; 0 where it may have something now."""
        return max(0.0, self._empty_until - monotonic())

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What a client is told, as draft-ietf-httpapi-ratelimit-headers-10 has it: `t` seconds from now all is there.

        Where nothing is left, `t` is when there will be something.
        """
        there = self._there()
        left = min(self.policy.quota, max(0, int(self._held + there)))
        seconds = (self.policy.quota - left if left else 1 - there) / self.policy.rate
        now = b'"key";r=%d;t=%d' % (left, min(_LONGEST_SECONDS, max(0, ceil(seconds))))
        return [(b"ratelimit-policy", self._says), (b"ratelimit", now)]

    def _there(self) -> float:
        """What is left in the database, as far as is known."""
        return min(self.policy.burst, self._left + self.policy.rate * (monotonic() - self._at))

    def _refusal(self) -> TooManyRequests:
        seconds = min(_LONGEST_SECONDS, max(1, ceil(self._empty_until - monotonic())))
        return TooManyRequests(
            f"This key may send {self.policy.rate:g} interactions and other requests a second, of which "
            f"{self.policy.burst} may gather; nothing was taken. To send the same again is safe.",
            retry_after=seconds,
        )

    def _ask(self) -> None:
        if self.asking is None:
            self.asking = asyncio.create_task(self._fill(), name="percorso-rates")

    async def _fill(self) -> None:
        """Fetch a slice, and what those who wait need; they are let through or refused in the order they came."""
        try:
            while await self._filled() and self._waiting:
                pass
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and the next asks again
            _log.error("a rate could not be asked for", **logs.described(error))
            for _, admitted in self._waiting:
                if not admitted.done():
                    admitted.set_exception(error)
            self._waiting.clear()
        finally:
            self.asking = None

    async def _filled(self) -> bool:
        """Fetch once; False where there was nothing, and who waits was refused."""
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()
        if not self._waiting and self._held >= self._slice / 2:
            return True
        need, more = self._wanted()
        leased = await self._lease(self._key_id, self.policy, need, more)
        if leased is None:
            there = self._there()
            granted = store.given(there, need=need, more=more)
            leased = Lease(granted, there - granted)
        self._held += leased.granted
        self._left, self._at = leased.left, monotonic()
        while self._waiting and self._waiting[0][0] <= self._held:
            count, admitted = self._waiting.popleft()
            if not admitted.done():
                self._held -= count
                admitted.set_result(None)
        if not self._waiting:
            # What those were given who gave up meanwhile is lost: nothing but a slice is kept.
            self._held = min(self._held, self._slice)
        if leased.granted:
            return True
        self._empty_until = monotonic() + (1 - leased.left) / self.policy.rate
        while self._waiting:
            _, admitted = self._waiting.popleft()
            if not admitted.done():
                admitted.set_exception(self._refusal())
        return False

    def _wanted(self) -> tuple[int, int]:
        """What the first who waits needs, and how many more are asked for: a slice, and one for each who needs one."""
        if not self._waiting:
            return 0, self._slice - self._held
        more = 0
        for count, _ in list(self._waiting)[1:]:
            if count > 1:
                break
            more += 1
        return max(0, self._waiting[0][0] - self._held), self._slice + more


def headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The headers that tell a client what its key may still send; none where there is no limit."""
    bucket: _Bucket | None = scope.get(_SPENT)
    return [] if bucket is None else bucket.headers()
