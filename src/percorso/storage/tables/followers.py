"""Followers: how far each of those has come that follow the commit log."""

from sqlalchemy import Column, Integer, Table, Text, Uuid

from percorso.storage.tables.types import XID8, metadata

followers = Table(
    "followers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("generation", Integer, nullable=False, comment="Of the last row of the commit log that was taken."),
    Column("xid8", XID8, nullable=False),
    Column("filled_to", Uuid, comment="How far the first pass over all identities has come; null: it is complete."),
    comment="Cursors in the commit log.",
)
