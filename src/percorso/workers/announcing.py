"""Finds out from the commit log which events of TMF683 there are, and puts down whom they are to be delivered to.

It follows the log with a cursor of its own, which moves in the same transaction that stores the deliveries: each event
is put down once for each subscription that wants it. What an event says is read anew when it is delivered, so nothing
of an interaction is copied, and an erasure leaves nothing to be told.
"""

import json
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec
from asyncpg.pgproto.pgproto import UUID
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.details import rfc3339
from percorso.formats import tmf683, tmf683_asked, tmf683_events
from percorso.formats.tmf683_events import CREATED, DELETED, EVENTS
from percorso.queries import deliveries as queries
from percorso.queries.deliveries import Change, Told
from percorso.queries.followers import Follower
from percorso.settings import Settings
from percorso.storage import deliveries
from percorso.storage import followers as cursors
from percorso.storage.database import ReadSession, reading, writing
from percorso.storage.deliveries import Delivery, Subscription
from percorso.workers.delivering import Payload
from percorso.workers.following import follower_of
from percorso.workers.runtime import Worker

PROTOCOL: Final = "tmf683"
FOLLOWER: Final = "tmf683"
_EVERY_SECONDS: Final = 1.0
_COMMITS: Final = 20
_TOGETHER: Final = 500
"""Interactions whose words are in memory at once."""

_Event = tuple[str, Told | None]
"""The type of an event, and what the interaction said after it; None where it is deleted."""


def worker(engine: AsyncEngine, *, generation: int) -> Worker:
    """What puts down events."""
    return Worker("events", _EVERY_SECONDS, Announcer(engine, generation=generation).run)


def payload(settings: Settings) -> Payload:
    """What a delivery of TMF683 posts, as these settings name the service."""
    base = (settings.public_url or "").rstrip("/")

    async def made(session: ReadSession, delivery: Delivery) -> bytes | None:
        if delivery.identity_id is None:
            id_ = str(delivery.interaction_id)
            resource: Mapping[str, object] = {"id": id_, "href": f"{base}{tmf683.ROOT}/partyInteraction/{id_}"}
        else:
            said = await queries.told(session, [delivery.identity_id], [delivery.interaction_id])
            found = next((each for each in said if each.revision == delivery.revision), None)
            if found is None:
                return None
            resource = _resource(found, base)
        event = tmf683_events.event(
            delivery.event, event_id=str(delivery.delivery_id), at=rfc3339(delivery.at), resource=resource
        )
        return msgspec.json.encode(event)

    return made


class Announcer:
    """Takes the commit log from where it was left."""

    def __init__(self, engine: AsyncEngine, *, generation: int) -> None:
        self._engine = engine
        self._generation = generation

    async def run(self) -> bool:
        """Take the next rows of the commit log; whether there may be more."""
        follower = await follower_of(self._engine, FOLLOWER, generation=self._generation)
        async with reading(self._engine) as session:
            changes = await queries.next_changes(session, follower, limit=_COMMITS)
            wanting = [_Wanting(each) for each in await queries.subscriptions(session, PROTOCOL)]
        if follower.filled_to is not None:
            # There is no first pass: what was before a subscription is not told.
            async with writing(self._engine) as writer:
                await cursors.fill(writer, FOLLOWER, None)
        if not changes:
            return False
        found = [each async for each in self._found(changes, wanting)] if wanting else []
        await self._put_down(follower, changes[-1], found)
        return len(changes) >= _COMMITS

    async def _found(self, changes: Sequence[Change], wanting: "Sequence[_Wanting]") -> AsyncIterator[Delivery]:
        """What is to be delivered of these changes."""
        erasing = {change[:2] for change in changes if change.what == "deleted"}
        for change in changes:
            if change.what == "stored" and change[:2] in erasing:
                continue  # what an erasure leaves are counts of nobody's
            for start in range(0, len(change.interaction_ids), _TOGETHER):
                named = change.interaction_ids[start : start + _TOGETHER]
                of: dict[UUID, list[Told]] = defaultdict(list)
                if change.what != "deleted":
                    async with reading(self._engine) as session:
                        identities = change.identity_ids[start : start + _TOGETHER]
                        for each in await queries.told(session, identities, named):
                            of[each.interaction_id].append(each)
                for interaction_id in named:
                    for event, told in _events(change, of.get(interaction_id, [])):
                        shown = None if told is None else _resource(told, "")
                        for one in wanting:
                            if one.wants(event, change, shown):
                                yield _delivery(one.subscription, event, change, interaction_id, told)

    async def _put_down(self, before: Follower, last: Change, found: Sequence[Delivery]) -> None:
        async with writing(self._engine) as session:
            if await deliveries.held_back(session, FOLLOWER, before.generation, before.xid8):
                return
            if found:
                await deliveries.add(session, found)
            await cursors.advance(session, FOLLOWER, last.generation, last.xid8)


class _Wanting:
    """A subscription, and what its query says."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self._events, self._filters = tmf683_asked.of_query(subscription.query or "", events=EVENTS)

    def wants(self, event: str, change: Change, shown: Mapping[str, object] | None) -> bool:
        """Whether it is to be told; of what is deleted nothing is left to filter by."""
        if event not in self._events or change.at < self.subscription.created_at:
            return False
        return shown is None or all(each.fits(shown) for each in self._filters)


def _events(change: Change, said: Sequence[Told]) -> Iterator[_Event]:
    """The events of what one commit did with an interaction that said this, in order."""
    if change.what == "deleted":
        yield DELETED, None
    elif change.what == "stored" and said:
        yield CREATED, said[0]
    elif change.what == "changed":
        for before, after in pairwise(said):
            # What a revision was replaced by was committed by the row of the same moment.
            if before.replaced_at == change.at:
                for event in tmf683_events.of_change(_resource(before, ""), _resource(after, "")):
                    yield event, after


def _delivery(
    subscription: Subscription, event: str, change: Change, interaction_id: UUID, told: Told | None
) -> Delivery:
    return Delivery(
        delivery_id=UUID(uuid.uuid4().bytes),
        subscription_id=subscription.subscription_id,
        event=event,
        at=change.at,
        identity_id=None if told is None else told.identity_id,
        interaction_id=interaction_id,
        revision=0 if told is None else told.revision,
    )


def _resource(told: Told, base: str) -> Mapping[str, object]:
    return tmf683.resource(
        json.loads(told.document),
        interaction_id=str(told.interaction_id),
        received_at=rfc3339(told.received_at),
        base=base,
    )
