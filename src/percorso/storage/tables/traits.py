"""Traits: what is said of customers, as long as it holds."""

from sqlalchemy import Column, Index, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSON

from percorso.storage.tables.types import metadata, moment

traits = Table(
    "traits",
    metadata,
    Column("identity_id", Uuid, primary_key=True, comment="The identity that it was said of."),
    Column("occurred_at", moment(), primary_key=True, comment="From when on it holds."),
    Column("digest", Uuid, primary_key=True, comment="Hash of name, value and source: said again, it is the same row."),
    Column("name", Text, nullable=False),
    Column("value", JSON, comment="As it was said, names of members in order. Null: there is none from then on."),
    Column("source", Text, nullable=False, comment="Who knows it."),
    Column("received_at", moment(), nullable=False),
    Column("set_by", Text, nullable=False, comment="The key that said it."),
    Index("traits_identity_id_name_occurred_at_received_at_idx", "identity_id", "name", "occurred_at", "received_at"),
    comment="What is said of customers, and all that was said before.",
)
