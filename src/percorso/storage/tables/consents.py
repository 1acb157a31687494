"""Consents: whether a customer may be contacted, for what and by which channel."""

from sqlalchemy import Column, Index, Table, Text, Uuid

from percorso.storage.tables.types import metadata, moment

consents = Table(
    "consents",
    metadata,
    Column("identity_id", Uuid, primary_key=True, comment="The identity that it was said of."),
    Column("occurred_at", moment(), primary_key=True, comment="From when on it holds."),
    Column("digest", Uuid, primary_key=True, comment="Hash of all that was said: said again, it is the same row."),
    Column("purpose", Text, nullable=False),
    Column("channel", Text, nullable=False, comment="A channel, or any for all of them."),
    Column("status", Text, nullable=False, comment="granted or denied."),
    Column("lawful_basis", Text, comment="Of GDPR, Article 6(1)."),
    Column("evidence", Text, comment="What proves it, where no interaction does."),
    Column("interaction_id", Uuid, comment="The interaction that proves it; it may be deleted since."),
    Column("source", Text, nullable=False, comment="Who knows it."),
    Column("received_at", moment(), nullable=False),
    Column("set_by", Text, comment="The key that said it; null where an interaction did."),
    Index("consents_identity_id_purpose_channel_occurred_at_idx", "identity_id", "purpose", "channel", "occurred_at"),
    comment="Whether customers may be contacted, and all that was said of it before.",
)
