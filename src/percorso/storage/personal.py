"""Where data about persons stands: the one list that export and erasure go by.

A table that holds anything of a customer stands here, with the columns that name the identity (or the customer, whose
id is an identity's). A new table needs one line: its rows are then exported, and erased. A test holds the list against
the schema.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Place:
    """A table whose rows belong to the identities that `columns` name; each column must be indexed.

    `stays` says why its rows outlive an erasure, where they do.
    """

    table: str
    columns: tuple[str, ...]
    stays: str | None = None


PLACES: Final = (
    Place("identity_links", ("identity_a", "identity_b")),
    Place("identity_changes", ("identity_a", "identity_b")),
    Place("identity_suspicions", ("identity_a", "identity_b")),
    Place("interaction_revisions", ("identity_id",)),
    Place("traits", ("identity_id",)),
    Place("consents", ("identity_id",)),
    Place("customer_profiles", ("customer_id",)),
    Place("contact_outcomes", ("identity_id",)),
    Place("deliveries", ("identity_id",)),
    Place("watch_deadlines", ("identity_id",)),
    Place("watch_firings", ("identity_id",)),
    Place("watch_evidence", ("identity_id",)),
    Place("audit_log", ("subject",), stays="It proves what was done, and holds salted hashes only."),
)

ELSEWHERE: Final[Mapping[str, str]] = {
    "interactions": "Exported with their keys, and erased with what follows from them, a batch at a time.",
    "interaction_keys": "Go with their interactions; those of interactions that are gone already are hashes only.",
    "identities": "Exported first, and erased when an erasure begins.",
    "rejected_interactions": "Found by their identities and by what was received.",
    "counted_identities": "Hashes only; those of who is gone go once the hours are made anew that they counted in.",
    "rollups": "Counts and sketches of hashes: made anew, without who is gone, as the commit log names them.",
    "steps": "Hashes of hashes: made anew, without who is gone, as the commit log names them.",
    "subscriptions": "Those that ask for who is gone, by an identifier in their query, end.",
    "words": "Those that hold an identifier are overwritten.",
    "dead_letters": "Places in the feed only, and dropped with the commit log.",
    "commits": "Ids and hours only, and dropped after a while.",
    "erased_identities": "The tombstones themselves: salted hashes.",
    "erasures": "The certificates: salted hashes and counts.",
}
"""Tables that name identities and are dealt with on their own, or stay; and why."""
