"""What came of contacts, as it was found when the profiles of their customers were made."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.storage import commits, partitions
from percorso.storage.database import WriteSession


class Outcome(NamedTuple):
    """What came of one contact (see `measures.outcomes`, which defines it)."""

    identity_id: UUID
    interaction_id: UUID
    response_seconds: float | None
    waiting: bool
    resolved_first: bool | None
    repeat: bool
    hand_offs: int
    switched: bool


COLUMNS = ", ".join(Outcome._fields)
_UPDATES = ", ".join(f"{name} = excluded.{name}" for name in Outcome._fields[2:])


async def put(
    session: WriteSession, generation: int, outcomes: Iterable[Outcome], customers: Mapping[UUID, UUID]
) -> None:
    """Let these be all outcomes of these identities, and name those that differ from what stood in the commit log.

    `customers` says of each identity whose it was when they were found; where it is another's by now, its outcomes are
    left for when that one's are made, which follows. In the transaction that has put the profiles of these customers:
    so none of them can be erased, nor can another put theirs, until it ends. Relies on
    `contact_outcomes_identity_id_interaction_id_idx` and on the primary keys; where nothing changed it is one
    statement.
    """
    rows = await session.fetch(
        f"SELECT i.customer_id, i.identity_id, {', '.join(f'o.{name}' for name in Outcome._fields[1:])} "
        "FROM identities i LEFT JOIN contact_outcomes o ON o.identity_id = i.identity_id "
        "WHERE i.identity_id = ANY($1)",
        list(customers),
    )
    held = {row["identity_id"] for row in rows if customers[row["identity_id"]] == row["customer_id"]}
    stored = {Outcome(*row[1:]) for row in rows if row["interaction_id"] is not None and row["identity_id"] in held}
    found = {outcome for outcome in outcomes if outcome.identity_id in held}
    if stored == found:
        return
    left = {outcome[:2] for outcome in found}
    gone = [outcome[:2] for outcome in stored if outcome[:2] not in left]
    made = sorted(found - stored)
    if gone:
        await session.execute(
            "DELETE FROM contact_outcomes o USING unnest($1::uuid[], $2::uuid[]) AS gone(identity_id, interaction_id) "
            "WHERE o.identity_id = gone.identity_id AND o.interaction_id = gone.interaction_id",
            *zip(*gone, strict=True),
        )
    if made:
        await session.execute(
            f"INSERT INTO contact_outcomes ({COLUMNS}) SELECT * FROM unnest($1::uuid[], $2::uuid[], "
            "$3::double precision[], $4::boolean[], $5::boolean[], $6::boolean[], $7::integer[], $8::boolean[]) "
            f"ON CONFLICT (interaction_id, identity_id) DO UPDATE SET {_UPDATES}",
            *zip(*made, strict=True),
        )
    await _record(session, generation, [*gone, *(outcome[:2] for outcome in made)])


async def forget(session: WriteSession, generation: int, identity_ids: Sequence[UUID]) -> None:
    """Delete the outcomes of those of these identities that are gone.

    Whatever is locked is left to who deletes it already. Relies on `contact_outcomes_identity_id_interaction_id_idx`
    and on the primary key of identities.
    """
    gone = await session.fetch(
        "DELETE FROM contact_outcomes WHERE ctid = ANY(ARRAY(SELECT ctid FROM contact_outcomes o "
        "WHERE o.identity_id = ANY($1) AND NOT EXISTS (SELECT FROM identities i WHERE i.identity_id = o.identity_id) "
        "FOR UPDATE SKIP LOCKED)) RETURNING identity_id, interaction_id",
        identity_ids,
    )
    if gone:
        await _record(session, generation, [(row["identity_id"], row["interaction_id"]) for row in gone])


async def _record(session: WriteSession, generation: int, pairs: Sequence[tuple[UUID, UUID]]) -> None:
    """Name contacts, given by identity and id, whose outcomes are not what they were."""
    now = datetime.now(UTC)
    await partitions.ensure_days(session, (now,))
    identity_ids, interaction_ids = zip(*pairs, strict=True)
    await commits.record(
        session, generation, "outcome", at=now, identity_ids=identity_ids, interaction_ids=interaction_ids
    )
