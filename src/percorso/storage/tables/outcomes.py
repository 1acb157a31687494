"""Outcomes: what came of each contact, kept ready so that it can be counted by touchpoint and time."""

from sqlalchemy import Boolean, Column, Double, Index, Integer, Table, Uuid

from percorso.storage.tables.types import metadata

contact_outcomes = Table(
    "contact_outcomes",
    metadata,
    Column("interaction_id", Uuid, primary_key=True, comment="First in the key: hours are ranges of it."),
    Column("identity_id", Uuid, primary_key=True, comment="Under which the interaction is stored."),
    Column("response_seconds", Double, comment="After which the customer was answered; null: no answer to it."),
    Column("waiting", Boolean, nullable=False, comment="The customer waits for an answer since."),
    Column("resolved_first", Boolean, comment="This first contact settled its matter; null: it is none that tells."),
    Column("repeat", Boolean, nullable=False, comment="About what an earlier contact was about already."),
    Column("hand_offs", Integer, nullable=False, comment="To another agent, with this contact."),
    Column("switched", Boolean, nullable=False, comment="Another channel than the time before."),
    Index("contact_outcomes_identity_id_interaction_id_idx", "identity_id", "interaction_id"),
    comment="A read model: what came of contacts, where there is anything to say.",
)
