"""The tables, as SQLAlchemy metadata: what Alembic compares the database with, and the one place that names columns.

`interactions` and `commits` are partitioned: by month of occurrence, and by day of commit. Their partitions are
made on demand (see `partitions.py`) and are no part of this metadata.
"""

from percorso.storage.tables import (
    analytics,
    consents,
    core,
    deliveries,
    event_schemas,
    feed,
    followers,
    identity,
    outcomes,
    privacy,
    profiles,
    rates,
    retention,
    segments,
    traits,
    watching,
)
from percorso.storage.tables.types import metadata

__all__ = [
    "analytics",
    "consents",
    "core",
    "deliveries",
    "event_schemas",
    "feed",
    "followers",
    "identity",
    "metadata",
    "outcomes",
    "privacy",
    "profiles",
    "rates",
    "retention",
    "segments",
    "traits",
    "watching",
]
