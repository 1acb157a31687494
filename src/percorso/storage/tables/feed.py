"""The feed: up to where the commit log was dropped, and what subscriptions did not take."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Integer, Table, Text, Uuid, text

from percorso.storage.tables.types import XID8, metadata, moment

commit_floor = Table(
    "commit_floor",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true"), comment="Always true: there is one row."),
    Column("generation", Integer, nullable=False, comment="Of the last transaction that was dropped, or is about to."),
    Column("xid8", XID8, nullable=False),
    CheckConstraint("one", name="one"),
    comment="Up to where the commit log may be gone.",
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("subscription_id", Uuid, primary_key=True),
    Column("generation", Integer, primary_key=True, comment="Where the event stands in the feed."),
    Column("xid8", XID8, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("event", Text, nullable=False, comment="The type of the event."),
    Column("at", moment(), nullable=False, comment="When it was committed."),
    Column("first_failed_at", moment(), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("status", Integer, comment="The last answer; null where there was none."),
    Column("next_at", moment(), comment="When it is tried again; null once it is given up."),
    comment="Events that a subscription did not take, and others passed by: places in the feed only.",
)
