"""Retention: what was done last, how far, and which partitions are on their way out."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Integer, Table, Text, text

from percorso.storage.tables.types import XID8, metadata, moment

retention_state = Table(
    "retention_state",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true"), comment="Always true: there is one row."),
    Column("began_at", moment(), nullable=False, comment="Of the last run that was completed."),
    Column("ended_at", moment(), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("xid8", XID8, nullable=False, comment="Commits before it were searched for what had come late."),
    Column("partitions", Integer, nullable=False, comment="Months of interactions dropped."),
    Column("interactions", BigInteger, nullable=False, comment="Deleted one by one."),
    Column("rejected", BigInteger, nullable=False),
    Column("commit_days", Integer, nullable=False, comment="Days of the commit log dropped."),
    Column("bytes", BigInteger, nullable=False, comment="Size of what was dropped."),
    CheckConstraint("one", name="one"),
    comment="How far retention has come.",
)

retention_sweeps = Table(
    "retention_sweeps",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("swept_until", moment(), nullable=False, comment="What occurred before is gone, but for what came late."),
    comment="How far interactions of a channel were deleted one by one.",
)

retention_drops = Table(
    "retention_drops",
    metadata,
    Column("partition", Text, primary_key=True),
    Column("parent", Text, nullable=False),
    Column("first", moment(), nullable=False),
    Column("following", moment(), nullable=False, comment="The end of its range, excluded."),
    comment="Partitions that are being dropped: whoever comes next after a crash goes on with them.",
)
