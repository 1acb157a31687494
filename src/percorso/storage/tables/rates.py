"""What is left of the rate of each key."""

from sqlalchemy import Column, Double, Table, Uuid

from percorso.storage.tables.types import metadata, moment

key_rates = Table(
    "key_rates",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column(
        "tokens",
        Double,
        nullable=False,
        comment="How many were left at that time; below 0 where a batch was larger.",
    ),
    Column("granted", Double, nullable=False, comment="How many the last who asked was given."),
    Column("at", moment(), nullable=False),
    prefixes=["UNLOGGED"],
    comment="What is left of the rate of each key that has one; after a crash, all of it.",
)
