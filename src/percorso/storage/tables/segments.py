"""Segments: filters of customers that have a name."""

from sqlalchemy import Column, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from percorso.storage.tables.types import metadata, moment

segments = Table(
    "segments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("description", Text),
    Column("filter", JSONB, nullable=False, comment="As it was given; what is left out does not narrow."),
    Column("created_at", moment(), nullable=False, server_default=text("now()")),
    Column("updated_at", moment(), nullable=False, server_default=text("now()")),
    Column("updated_by", Text, nullable=False, comment="The name of the key."),
    comment="Named filters of customers.",
)
