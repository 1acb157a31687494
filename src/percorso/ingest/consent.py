"""What an interaction says of the customer's consent: who unsubscribes or complains is not to be contacted that way."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.consents import Consent, Status

MARKETING: Final = "marketing"
"""The purpose that subscribing, unsubscribing and complaining are about."""

_SAYS: Final[dict[Any, Status]] = {"subscribed": "granted", "unsubscribed": "denied", "complained": "denied"}
"""By an outcome, or by the event of an email."""


def status_of(interaction: Mapping[str, Any]) -> Status | None:
    """What a valid interaction says by its outcome, or as an email by its event; a denial where they disagree."""
    outcome = _SAYS.get(interaction.get("outcome"))
    if interaction["channel"] != "email":
        return outcome
    details = interaction.get("details")
    event = _SAYS.get(details.get("event")) if details else None
    return outcome if outcome == "denied" or event is None else event


def said_by(
    interaction: Mapping[str, Any],
    status: Status,
    *,
    interaction_id: UUID,
    identity_id: UUID,
    occurred_at: datetime,
    received_at: datetime,
) -> Consent:
    """The consent that an interaction gives or takes away: for marketing, by its channel; it is itself the evidence."""
    return Consent(
        identity_id=identity_id,
        purpose=MARKETING,
        channel=interaction["channel"],
        status=status,
        occurred_at=occurred_at,
        lawful_basis="consent",
        evidence=None,
        interaction_id=interaction_id,
        source=interaction["source"],
        received_at=received_at,
        set_by=None,
    )
