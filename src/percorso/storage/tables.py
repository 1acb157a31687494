"""The tables, as SQLAlchemy metadata: what Alembic compares the database with, and the one place that names columns.

`interactions` and `commits` are partitioned: by month of occurrence, and by day of commit. Their partitions are
made on demand (see `partitions.py`) and are no part of this metadata.
"""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


class XID8(UserDefinedType[int]):
    """A 64-bit transaction id, which SQLAlchemy does not know."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Its name in SQL."""
        return "xid8"


ischema_names["xid8"] = XID8


def _moment() -> DateTime:
    return DateTime(timezone=True)


deployment = Table(
    "deployment",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true"), comment="Always true: there is one row."),
    Column("salt", LargeBinary, nullable=False, comment="Key of every hash; ids of two deployments never match."),
    Column("generation", Integer, nullable=False, comment="Grows when the database is restored elsewhere."),
    Column("system_identifier", Text, nullable=False, comment="Of the cluster that the generation was given on."),
    CheckConstraint("one", name="one"),
    comment="What this installation is, in one row.",
)

interactions = Table(
    "interactions",
    metadata,
    Column("identity_id", Uuid, primary_key=True, comment="The strongest identifier, hashed."),
    Column("id", Uuid, primary_key=True, comment="Version 8, time-ordered: begins with occurred_at in ms."),
    Column("received_at", _moment(), nullable=False),
    Column("touchpoint_id", Integer, nullable=False),
    Column("channel", Text, nullable=False),
    Column("kind", Text),
    Column("function", Text),
    Column("direction", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default=text("0"), comment="How often it was enriched."),
    Column("document", JSON, nullable=False, comment="What the sender gave, byte for byte."),
    Index("interactions_id_idx", "id", postgresql_using="brin"),
    Index("interactions_touchpoint_id_id_idx", "touchpoint_id", "id"),
    postgresql_partition_by="RANGE (id)",
    comment="The facts. The primary key is the journey.",
)

interaction_keys = Table(
    "interaction_keys",
    metadata,
    Column("key", Uuid, primary_key=True, comment="Hash of (source, id)."),
    Column("identity_id", Uuid, nullable=False),
    Column("interaction_id", Uuid, nullable=False),
    comment="Once, for ever: outlives the interaction it names.",
)

interaction_revisions = Table(
    "interaction_revisions",
    metadata,
    Column("identity_id", Uuid, primary_key=True),
    Column("interaction_id", Uuid, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("replaced_at", _moment(), nullable=False),
    Column("replaced_by", Text, comment="The key that made the change."),
    Column("document", JSON, nullable=False),
    comment="What an interaction said before it was enriched.",
)

identities = Table(
    "identities",
    metadata,
    Column("identity_id", Uuid, primary_key=True, comment="Hash of (kind, normalised value)."),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False, comment="Normalised."),
    Column("strong", Boolean, nullable=False, comment="Whether it may join customers."),
    Column("customer_id", Uuid, nullable=False, comment="The identity id of the customer's oldest strong identity."),
    Column("first_seen_at", _moment(), nullable=False, comment="When percorso first received it."),
    Index("identities_customer_id_idx", "customer_id"),
    comment="Each identifier ever seen, once.",
)

identity_links = Table(
    "identity_links",
    metadata,
    Column("identity_a", Uuid, primary_key=True, comment="The lower of the two ids."),
    Column("identity_b", Uuid, primary_key=True),
    Column("interaction_id", Uuid, comment="The interaction that carried both."),
    Column("source", Text, comment="Who sent it."),
    Column("linked_at", _moment(), nullable=False),
    Column("linked_by", Text, comment="Who linked them, where it was done by hand."),
    CheckConstraint("identity_a < identity_b", name="ordered"),
    Index("identity_links_identity_b_idx", "identity_b"),
    comment="Why two identities are one customer: the evidence.",
)

touchpoints = Table(
    "touchpoints",
    metadata,
    Column("touchpoint_id", Integer, Identity(), primary_key=True),
    Column("slug", Text, nullable=False),
    Column("channel", Text, comment="Of the first interaction, unless set by hand."),
    Column("name", Text),
    Column("function", Text),
    Column("stage", Text),
    Column("owner", Text),
    Column("location", Text),
    Column("discovered", Boolean, nullable=False, comment="Made by an interaction, not yet described by hand."),
    Column("created_at", _moment(), nullable=False, server_default=text("now()")),
    Column("updated_at", _moment(), nullable=False, server_default=text("now()")),
    UniqueConstraint("slug"),
    comment="The registry; unknown slugs register themselves.",
)

commits = Table(
    "commits",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("xid8", XID8, primary_key=True),
    Column("at", _moment(), primary_key=True),
    Column("what", Text, nullable=False, comment="stored, changed or deleted."),
    Column("hours", ARRAY(_moment()), nullable=False, comment="The hours of occurrence touched."),
    Column("identity_ids", ARRAY(Uuid), nullable=False),
    Column("interaction_ids", ARRAY(Uuid), nullable=False),
    postgresql_partition_by="RANGE (at)",
    comment="The commit log: one row per transaction that stored or changed interactions.",
)

rejected_interactions = Table(
    "rejected_interactions",
    metadata,
    Column("rejection_id", Uuid, primary_key=True, comment="Version 8, time-ordered."),
    Column("received_at", _moment(), nullable=False),
    Column("source", Text, comment="As far as it could be read."),
    Column("sender_id", Text, comment="The sender's id, as far as it could be read."),
    Column("errors", JSONB, nullable=False, comment="[{pointer, detail}]"),
    Column("payload", LargeBinary, nullable=False, comment="As received; its head where it was too large."),
    Column("size", Integer, nullable=False, comment="Bytes received."),
    Column("format", Text, nullable=False, comment="The wire format it came in."),
    comment="Quarantine: what was refused, and why.",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, comment="SHA-256 of the key, which has 256 random bits."),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", _moment(), nullable=False, server_default=text("now()")),
    Column("revoked_at", _moment()),
    UniqueConstraint("key_hash"),
    comment="Who may call.",
)
