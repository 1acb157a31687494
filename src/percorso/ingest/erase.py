"""Erasing a customer: begun at once, then done in steps, each a short transaction that goes on where the last ended.

1. `documents`: in what is stored of others who were once seen with this customer, its identifiers are taken out.
2. `quarantine`: refused items that name it go.
3. `interactions`: they go with their keys, or are left as counts of nobody's.
4. `rows`: so does whatever else stands in `personal.PLACES`, and what was to be told of it alone; then the certificate
   is sealed.

A process that ends in between leaves the rest to the next that looks; two at once do no harm.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncpg.pgproto.pgproto import UUID
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso import ids
from percorso.errors import SharedIdentifier, UnknownCustomer
from percorso.ingest import traces
from percorso.ingest.identity import Identifiers
from percorso.storage import commits, erasing, erasures, partitions
from percorso.storage.database import WriteSession, writing
from percorso.storage.deployment import Deployment
from percorso.storage.erasing import Anonymous, Document, Gone
from percorso.storage.erasures import Asked, Erasure, Step
from percorso.storage.interactions import sender_of
from percorso.storage.personal import PLACES
from percorso.storage.rejected import new_id

ANONYMOUS: Final = "erased"
"""The source of what is left of an erased interaction."""
_LATER: Final = timedelta(microseconds=1)
"""A transaction has one row of the commit log for each moment."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one transaction did: which step follows, where it goes on, what was found, what of it stays."""

    following: Step
    after: Any = None
    found: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Eraser:
    """What erasing needs of a process."""

    engine: AsyncEngine
    deployment: Deployment
    identifiers: Identifiers

    async def erase(self, identity_id: UUID, asked: Asked) -> UUID:
        """Erase the customer of this identity, or go on where that was begun; the erasure's id once all is done.

        Raises UnknownCustomer where there is none, or no longer, and SharedIdentifier where it is not one person.
        """
        async with writing(self.engine) as session:
            begun = await erasures.unfinished(session, identity_id)
        if begun is None:
            begun = await self._begin(identity_id, asked)
        await self.go_on(begun)
        return begun

    async def go_on(self, erasure_id: UUID) -> None:
        """Do what is left of an erasure."""
        while await self._advance(erasure_id):
            pass

    async def go_on_with_oldest(self) -> bool:
        """Do what is left of the oldest erasure that is not done; False where there is none."""
        async with writing(self.engine) as session:
            begun = await erasures.unfinished(session)
        if begun is None:
            return False
        await self.go_on(begun)
        return True

    async def _begin(self, identity_id: UUID, asked: Asked) -> UUID:
        erasure_id = new_id(asked.at)
        async with writing(self.engine) as session:
            await partitions.ensure_days(session, (asked.at,))
        async with writing(self.engine) as session:
            why_not = await erasures.begin(
                session, erasure_id, identity_id, asked, generation=self.deployment.generation
            )
            if why_not == "shared":
                raise SharedIdentifier("This identifier is shared by several customers: it is not one person's.")
            if why_not is not None:
                raise UnknownCustomer("No identifier and no customer id matches.")
        return erasure_id

    async def _advance(self, erasure_id: UUID) -> bool:
        """Do one transaction's part; False where nothing is left to do."""
        now = datetime.now(UTC)
        async with writing(self.engine) as session:
            await partitions.ensure_days(session, (now, now + _LATER))
        async with writing(self.engine) as session:
            erasure = await erasures.hold(session, erasure_id)
            if erasure is None:
                return False
            part = await _STEPS[erasure.step](self, session, erasure, now)
            if part.following == "done":
                await erasures.finish(session, erasure, part.found, at=now)
            else:
                await erasures.advance(session, erasure, part.following, part.after, part.found, part.kept)
        return True


async def _documents(eraser: Eraser, session: WriteSession, erasure: Erasure, now: datetime) -> _Part:
    """Take the identifiers out of some documents of one neighbour; `after` is its number, and its last document."""
    number, last = erasure.after or (0, str(ids.LOWEST))
    if number == len(erasure.neighbours):
        return _Part("quarantine")
    neighbour, pattern = erasure.neighbours[number], traces.in_text(erasure.identities)
    found = await erasing.documents(session, neighbour, UUID(last))
    if not found:
        return _Part("documents", (number + 1, str(ids.LOWEST)))

    def cleaned(documents: Sequence[Document]) -> list[Document]:
        made = (
            (each, traces.without(each.document, erasure.identities, eraser.identifiers, pattern)) for each in documents
        )
        return [each._replace(document=document) for each, document in made if document is not None]

    suspects = {each.interaction_id for each in (*cleaned(found), *(each for each in found if each.revision))}
    after = number, str(found[-1].interaction_id)
    if not suspects:
        return _Part("documents", after)
    # What was read without a lock may have been enriched since: it is read again.
    changed = cleaned(await erasing.held_documents(session, neighbour, sorted(suspects)))
    await erasing.rewrite(session, neighbour, changed)
    if touched := sorted({each.interaction_id for each in changed}):
        await commits.record(
            session,
            eraser.deployment.generation,
            "changed",
            at=now,
            identity_ids=[neighbour] * len(touched),
            interaction_ids=touched,
        )
    return _Part("documents", after, {"documents_of_others": len(changed)})


async def _quarantine(eraser: Eraser, session: WriteSession, erasure: Erasure, now: datetime) -> _Part:  # noqa: ARG001 - all steps take the same
    """Delete what names the customer among some refused items; `after` is the last that was looked at."""
    after = UUID(erasure.after) if erasure.after else ids.LOWEST
    last, deleted = await erasing.delete_rejected(
        session, erasure.identity_ids, traces.in_bytes(erasure.identities), after
    )
    if last is None:
        return _Part("interactions")
    return _Part("quarantine", str(last), {"rejected_interactions": deleted})


async def _interactions(eraser: Eraser, session: WriteSession, erasure: Erasure, now: datetime) -> _Part:
    """Delete some interactions of one identity, or leave counts in their place; `after` is the identity's number."""
    number = erasure.after or 0
    if number == len(erasure.identities):
        return _Part("rows")
    identity_id = erasure.identities[number].identity_id
    gone = await erasing.delete_interactions(session, identity_id)
    if not gone:
        return _Part("interactions", number + 1)
    sent = [sender_of(each.document) for each in gone]
    keys = [UUID(ids.dedup_key(eraser.deployment.salt, each.source, each.id)) for each in sent]
    found = {"interactions": len(gone), "interaction_keys": await erasing.delete_keys(session, keys)}
    kept = {}
    generation = eraser.deployment.generation
    await commits.record(
        session,
        generation,
        "deleted",
        at=now,
        identity_ids=[identity_id] * len(gone),
        interaction_ids=[each.interaction_id for each in gone],
    )
    if erasure.mode == "anonymise":
        left = [_anonymous(eraser.deployment.salt, each) for each in gone]
        await erasing.insert_anonymous(session, left)
        await commits.record(
            session,
            generation,
            "stored",
            at=now + _LATER,
            identity_ids=[each.identity_id for each in left],
            interaction_ids=[each.interaction_id for each in left],
        )
        kept = {"anonymous_interactions": len(gone)}
    return _Part("interactions", number, found, kept)


async def _rows(eraser: Eraser, session: WriteSession, erasure: Erasure, now: datetime) -> _Part:  # noqa: ARG001 - as above
    """Delete some rows of each place where there are any, and overwrite words that name the customer."""
    found = {
        place.table: await erasing.delete_rows(session, place, erasure.identity_ids)
        for place in PLACES
        if place.stays is None
    }
    if words := await erasing.overwrite_words(session, traces.in_bytes(erasure.identities), traces.GONE):
        found["words"] = words
    pattern = traces.in_text(erasure.identities)
    if ended := await erasing.end_subscriptions(
        session, lambda query: traces.in_query(query, erasure.identities, pattern)
    ):
        found["subscriptions"] = ended
    return _Part("rows" if any(found.values()) else "done", None, found)


_STEPS: Final[Mapping[Step, Callable[[Eraser, WriteSession, Erasure, datetime], Awaitable[_Part]]]] = {
    "documents": _documents,
    "quarantine": _quarantine,
    "interactions": _interactions,
    "rows": _rows,
}


def _anonymous(salt: bytes, gone: Gone) -> Anonymous:
    """What is left of an interaction: its hour and where it was, under an identity of its own that no one has."""
    token = secrets.token_hex(16)
    hour_ms = ids.occurred_ms(gone.interaction_id.bytes) // commits.HOUR_MS * commits.HOUR_MS
    hour = ids.from_unix_ms(hour_ms)
    identity, key = ids.identity_id(salt, "anonymous_id", token), ids.dedup_key(salt, ANONYMOUS, token)
    said = {
        "source": ANONYMOUS,
        "id": token,
        "occurred_at": hour.isoformat().replace("+00:00", "Z"),
        "channel": gone.channel,
        "kind": gone.kind,
        "touchpoint": gone.touchpoint,
        "function": gone.function,
        "direction": gone.direction,
        "customer": {"anonymous_id": token},
    }
    return Anonymous(
        identity_id=UUID(identity),
        interaction_id=UUID(ids.interaction_id(hour_ms, identity, key)),
        key=UUID(key),
        received_at=gone.received_at.replace(minute=0, second=0, microsecond=0),
        touchpoint_id=gone.touchpoint_id,
        channel=gone.channel,
        kind=gone.kind,
        function=gone.function,
        direction=gone.direction,
        document=json.dumps({name: value for name, value in said.items() if value is not None}),
    )
