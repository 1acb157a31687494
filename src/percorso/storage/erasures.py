"""Erasures: how one begins, how far it is, and its certificate.

An erasure begins with one short transaction that no group of interactions runs beside: it takes the customer's
identifiers away and leaves tombstones, so that from then on nothing of this person is taken in, whatever a process
remembers. What is still to be looked for it notes in its own row, until it is done.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.interaction import IDENTIFIER_RANK, WEAKEST_RANK
from percorso.storage import audit, commits, epoch, linking
from percorso.storage.audit import Entry
from percorso.storage.database import WriteSession

Mode = Literal["delete", "anonymise"]
Step = Literal["documents", "quarantine", "interactions", "rows", "done"]

FIRST: Final[Step] = "documents"


class Erased(NamedTuple):
    """An identifier that is being erased."""

    identity_id: UUID
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wants a customer erased, when, and what is to become of its interactions."""

    at: datetime
    by: str
    key_id: UUID | None
    reason_hash: bytes | None
    mode: Mode


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure in progress, locked by this transaction.

    `neighbours` are identities of others under which something may be stored that names one of these; `after` is where
    its step has come to.
    """

    erasure_id: UUID
    customer_id: UUID
    mode: Mode
    step: Step
    identities: Sequence[Erased]
    neighbours: Sequence[UUID]
    after: Any
    found: Mapping[str, int]
    kept: Mapping[str, int]

    @property
    def identity_ids(self) -> list[UUID]:
        """The ids of the identities."""
        return [each.identity_id for each in self.identities]


async def begin(
    session: WriteSession, erasure_id: UUID, identity_id: UUID, asked: Asked, *, generation: int
) -> str | None:
    """Begin to erase the customer of this identity. The day's partition of the commit log must exist.

    None where it has begun; else why not: `unknown`, or `shared` where this is a weak identifier of several customers.
    """
    # No group of interactions, and no change of links, is on its way from here to the commit.
    await session.execute("SELECT pg_advisory_xact_lock($1)", epoch.ERASURE_LOCK)
    await session.execute("SELECT pg_advisory_xact_lock($1)", linking.LOCK)
    members = await session.fetch(
        "DELETE FROM identities WHERE customer_id = (SELECT customer_id FROM identities WHERE identity_id = $1) "
        "RETURNING identity_id, kind, value, strong, customer_id",
        identity_id,
    )
    if not members:
        return "unknown"
    identity_ids = [member["identity_id"] for member in members]
    links = await session.fetch(_LINKS, identity_ids)
    strong = {member["identity_id"] for member in members if member["strong"]}
    if not strong and len({link["customer_id"] for link in links if link["strong"] and link["active"]}) > 1:
        return "shared"
    kinds = {member["identity_id"]: member["kind"] for member in members}
    neighbours = {
        link["other"]
        for link in links
        if IDENTIFIER_RANK.get(link["kind"], WEAKEST_RANK) <= IDENTIFIER_RANK.get(kinds[link["member"]], WEAKEST_RANK)
    }
    shared = {link["other"] for link in links if link["active"] and not link["strong"] and link["member"] in strong}
    customer_id: UUID = members[0]["customer_id"]
    identifiers = Counter(member["kind"] for member in members)
    await session.execute(
        "INSERT INTO erased_identities (identity_id, erasure_id, erased_at) SELECT unnest($1::uuid[]), $2, $3",
        identity_ids,
        erasure_id,
        asked.at,
    )
    await session.execute(
        "INSERT INTO erasures (erasure_id, customer_id, requested_at, requested_by, key_id, reason_hash, mode, step, "
        "work, identifiers, found, kept) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        erasure_id,
        customer_id,
        asked.at,
        asked.by,
        asked.key_id,
        asked.reason_hash,
        asked.mode,
        FIRST,
        json.dumps(
            {
                "identities": [[str(member["identity_id"]), member["kind"], member["value"]] for member in members],
                "neighbours": sorted(map(str, neighbours)),
                "after": None,
            }
        ),
        json.dumps(identifiers),
        json.dumps({"identities": len(members)}),
        json.dumps({"tombstones": len(members), "shared_identifiers": len(shared)}),
    )
    await epoch.bump(session)
    await commits.record(session, generation, "identity", at=asked.at, identity_ids=identity_ids)
    details = {"erasure_id": str(erasure_id), "identifiers": identifiers, "mode": asked.mode}
    if asked.reason_hash is not None:
        details["reason"] = asked.reason_hash.hex()
    await audit.record(session, [Entry("erasing", asked.at, details, customer_id, actor=asked.by, key_id=asked.key_id)])
    return None


_LINKS: Final = """
    SELECT l.member, l.other, l.state = 'active' AS active, n.kind, n.strong, n.customer_id FROM (
        SELECT identity_a AS member, identity_b AS other, state FROM identity_links WHERE identity_a = ANY($1)
        UNION ALL SELECT identity_b, identity_a, state FROM identity_links WHERE identity_b = ANY($1)
    ) AS l JOIN identities n ON n.identity_id = l.other
"""
"""The links from these identities, in whatever state, to those of others."""


async def hold(session: WriteSession, erasure_id: UUID) -> Erasure | None:
    """Lock an erasure until the transaction ends; None where it is done, or there is none."""
    row = await session.fetchrow(
        "SELECT erasure_id, customer_id, mode, step, work::text, found::text, kept::text FROM erasures "
        "WHERE erasure_id = $1 AND finished_at IS NULL FOR UPDATE",
        erasure_id,
    )
    if row is None:
        return None
    work = json.loads(row["work"])
    return Erasure(
        erasure_id=row["erasure_id"],
        customer_id=row["customer_id"],
        mode=row["mode"],
        step=row["step"],
        identities=[Erased(UUID(identity_id), kind, value) for identity_id, kind, value in work["identities"]],
        neighbours=[UUID(neighbour) for neighbour in work["neighbours"]],
        after=work["after"],
        found=json.loads(row["found"]),
        kept=json.loads(row["kept"]),
    )


async def advance(
    session: WriteSession, erasure: Erasure, step: Step, after: Any, found: Mapping[str, int], kept: Mapping[str, int]
) -> None:
    """Note what a transaction found, what of it stays, and where the next goes on."""
    await session.execute(
        "UPDATE erasures SET step = $2, work = jsonb_set(work, '{after}', $3), found = $4, kept = $5 "
        "WHERE erasure_id = $1",
        erasure.erasure_id,
        step,
        json.dumps(after),
        json.dumps(added(erasure.found, found)),
        json.dumps(added(erasure.kept, kept)),
    )


async def finish(session: WriteSession, erasure: Erasure, found: Mapping[str, int], *, at: datetime) -> None:
    """Complete the certificate, seal it in the audit log, and forget what was looked for."""
    total = added(erasure.found, found)
    asked = await session.fetchrow(
        "UPDATE erasures SET step = 'done', work = NULL, found = $2, finished_at = $3 WHERE erasure_id = $1 "
        "RETURNING requested_by, key_id, identifiers::text",
        erasure.erasure_id,
        json.dumps(total),
        at,
    )
    assert asked is not None  # noqa: S101 - this transaction holds it
    details = {
        "erasure_id": str(erasure.erasure_id),
        "mode": erasure.mode,
        "identifiers": json.loads(asked["identifiers"]),
        "found": total,
        "kept": dict(erasure.kept),
    }
    who = {"actor": asked["requested_by"], "key_id": asked["key_id"]}
    head = await audit.record(session, [Entry("erased", at, details, erasure.customer_id, **who)])
    await session.execute(
        "UPDATE erasures SET audit_seq = $2, audit_hash = $3 WHERE erasure_id = $1",
        erasure.erasure_id,
        head.seq,
        head.hash,
    )


async def unfinished(session: WriteSession, identity_id: UUID | None = None) -> UUID | None:
    """The oldest erasure that is not done, or that of this identity; None where there is none.

    Relies on `erasures_unfinished_idx`, and on the primary key of the tombstones.
    """
    found: UUID | None
    if identity_id is None:
        found = await session.fetchval(
            "SELECT erasure_id FROM erasures WHERE finished_at IS NULL ORDER BY erasure_id LIMIT 1"
        )
    else:
        found = await session.fetchval(
            "SELECT erasure_id FROM erased_identities JOIN erasures USING (erasure_id) "
            "WHERE identity_id = $1 AND finished_at IS NULL",
            identity_id,
        )
    return found


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Two counts in one; what was not found is not named."""
    return {name: count for name in sorted({*one, *other}) if (count := one.get(name, 0) + other.get(name, 0))}
