"""The verdict on each row of a group, from what was stored and what stood before."""

import json
from collections.abc import Collection, Iterable, Mapping

from asyncpg.pgproto.pgproto import UUID

from percorso.errors import Problem
from percorso.ingest.compare import same_interaction
from percorso.ingest.verdict import Verdict
from percorso.storage.interactions import Row, Stored


def is_own(row: Row, standing: Stored) -> bool:
    """Whether what stands is this very row, committed by an earlier try whose outcome was not heard."""
    return row.id == standing.interaction_id and standing.received_at in {None, row.received_at}


def as_stored(row: Row, customer: UUID) -> Verdict:
    """The verdict on a row that was new."""
    return Verdict("stored", row.id, customer, row.received_at)


def named(row: Row) -> Iterable[UUID]:
    """The identities that a row names."""
    return (identifier.id for identifier in row.identifiers)


def as_erased(row: Row, erased: Collection[UUID]) -> Verdict:
    """The verdict on a row that names someone who was erased. Nothing of it is kept, in quarantine neither."""
    kind = next(identifier.kind for identifier in row.identifiers if identifier.id in erased)
    problem = Problem(f"/customer/{kind}", "erased: this person asked to be forgotten, and nothing of them is taken.")
    return Verdict("rejected", problems=(problem,), erased=True)


def as_repeated(row: Row, standing: Stored, customers: Mapping[UUID, UUID], erased: frozenset[UUID]) -> Verdict:
    """`duplicate` or `conflict`; what was deleted since, or dropped for its age, can only be a duplicate.

    What was deleted since its person was `erased` is refused as all else of that person.
    """
    if erased and not erased.isdisjoint(named(row)):
        return as_erased(row, erased)
    said = [document for document in (standing.document, standing.enriched) if document is not None]
    return Verdict(
        "duplicate" if not said or any(_same(row, document) for document in said) else "conflict",
        standing.interaction_id,
        customers.get(standing.identity_id),
        standing.received_at,
    )


def _same(row: Row, stored: str) -> bool:
    """Whether a row says the same as a stored document, an assigned time aside."""
    if row.document == stored.encode():
        return True
    ours, theirs = json.loads(row.document), json.loads(stored)
    if row.time_assigned:
        del ours["occurred_at"], theirs["occurred_at"]
    return same_interaction(ours, theirs)
