"""Watches: their rules, when customers are to be looked at again, and what fired."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.errors import TooManyWatches
from percorso.storage import commits, deliveries, identities, partitions
from percorso.storage.database import WriteSession

MOST: Final = 200
"""Watches there may be: each customer of whom something is new is looked at by all of them."""

_LOCK: Final = 0x70657263_77617463
"""Advisory lock: held alone where watches change, and together with others where they fire."""

Did = Literal["made", "changed", "paused", "resumed", "described", "unchanged"]
"""What saying a watch did: `changed` is its rule, `described` only its description."""


class Put(NamedTuple):
    """What saying a watch did, to which, and the version of its rule that is now."""

    did: Did
    watch_id: UUID
    version: int


class Watched(NamedTuple):
    """A version of a watch that fires, as a worker knows it."""

    watch_id: UUID
    version: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Fired:
    """A firing: the interactions in order, each with the identity that it is stored under; `at`: when it came true."""

    firing_id: UUID
    watch_id: UUID
    name: str
    version: int
    at: datetime
    interactions: Sequence[tuple[UUID, UUID]]

    @property
    def identity_id(self) -> UUID:
        """The identity of the last interaction."""
        return self.interactions[-1][0]


async def put(session: WriteSession, name: str, *, description: str | None, rule: str, enabled: bool, by: str) -> Put:
    """Say what a watch is, in full; `rule` is JSON. Raises TooManyWatches.

    A changed rule is a new version. That, and a watch that is resumed, fires with what occurs from now on.
    """
    await session.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    known = await session.fetchrow(
        "SELECT watch_id, version, rule = $2::text::jsonb AS same, enabled, description FROM watches WHERE name = $1",
        name,
        rule,
    )
    if known is None:
        if await session.fetchval("SELECT count(*) FROM watches") >= MOST:
            raise TooManyWatches(f"There are {MOST} watches, the most there may be.")
        put = Put("made", UUID(uuid.uuid4().bytes), 1)
    else:
        put = Put(_did(known["same"], known["enabled"], enabled), known["watch_id"], known["version"])
        if put.did == "changed":
            put = put._replace(version=put.version + 1)
        elif put.did == "unchanged" and description != known["description"]:
            put = put._replace(did="described")
    if put.did == "unchanged":
        return put
    await session.execute(
        "INSERT INTO watches (watch_id, name, description, version, rule, enabled, since, updated_by) "
        "VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, clock_timestamp(), $7) "
        "ON CONFLICT (watch_id) DO UPDATE SET description = excluded.description, version = excluded.version, "
        "rule = excluded.rule, enabled = excluded.enabled, updated_at = now(), updated_by = excluded.updated_by, "
        "since = CASE WHEN $8 THEN excluded.since ELSE watches.since END",
        put.watch_id,
        name,
        description,
        put.version,
        rule,
        enabled,
        by,
        put.did in {"made", "changed", "resumed"},
    )
    await session.execute(
        "INSERT INTO watch_versions (watch_id, version, rule, made_at, made_by) "
        "VALUES ($1, $2, $3::text::jsonb, now(), $4) ON CONFLICT DO NOTHING",
        put.watch_id,
        put.version,
        rule,
        by,
    )
    return put


def _did(same: bool, was: bool, enabled: bool) -> Did:  # noqa: FBT001 - what was and what is
    if not same:
        return "changed"
    if was == enabled:
        return "unchanged"
    return "resumed" if enabled else "paused"


async def delete(session: WriteSession, name: str) -> UUID | None:
    """Forget a watch with its versions; what fired stays as long as it is kept. None: there was none."""
    await session.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    watch_id: UUID | None = await session.fetchval("DELETE FROM watches WHERE name = $1 RETURNING watch_id", name)
    if watch_id is not None:
        await session.execute("DELETE FROM watch_versions WHERE watch_id = $1", watch_id)
    return watch_id


async def hold(session: WriteSession, follower: str, generation: int, xid8: int, watched: Collection[Watched]) -> bool:
    """Whether a worker may store what it found: its follower is where it was, and the watches are what they were.

    Both stay so until this transaction ends. So of two workers at once only one goes on, and what changes about a
    watch while a worker looks is looked at again.
    """
    await session.execute("SELECT pg_advisory_xact_lock_shared($1)", _LOCK)
    if await deliveries.held_back(session, follower, generation, xid8):
        return False
    rows = await session.fetch("SELECT watch_id, version, since FROM watches WHERE enabled")
    return {Watched(*row) for row in rows} == set(watched)


async def store(
    session: WriteSession,
    generation: int,
    found: Sequence[Fired],
    *,
    at: datetime,
    looked_at: Collection[UUID],
    due: Mapping[UUID, datetime],
) -> list[Fired]:
    """Store what fired, and name it in the commit log; those that are new. Only within `hold`.

    What rests on an interaction that fired before, by the same version of a rule, is not new; nor is what rests on one
    of an identity that was erased meanwhile. An interaction is of no more than one of these of a version. Of the
    identities that were looked at, those in `due` are to be looked at again then, the others not. Relies on the primary
    keys.
    """
    if found:
        await partitions.ensure_days(session, (at,))
    there = await identities.hold_all(
        session, {identity for each in found for identity, _ in each.interactions}.union(due)
    )
    new = await _new(session, found, there)
    if new:
        await _insert(session, generation, new, at)
        await commits.record(session, generation, "watch", at=at, identity_ids=[each.identity_id for each in new])
    await session.execute("DELETE FROM watch_deadlines WHERE identity_id = ANY($1)", list(looked_at))
    await session.execute(
        "INSERT INTO watch_deadlines (identity_id, due_at) SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) "
        "ON CONFLICT (identity_id) DO UPDATE SET due_at = excluded.due_at",
        *_columns([(identity, due[identity]) for identity in sorted(there.intersection(due))], 2),
    )
    return new


async def _new(session: WriteSession, found: Sequence[Fired], there: Collection[UUID]) -> list[Fired]:
    """Those of these that rest on no interaction that fired before, and on identities that are there."""
    rows = await session.fetch(
        "SELECT e.watch_id, e.version, e.interaction_id FROM watch_evidence e "
        "JOIN unnest($1::uuid[], $2::int[], $3::uuid[]) AS of (watch_id, version, interaction_id) "
        "USING (watch_id, version, interaction_id)",
        *_columns([row[:3] for row in _evidence(found)], 3),
    )
    taken = {tuple(row) for row in rows}
    return [
        each
        for each in found
        if all(
            identity in there and (each.watch_id, each.version, interaction) not in taken
            for identity, interaction in each.interactions
        )
    ]


async def _insert(session: WriteSession, generation: int, fired: Sequence[Fired], at: datetime) -> None:
    await session.execute(
        "INSERT INTO watch_firings (firing_id, watch_id, name, version, identity_id, at, number, fired_at, generation) "
        "SELECT firing_id, watch_id, name, version, identity_id, of_at, n - 1, $7, $8 FROM unnest("
        "$1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::uuid[], $6::timestamptz[]) "
        "WITH ORDINALITY AS of (firing_id, watch_id, name, version, identity_id, of_at, n)",
        *_columns(
            [(each.firing_id, each.watch_id, each.name, each.version, each.identity_id, each.at) for each in fired], 6
        ),
        at,
        generation,
    )
    await session.execute(
        "INSERT INTO watch_evidence (watch_id, version, interaction_id, identity_id, firing_id) "
        "SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::uuid[], $5::uuid[])",
        *_columns(_evidence(fired), 5),
    )


def _evidence(fired: Sequence[Fired]) -> list[tuple[UUID, int, UUID, UUID, UUID]]:
    return [
        (each.watch_id, each.version, interaction, identity, each.firing_id)
        for each in fired
        for identity, interaction in each.interactions
    ]


def _columns(rows: Sequence[tuple[object, ...]], count: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(count)]


async def expire(session: WriteSession, before: datetime, *, limit: int) -> int:
    """Forget some of what fired before this moment; how many. Relies on `watch_firings_fired_at_idx`."""
    gone = await session.fetch(
        "DELETE FROM watch_firings WHERE firing_id = ANY(ARRAY("
        "SELECT firing_id FROM watch_firings WHERE fired_at < $1 ORDER BY fired_at LIMIT $2)) RETURNING firing_id",
        before,
        limit,
    )
    await session.execute("DELETE FROM watch_evidence WHERE firing_id = ANY($1)", [row["firing_id"] for row in gone])
    return len(gone)
