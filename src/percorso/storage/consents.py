"""Consents: whether a customer may be contacted for a purpose by a channel, since when, and what proves it.

A consent is stored under the identity that it was said of and never changed: what holds for a customer follows from the
latest of all its identities. So joining customers and taking them apart again touches no consent, and the proof stays.
"""

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final, Literal, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.storage.database import WriteSession

Status = Literal["granted", "denied"]
LawfulBasis = Literal[
    "consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests"
]
"""Regulation (EU) 2016/679 (GDPR), Article 6(1), points (a) to (f)."""

ANY: Final = "any"
"""The channel of what is said of all channels at once."""


class Consent(NamedTuple):
    """What is said of an identity, and by which evidence: words of `set_by`, or an interaction."""

    identity_id: UUID
    purpose: str
    channel: str
    status: Status
    occurred_at: datetime
    lawful_basis: LawfulBasis | None
    evidence: str | None
    interaction_id: UUID | None
    source: str
    received_at: datetime
    set_by: str | None

    @property
    def digest(self) -> UUID:
        """What tells it from others that are said of the same identity at the same moment."""
        interaction = None if self.interaction_id is None else str(self.interaction_id)
        said = (self.purpose, self.channel, self.status, self.lawful_basis, self.evidence, interaction, self.source)
        return UUID(ids.statement_digest(*said))


async def insert(session: WriteSession, consents: Sequence[Consent]) -> int:
    """Store what was not said before; how much that is."""
    # In one order, so that two who say the same at once wait for each other in one direction only.
    keyed = sorted((((each.identity_id, each.occurred_at, each.digest), each) for each in consents), key=itemgetter(0))
    new = await session.fetch(
        "INSERT INTO consents (digest, identity_id, purpose, channel, status, occurred_at, lawful_basis, evidence, "
        "interaction_id, source, received_at, set_by) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], "
        "$4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[], $9::uuid[], $10::text[], "
        "$11::timestamptz[], $12::text[]) ON CONFLICT DO NOTHING RETURNING digest",
        [digest for (_, _, digest), _ in keyed],
        *([getattr(each, name) for _, each in keyed] for name in Consent._fields),
    )
    return len(new)
