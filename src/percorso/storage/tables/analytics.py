"""Rollups: what happened by hour, day and month, and the steps of customers, made from the facts."""

from sqlalchemy import Boolean, Column, Identity, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, Uuid

from percorso.storage.tables.types import metadata, moment

words = Table(
    "words",
    metadata,
    Column("word_id", Integer, Identity(), primary_key=True),
    Column("word", Text, nullable=False, comment="A kind, location, agent, campaign, topic or currency."),
    UniqueConstraint("word"),
    comment="Words of interactions by number, as rollups and steps name them.",
)

rollups = Table(
    "rollups",
    metadata,
    Column("scope", Integer, primary_key=True, comment="A touchpoint; 0: all."),
    Column("dimension", primary_key=True, comment="What the cells are counted by."),
    Column("level", primary_key=True, comment="0: hours of a day; 1: days of a month; 2: months."),
    Column("start", moment(), primary_key=True, comment="The beginning of the day, month or year in UTC."),
    Column("cells", LargeBinary, nullable=False, comment="Counts and sums of each cell."),
    Column("customers", LargeBinary, nullable=False, comment="Sketches of distinct customers of each cell."),
    Column("responses", LargeBinary, nullable=False, comment="Histograms of response times of each cell."),
    Column("costs", LargeBinary, nullable=False, comment="Amounts by currency of each cell."),
    Column("mix", LargeBinary, comment="A sample of customers with their channels, of everything."),
    comment="What happened, in cells that add up; made from the facts by the hours that the commit log names.",
)

steps = Table(
    "steps",
    metadata,
    Column("bucket", primary_key=True, comment="Of customers."),
    Column("hour", moment(), primary_key=True),
    Column("steps", LargeBinary, nullable=False, comment="Those of this hour, in order of time."),
    comment="What is kept of every interaction for questions about the order of events.",
)

counted_identities = Table(
    "counted_identities",
    metadata,
    Column("identity_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False, comment="Whom its interactions are counted under."),
    Column("stale", Boolean, nullable=False, comment="Not all of its hours are counted so yet."),
    Index("counted_identities_customer_id_idx", "customer_id"),
    comment="Identities that rollups and steps count under another: to find what a merge or a split changes.",
)
Index("counted_identities_stale_idx", counted_identities.c.identity_id, postgresql_where=counted_identities.c.stale)
