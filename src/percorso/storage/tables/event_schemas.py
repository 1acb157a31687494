"""Schemas of interactions, their versions, and what came of checking by them."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSON

from percorso.storage.tables.types import metadata, moment

event_schemas = Table(
    "event_schemas",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="* is every kind of the channel that has no schema of its own."),
    Column("version", Integer, nullable=False, comment="The one that is in force."),
    Column("mode", Text, nullable=False, comment="report or enforce."),
    Column("changed_at", moment(), nullable=False),
    Column("changed_by", Text, nullable=False, comment="The name of the key."),
    CheckConstraint("mode IN ('report', 'enforce')", name="mode"),
    comment="The schemas in force.",
)

event_schema_versions = Table(
    "event_schema_versions",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("schema", JSON, nullable=False, comment="As it was given."),
    Column("created_at", moment(), nullable=False),
    Column("created_by", Text, nullable=False, comment="The name of the key."),
    comment="Every schema that ever was in force; rejections name theirs.",
)

event_schema_tallies = Table(
    "event_schema_tallies",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("checked", BigInteger, nullable=False, comment="Interactions that were checked."),
    Column("reported", BigInteger, nullable=False, comment="Those that failed and were stored."),
    Column("refused", BigInteger, nullable=False, comment="Those that failed and were refused."),
    Column("since", moment(), nullable=False, server_default=text("now()")),
    Column("last_at", moment(), nullable=False, server_default=text("now()")),
    comment="What came of checking by a version.",
)

event_schema_faults = Table(
    "event_schema_faults",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("place", Text, primary_key=True, comment="JSON pointer into the schema: nothing of what was sent."),
    Column("detail", Text, nullable=False, comment="What the schema asks there, in words."),
    Column("interactions", BigInteger, nullable=False, comment="How many failed there."),
    Column("first_at", moment(), nullable=False, server_default=text("now()")),
    Column("last_at", moment(), nullable=False, server_default=text("now()")),
    comment="Where interactions failed to fit a version.",
)
