"""What may happen to an interaction after it was stored: it is enriched, or deleted; both enter the commit log."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import InvalidRequest, Problem, UnknownInteraction
from percorso.formats.merge_patch import merged
from percorso.ingest.compare import same
from percorso.ingest.consent import said_by, status_of
from percorso.ingest.validate import parse_patch
from percorso.storage import commits, consents, identities, interactions, partitions
from percorso.storage.database import WriteSession
from percorso.storage.interactions import Held


async def enrich(
    session: WriteSession, interaction_id: UUID, patch: bytes, *, by: str, generation: int, max_bytes: int
) -> None:
    """Apply a JSON merge patch (RFC 7396); what stood before becomes a revision. A patch that changes nothing is none.

    Raises InvalidRequest where the patch, or what it leads to, cannot be taken; UnknownInteraction.
    """
    parse_patch(patch, max_bytes=max_bytes)
    await enrich_as(session, interaction_id, lambda _: patch, by=by, generation=generation, max_bytes=max_bytes)


async def enrich_as(
    session: WriteSession,
    interaction_id: UUID,
    made: Callable[[dict[str, Any]], bytes],
    *,
    by: str,
    generation: int,
    max_bytes: int,
) -> None:
    """The same by a patch that depends on what the interaction says now: `made` of its document, which is locked.

    Raises as `enrich` does, and whatever `made` raises.
    """
    held = await _held(session, interaction_id)
    before: dict[str, Any] = json.loads(held.document)
    patch = made(before)
    parse_patch(patch, max_bytes=max_bytes)
    after = merged(before, json.loads(patch))
    if same(after, before):
        return
    document = json.dumps(after, ensure_ascii=False)
    if len(document.encode()) > max_bytes:
        problem = Problem("", f"leads to an interaction of over {max_bytes} bytes.")
        raise InvalidRequest("The interaction would become too large.", problems=[problem])
    now = datetime.now(UTC)
    await interactions.revise(session, interaction_id, held, document, at=now, by=by)
    await _say(session, interaction_id, held, before, after, now)
    await _log(session, generation, "changed", interaction_id, held, now)


async def delete(session: WriteSession, interaction_id: UUID, *, generation: int) -> None:
    """Delete an interaction with its revisions, for ever: its key stays. Raises UnknownInteraction.

    A consent that it gave or took away stays: what the customer said was said.
    """
    held = await _held(session, interaction_id)
    await interactions.delete(session, interaction_id, held)
    await _log(session, generation, "deleted", interaction_id, held, datetime.now(UTC))


async def _say(
    session: WriteSession,
    interaction_id: UUID,
    held: Held,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    now: datetime,
) -> None:
    """Store the consent that an interaction gives or takes away since it was enriched.

    When that happened, between the interaction and now, it does not say. In doubt there is no contact: consent counts
    as given when the interaction occurred, and as taken away now.
    """
    status = status_of(after)
    if status is None or status == status_of(before):
        return
    occurred_at = now if status == "denied" else ids.from_unix_ms(ids.occurred_ms(interaction_id.bytes))
    said = said_by(
        after,
        status,
        interaction_id=interaction_id,
        identity_id=held.identity_id,
        occurred_at=occurred_at,
        received_at=now,
    )
    await consents.insert(session, [said])


async def _held(session: WriteSession, interaction_id: UUID) -> Held:
    held = await interactions.hold(session, interaction_id, *ids.identity_range(interaction_id.bytes))
    # An erasure takes the identity away first and what it names later: nothing may be added between the two.
    if held is None or not await identities.hold(session, held.identity_id):
        raise UnknownInteraction("No interaction has this id.")
    return held


async def _log(
    session: WriteSession, generation: int, what: commits.What, interaction_id: UUID, held: Held, at: datetime
) -> None:
    await partitions.ensure_days(session, (at,))
    await commits.record(
        session,
        generation,
        what,
        at=at,
        identity_ids=[held.identity_id],
        interaction_ids=[interaction_id],
    )
