"""Consents: whether a customer may be contacted now, and all that was said of it before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from asyncpg.pgproto.pgproto import UUID

from percorso.queries import history
from percorso.queries.cursor import Page
from percorso.storage.consents import ANY, Consent
from percorso.storage.database import ReadSession


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a customer may be contacted for a purpose by a channel, why, and what was said that decides it."""

    allowed: bool
    reason: Literal["granted", "denied", "nothing_said"]
    decided_by: Consent | None


_COLUMNS: Final = ", ".join(Consent._fields)
_LATEST: Final = "purpose DESC, channel DESC, occurred_at DESC, status, received_at DESC LIMIT 1"


async def current(session: ReadSession, identity_ids: Sequence[UUID]) -> list[Consent]:
    """What holds of the customer of these identities, by purpose and channel: of each what occurred last.

    Of what occurred at the same moment it is a denial rather than a grant, and then what was received last. Relies on
    `consents_identity_id_purpose_channel_occurred_at_idx`, of which it reads one entry a purpose, channel and identity,
    however long the history is.
    """
    rows = await session.fetch(
        "WITH RECURSIVE latest AS ("
        "SELECT said.* FROM unnest($1::uuid[]) AS of(identity_id) CROSS JOIN LATERAL ("
        f"SELECT {_COLUMNS} FROM consents WHERE identity_id = of.identity_id ORDER BY {_LATEST}) AS said "
        "UNION ALL SELECT said.* FROM latest CROSS JOIN LATERAL ("
        f"SELECT {_COLUMNS} FROM consents WHERE identity_id = latest.identity_id "
        f"AND (purpose, channel) < (latest.purpose, latest.channel) ORDER BY {_LATEST}) AS said) "
        f"SELECT DISTINCT ON (purpose, channel) {_COLUMNS} FROM latest "
        "ORDER BY purpose, channel, occurred_at DESC, status, received_at DESC, source, identity_id",
        identity_ids,
    )
    return [Consent(*row) for row in rows]


def decide(current: Sequence[Consent], purpose: str, channel: str) -> Decision:
    """Whether contact is allowed, from all that holds of a customer.

    What is said of the channel and what is said of any channel both speak of it: the later one decides, and at the
    same moment the denial. Where neither is said contact is not allowed: consent must be given, it is never assumed
    (GDPR, Article 4(11) and recital 32).
    """
    speaking = [each for each in current if each.purpose == purpose and each.channel in {channel, ANY}]
    if not speaking:
        return Decision(allowed=False, reason="nothing_said", decided_by=None)
    last = max(speaking, key=lambda each: (each.occurred_at, each.status == "denied", each.channel != ANY))
    return Decision(allowed=last.status == "granted", reason=last.status, decided_by=last)


async def page(
    session: ReadSession,
    identity_ids: Sequence[UUID],
    *,
    purpose: str | None,
    channel: str | None,
    limit: int,
    after: str | None,
) -> Page[Consent]:
    """One keyset page of all that was ever said of the customer of these identities, or of a part; newest first."""
    only = {"purpose": purpose, "channel": channel}
    found = await history.page(session, "consents", _COLUMNS, identity_ids, only=only, limit=limit, after=after)
    return Page([Consent(*row[:-1]) for row in found.items], found.next_cursor)
