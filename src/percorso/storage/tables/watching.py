"""Watching: rules, when customers are to be looked at again, and what fired."""

from sqlalchemy import Boolean, Column, Index, Integer, Table, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from percorso.storage.tables.types import XID8, metadata, moment

watches = Table(
    "watches",
    metadata,
    Column("watch_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("version", Integer, nullable=False, comment="Grows with every change of the rule."),
    Column("rule", JSONB, nullable=False),
    Column("enabled", Boolean, nullable=False, comment="Whether it fires."),
    Column(
        "since",
        moment(),
        nullable=False,
        comment="It fires where the last interaction of its pattern occurred no earlier.",
    ),
    Column("created_at", moment(), nullable=False, server_default=text("now()")),
    Column("updated_at", moment(), nullable=False, server_default=text("now()")),
    Column("updated_by", Text, nullable=False, comment="The name of the key."),
    UniqueConstraint("name"),
    comment="Rules of what to watch for in what customers go through.",
)

watch_versions = Table(
    "watch_versions",
    metadata,
    Column("watch_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("rule", JSONB, nullable=False),
    Column("made_at", moment(), nullable=False),
    Column("made_by", Text, nullable=False, comment="The name of the key."),
    comment="Every rule that a watch ever had.",
)

watch_deadlines = Table(
    "watch_deadlines",
    metadata,
    Column("identity_id", Uuid, primary_key=True, comment="An identity of the customer."),
    Column("due_at", moment(), nullable=False, comment="When the customer is to be looked at again."),
    Index("watch_deadlines_due_at_idx", "due_at"),
    comment="Customers of whom something may be true later though nothing happens.",
)

watch_firings = Table(
    "watch_firings",
    metadata,
    Column("firing_id", Uuid, primary_key=True, comment="Made of the rule, its version and the interactions."),
    Column("watch_id", Uuid, nullable=False),
    Column("name", Text, nullable=False, comment="Of the watch, when it fired."),
    Column("version", Integer, nullable=False),
    Column("identity_id", Uuid, nullable=False, comment="Under which the last interaction of the pattern is stored."),
    Column(
        "at",
        moment(),
        nullable=False,
        comment="When it came true: with that interaction, or when the span after it ended.",
    ),
    Column("fired_at", moment(), nullable=False),
    Column("generation", Integer, nullable=False, comment="Of the row of the commit log that names it, as is xid8."),
    Column("xid8", XID8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("number", Integer, nullable=False, comment="Its place among those of its commit."),
    Index("watch_firings_watch_id_at_firing_id_idx", "watch_id", "at", "firing_id"),
    Index("watch_firings_generation_xid8_idx", "generation", "xid8"),
    Index("watch_firings_identity_id_idx", "identity_id"),
    Index("watch_firings_fired_at_idx", "fired_at"),
    comment="What fired.",
)

watch_evidence = Table(
    "watch_evidence",
    metadata,
    Column("watch_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("interaction_id", Uuid, primary_key=True),
    Column("identity_id", Uuid, nullable=False, comment="Under which the interaction is stored."),
    Column("firing_id", Uuid, nullable=False),
    Index("watch_evidence_identity_id_idx", "identity_id"),
    Index("watch_evidence_firing_id_idx", "firing_id"),
    comment="The interactions of firings; none is in two of one version of a rule.",
)
