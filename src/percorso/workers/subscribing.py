"""Pushes the feed to its subscriptions, as Standard Webhooks has it: each in the order of the feed, until it is taken.

A subscription follows the feed by a place of its own. Any 2xx takes an event; then comes the next. Where there is no
answer, or one that says that it may pass (5xx, 408, 425, 429), the subscription is left alone for a while, longer each
time, and begun again with the same event: the order stays, and nobody else waits. An event that is refused (4xx), or
failed `_TRIES` times by an answer, is set aside, so that one that a subscriber cannot take does not hold back all
others, and is tried again on its own. What was not taken after `_GIVE_UP_AFTER` is a dead letter: it is kept until the
commit log is dropped, and can be replayed. A subscription that has more than `MOST_LETTERS` of these is paused, and one
that answers 410 too: it stands where it stood.

Two that do this at once, or one that is killed before it has put down what was taken, deliver something twice: the
`webhook-id` tells, which is the id of the event in the feed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

import httpx
import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.errors import CursorGone
from percorso.ops import logs, metrics
from percorso.queries import feed_subscriptions as queries
from percorso.queries.feed import Item, Position
from percorso.queries.feed_subscriptions import DeadLetter, FeedSubscription
from percorso.settings import Settings
from percorso.storage import feed_subscriptions as store
from percorso.storage.database import ReadSession, is_away, reading, writing
from percorso.storage.feed_subscriptions import Letter, Paused, Place
from percorso.workers import callbacks
from percorso.workers.callbacks import Answer
from percorso.workers.delivering import pause_after
from percorso.workers.runtime import Worker

_log = structlog.get_logger("percorso.workers.subscribing")

_EVERY_SECONDS: Final = 1.0
_AT_ONCE: Final = 8
"""Subscribers that are called at the same time."""
_TURN_SECONDS: Final = 5.0
"""How long one subscriber is told things before others that wait have their turn."""
_EACH: Final = 100
_BURIED: Final = 500
_LETTERS: Final = 20
_SAVED: Final = 20
"""After so many events that were taken it is put down how far a subscription is; a crash repeats those since."""
_TRIES: Final = 8
_GIVE_UP_AFTER: Final = timedelta(hours=24)
_SWEPT_SECONDS: Final = 60.0

Events = tuple[Sequence[tuple[Item, dict[str, Any]]], Position, bool]
"""Events of the feed, each with what is posted of it; where the feed goes on; and whether these were all."""
Read = Callable[[ReadSession, str | None, Position, int], Awaitable[Events]]
"""Reads what a subscription with this query wants from a place on, so many at most; None: everything."""


def worker(engine: AsyncEngine, settings: Settings, read: Read) -> Worker:
    """What pushes."""
    return Worker("subscriptions", _EVERY_SECONDS, Pusher(engine, settings, read).run)


def body(event: str, at: str, data: dict[str, Any]) -> bytes:
    """What is posted: the form that Standard Webhooks recommends, with an item of the feed as its data."""
    return msgspec.json.encode({"type": event, "timestamp": at, "data": data})


async def post(
    client: httpx.AsyncClient, subscription: FeedSubscription, posted: bytes, *, id_: str, private: bool
) -> int | None:
    """Call a subscriber; the status of its answer, or None where there was none."""
    until = subscription.earlier_until
    earlier = subscription.earlier_secret if until is not None and until > datetime.now(UTC) else None
    try:
        return await callbacks.call(
            client,
            subscription.callback,
            posted,
            id_=id_,
            secret=subscription.secret,
            private=private,
            earlier_secret=earlier,
        )
    except callbacks.UNREACHED as error:
        # The URL itself is not logged: secrets may stand in it.
        _log.info("a subscriber was not reached", subscription=str(subscription.subscription_id),
                  error=type(error).__name__)  # fmt: skip
        return None


class Pusher:
    """Pushes what waits; `read` reads the feed for a subscription."""

    def __init__(self, engine: AsyncEngine, settings: Settings, read: Read) -> None:
        self._engine = engine
        self._private = settings.allow_private_callbacks
        self._read = read
        self._swept_at = 0.0

    async def run(self) -> bool:
        """Push some; whether there is more that can be pushed at once."""
        if monotonic() >= self._swept_at + _SWEPT_SECONDS:
            async with writing(self._engine) as session:
                await store.sweep(session)
            self._swept_at = monotonic()
        async with reading(self._engine) as reader:
            found = await queries.due(reader)
        if not found:
            return False
        slots = asyncio.Semaphore(_AT_ONCE)

        async def tell(subscription: FeedSubscription) -> bool:
            async with slots:
                try:
                    return await _Turn(self._engine, client, subscription, self._read, private=self._private).take()
                except Exception as error:
                    if is_away(error):
                        raise
                    # Else one that fails here would keep all others waiting, for ever.
                    id_ = str(subscription.subscription_id)
                    _log.warning("a subscriber cannot be told", subscription=id_, **logs.described(error))
                    return False

        async with callbacks.client() as client, asyncio.TaskGroup() as group:
            tasks = [group.create_task(tell(each)) for each in found]
        return any(task.result() for task in tasks)


class _Turn:
    """The turn of one subscription."""

    def __init__(
        self,
        engine: AsyncEngine,
        client: httpx.AsyncClient,
        subscription: FeedSubscription,
        read: Read,
        *,
        private: bool,
    ) -> None:
        self._engine = engine
        self._client = client
        self._subscription = subscription
        self._id = subscription.subscription_id
        self._private = private
        self._read = read
        self._failures = subscription.failures
        self._failing_since = subscription.failing_since
        self._saved = subscription.position
        self._took = False
        self._until = monotonic() + _TURN_SECONDS

    async def take(self) -> bool:
        """Tell it what comes next, until that fails or its time is over; whether there is more."""
        try:
            return await self._letters() and await self._go_on()
        except CursorGone:
            await self._pause("expired")
            return False

    async def _go_on(self) -> bool:
        """Tell it what comes next in the feed; whether there is more."""
        while monotonic() < self._until:
            async with reading(self._engine) as session:
                events, following, caught_up = await self._read(session, self._subscription.query, self._saved, _EACH)
            for number, (item, document) in enumerate(events, 1):
                over = monotonic() >= self._until
                if not await self._tell(item, document, save=over or number % _SAVED == 0):
                    return False
                if over:
                    return True
            if following != self._saved and not await self._advance(following):
                return False
            if caught_up:
                return False
        return True

    async def _tell(self, item: Item, document: dict[str, Any], *, save: bool) -> bool:
        """Tell it of one event; whether it can be told the next."""
        status = await self._post(item.id, document)
        answer = Answer.of(status)
        if answer is Answer.TAKEN:
            metrics.FEED_EVENTS.labels("push").inc()
            self._failures, self._failing_since, self._took = 0, None, True
            return await self._advance(item.after) if save else True
        # What was taken before this one is not to be told again.
        if item.position > self._saved and not await self._advance(item.position):
            return False
        if answer is Answer.GONE:
            await self._pause("gone")
            return False
        poisoned = status is not None and self._failures + 1 >= _TRIES
        if answer is Answer.REFUSED or poisoned:
            next_at = datetime.now(UTC) + timedelta(seconds=pause_after(1))
            letter = Letter(Place(*item.position), item.made.event, item.at, status, next_at)
            if not await self._set_aside([letter], item.after):
                return False
            return answer is Answer.REFUSED or await self._put_off()
        await self._bury(item.position)
        return await self._put_off()

    async def _bury(self, position: Position) -> None:
        """Give up all that is older than `_GIVE_UP_AFTER`, of a subscriber that has failed for as long."""
        before = datetime.now(UTC) - _GIVE_UP_AFTER
        if self._failing_since is None or self._failing_since > before:
            return
        while True:
            async with reading(self._engine) as session:
                events, following, caught_up = await self._read(session, self._subscription.query, position, _BURIED)
            old = [item for item, _ in events if item.at < before]
            letters = [Letter(Place(*item.position), item.made.event, item.at, None, None) for item in old]
            whole = len(old) == len(events)
            position = following if whole else old[-1].after if old else position
            if letters:
                metrics.DELIVERIES.labels("given_up").inc(len(letters))
                _log.warning("deliveries are given up", subscription=str(self._id), number=len(letters))
            if not await self._set_aside(letters, position) or not whole or caught_up:
                return

    async def _letters(self) -> bool:
        """Try again what was set aside, the earliest first; False where the subscription is no more to be told."""
        async with reading(self._engine) as session:
            due = await queries.due_letters(session, self._id, limit=_LETTERS)
        for letter in due:
            if monotonic() >= self._until:
                break
            async with reading(self._engine) as session:
                events, _, _ = await self._read(session, None, letter.position, 1)
            if not events or events[0][0].position != letter.position:
                async with writing(self._engine) as writer:
                    await store.letter_done(writer, self._id, Place(*letter.position))
                continue
            item, document = events[0]
            status = await self._post(item.id, document)
            answer = Answer.of(status)
            if answer is Answer.GONE:
                await self._pause("gone")
                return False
            await self._answered(letter, status, answer)
            if answer is Answer.FAILED:
                break
        return True

    async def _answered(self, letter: DeadLetter, status: int | None, answer: Answer) -> None:
        """Put down what came of one that was set aside."""
        place = Place(*letter.position)
        now = datetime.now(UTC)
        async with writing(self._engine) as session:
            if answer is Answer.TAKEN:
                metrics.FEED_EVENTS.labels("push").inc()
                await store.letter_done(session, self._id, place)
            elif now - letter.first_failed_at > _GIVE_UP_AFTER:
                metrics.DELIVERIES.labels("given_up").inc()
                _log.warning("a delivery is given up", subscription=str(self._id), event_type=letter.event)
                await store.letter_failed(session, self._id, place, status=status, next_at=None)
            else:
                next_at = now + timedelta(seconds=pause_after(letter.tries))
                await store.letter_failed(session, self._id, place, status=status, next_at=next_at)

    async def _post(self, id_: str, document: dict[str, Any]) -> int | None:
        posted = body(document["event"], document["at"], document)
        status = await post(self._client, self._subscription, posted, id_=id_, private=self._private)
        metrics.DELIVERIES.labels("taken" if Answer.of(status) is Answer.TAKEN else "failed").inc()
        return status

    async def _advance(self, to: Position) -> bool:
        """Put down how far it is; False where it is elsewhere by now."""
        async with writing(self._engine) as session:
            done = await store.advance(
                session, self._id, Place(*self._saved), Place(*to), due=self._subscription.next_at, taken=self._took
            )
        if done:
            self._saved, self._took = to, False
        return done

    async def _set_aside(self, letters: Sequence[Letter], to: Position) -> bool:
        """Put down what was not taken, and go on after it; False where that is not possible."""
        async with writing(self._engine) as session:
            before, after, due = Place(*self._saved), Place(*to), self._subscription.next_at
            moved = await store.advance(session, self._id, before, after, due=due)
            if moved and not await store.set_aside(session, self._id, letters):
                await store.advance(session, self._id, after, before, due=due)
                await store.pause(session, self._id, "full")
                moved = False
        if moved:
            self._saved = to
        return moved

    async def _put_off(self) -> bool:
        """Leave the subscription alone for a while; nothing can be told it now."""
        until = datetime.now(UTC) + timedelta(seconds=pause_after(self._failures))
        async with writing(self._engine) as session:
            await store.put_off(session, self._id, until=until)
        return False

    async def _pause(self, why: Paused) -> None:
        async with writing(self._engine) as session:
            await store.pause(session, self._id, why)
        _log.warning("a subscription is paused", subscription=str(self._id), why=why)
