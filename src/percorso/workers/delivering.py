"""Delivers to subscribers what they are to be told: in order, until they take it.

What waits for a subscription is posted to it one after the other, the earliest first. Any 2xx takes a delivery. After
anything else the subscription is left alone for a while, longer each time (from `_FIRST_PAUSE` to `_LONGEST_PAUSE`),
and begun again with the same delivery, under the same `webhook-id`. A delivery is given up when it is older than
`_GIVE_UP_AFTER`, or was refused `_REFUSALS` times by an answer of 4xx: else one that a subscriber cannot take would
hold back all others. 410 ends the subscription.

Two that do this at once, or one that is killed before it has put down what was taken, deliver something twice: the
`webhook-id` tells.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import structlog
from asyncpg.pgproto.pgproto import UUID
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.ops import logs, metrics
from percorso.queries import deliveries as waiting
from percorso.queries.deliveries import Due, Recipient
from percorso.settings import Settings
from percorso.storage import deliveries
from percorso.storage.database import ReadSession, is_away, reading, writing
from percorso.storage.deliveries import Delivery
from percorso.workers import callbacks
from percorso.workers.callbacks import Answer
from percorso.workers.runtime import Worker

_log = structlog.get_logger("percorso.workers.delivering")

_EVERY_SECONDS: Final = 1.0
_AT_ONCE: Final = 8
"""Subscribers that are called at the same time."""
_EACH: Final = 100
"""Deliveries to one subscriber before others that wait have their turn."""
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 3600.0
_GIVE_UP_AFTER: Final = timedelta(days=3)
_REFUSALS: Final = 6

Payload = Callable[[ReadSession, Delivery], Awaitable[bytes | None]]
"""What is posted for a delivery; None where what it is about is gone meanwhile."""


def worker(engine: AsyncEngine, settings: Settings, payloads: Mapping[str, Payload]) -> Worker:
    """What delivers, of each protocol by its payloads."""
    return Worker("deliveries", _EVERY_SECONDS, Deliverer(engine, settings, payloads).run)


class Deliverer:
    """Delivers what waits; `payloads` says by protocol what a delivery is."""

    def __init__(self, engine: AsyncEngine, settings: Settings, payloads: Mapping[str, Payload]) -> None:
        self._engine = engine
        self._private = settings.allow_private_callbacks
        self._payloads = payloads

    async def run(self) -> bool:
        """Deliver some; whether there is more that can be delivered at once."""
        async with writing(self._engine) as session:
            await deliveries.drop_revoked(session)
        async with reading(self._engine) as reader:
            found = [each for each in await waiting.recipients(reader) if each.subscription.protocol in self._payloads]
        slots = asyncio.Semaphore(_AT_ONCE)

        async def tell(recipient: Recipient) -> bool:
            async with slots:
                try:
                    return await self._tell(client, recipient)
                except Exception as error:
                    if is_away(error):
                        raise
                    # Else one that fails here would keep all others waiting, for ever.
                    id_ = str(recipient.subscription.subscription_id)
                    _log.warning("a subscriber cannot be told", subscription=id_, **logs.described(error))
                    return False

        async with callbacks.client() as client, asyncio.TaskGroup() as group:
            tasks = [group.create_task(tell(each)) for each in found]
        return any(task.result() for task in tasks)

    async def _tell(self, client: httpx.AsyncClient, recipient: Recipient) -> bool:
        """Deliver what waits for a subscriber until it fails; whether there is more."""
        subscription = recipient.subscription
        async with reading(self._engine) as session:
            due = await waiting.due(session, subscription.subscription_id, limit=_EACH)
        for each in due:
            if datetime.now(UTC) - each.delivery.at > _GIVE_UP_AFTER:
                await self._give_up(subscription.subscription_id, each.delivery, "its age")
                continue
            async with reading(self._engine) as session:
                body = await self._payloads[subscription.protocol](session, each.delivery)
            if body is None:
                await self._done(subscription.subscription_id, each.delivery.delivery_id, taken=False)
                continue
            status = await self._post(client, recipient, each, body)
            if not await self._answered(recipient, each, status):
                return False
            recipient = recipient._replace(failures=0)
        return len(due) == _EACH

    async def _post(self, client: httpx.AsyncClient, recipient: Recipient, due: Due, body: bytes) -> int | None:
        """The status of the answer; None where there was none."""
        subscription = recipient.subscription
        try:
            return await callbacks.call(
                client,
                subscription.callback,
                body,
                id_=str(due.delivery.delivery_id),
                secret=subscription.secret,
                private=self._private,
            )
        except callbacks.UNREACHED as error:
            # The callback itself is not logged: secrets may stand in it.
            _log.info("a subscriber was not reached", subscription=str(subscription.subscription_id),
                      error=type(error).__name__, failures=recipient.failures + 1)  # fmt: skip
            return None

    async def _answered(self, recipient: Recipient, due: Due, status: int | None) -> bool:
        """Put down what came of a delivery; whether the next one may be tried."""
        subscription_id, delivery = recipient.subscription.subscription_id, due.delivery
        answer = Answer.of(status)
        if answer is Answer.TAKEN:
            metrics.DELIVERIES.labels("taken").inc()
            await self._done(subscription_id, delivery.delivery_id, taken=True)
            return True
        metrics.DELIVERIES.labels("failed").inc()
        if answer is Answer.GONE:
            async with writing(self._engine) as session:
                await deliveries.unsubscribe(session, subscription_id)
            _log.warning("a subscriber is gone; its subscription ends", subscription=str(subscription_id))
            return False
        refused = answer is Answer.REFUSED
        if refused and due.refusals + 1 >= _REFUSALS:
            await self._give_up(subscription_id, delivery, "refusals")
            return True
        pause = pause_after(recipient.failures)
        async with writing(self._engine) as session:
            await deliveries.put_off(
                session,
                subscription_id,
                delivery.delivery_id,
                refused=refused,
                until=datetime.now(UTC) + timedelta(seconds=pause),
            )
        return False

    async def _give_up(self, subscription_id: UUID, delivery: Delivery, why: str) -> None:
        metrics.DELIVERIES.labels("given_up").inc()
        _log.warning("a delivery is given up", subscription=str(subscription_id), event_type=delivery.event, why=why)
        await self._done(subscription_id, delivery.delivery_id, taken=False)

    async def _done(self, subscription_id: UUID, delivery_id: UUID, *, taken: bool) -> None:
        async with writing(self._engine) as session:
            await deliveries.done(session, subscription_id, [delivery_id], taken=taken)


def pause_after(failures: int) -> float:
    """Seconds until a subscriber that had failed so often before is tried again; a tenth more or less, by chance."""
    return min(_FIRST_PAUSE * 2.0 ** min(failures, 20), _LONGEST_PAUSE) * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
