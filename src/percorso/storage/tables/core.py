"""Interactions and what they need: keys, revisions, touchpoints, commits, quarantine, keys of callers."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB

from percorso.storage.tables.types import XID8, metadata, moment

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
    Column("received_at", moment(), nullable=False),
    Column("touchpoint_id", Integer, nullable=False),
    Column("channel", Text, nullable=False),
    Column("kind", Text),
    Column("function", Text),
    Column("direction", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default=text("0"), comment="How often it was enriched."),
    Column("document", JSON, nullable=False, comment="What the sender gave, byte for byte."),
    Column("traceparent", Text, comment="Of the request that it came in, where that named one."),
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
    Column("replaced_at", moment(), nullable=False),
    Column("replaced_by", Text, comment="The key that made the change."),
    Column("document", JSON, nullable=False),
    comment="What an interaction said before it was enriched.",
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
    Column("created_at", moment(), nullable=False, server_default=text("now()")),
    Column("updated_at", moment(), nullable=False, server_default=text("now()")),
    Column("joined_to", Integer, comment="The touchpoint that it was merged into, which may be merged itself."),
    Column("merged_into", Integer, comment="The touchpoint that it counts as: where all that leads to ends."),
    UniqueConstraint("slug"),
    Index("touchpoints_merged_into_idx", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
    comment="The registry; unknown slugs register themselves.",
)

touchpoint_changes = Table(
    "touchpoint_changes",
    metadata,
    Column("change_id", Integer, Identity(), primary_key=True),
    Column("touchpoint_id", Integer, nullable=False),
    Column("into_id", Integer, nullable=False),
    Column("what", Text, nullable=False, comment="merged or unmerged."),
    Column("at", moment(), nullable=False),
    Column("by", Text, nullable=False, comment="The name of the key."),
    Column("reason", Text, nullable=False),
    Index("touchpoint_changes_touchpoint_id_idx", "touchpoint_id"),
    Index("touchpoint_changes_into_id_idx", "into_id"),
    comment="Merges of touchpoints and their undoing: who, when and why.",
)

commits = Table(
    "commits",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("xid8", XID8, primary_key=True, server_default=text("pg_current_xact_id()")),
    Column("at", moment(), primary_key=True),
    Column("what", Text, nullable=False, comment="stored, changed, deleted, identity, said, outcome or watch."),
    Column("hours", ARRAY(moment()), nullable=False, comment="The hours of occurrence touched."),
    Column("identity_ids", ARRAY(Uuid), nullable=False),
    Column("interaction_ids", ARRAY(Uuid), nullable=False),
    postgresql_partition_by="RANGE (at)",
    comment="The commit log: one row per transaction that stored or changed something.",
)

rejected_interactions = Table(
    "rejected_interactions",
    metadata,
    Column("rejection_id", Uuid, primary_key=True, comment="Version 8, time-ordered."),
    Column("received_at", moment(), nullable=False),
    Column("source", Text, comment="As far as it could be read."),
    Column("sender_id", Text, comment="The sender's id, as far as it could be read."),
    Column("errors", JSONB, nullable=False, comment="[{pointer, detail}]"),
    Column("payload", LargeBinary, nullable=False, comment="As received; its head where it was too large."),
    Column("size", Integer, nullable=False, comment="Bytes received."),
    Column("format", Text, nullable=False, comment="The wire format it came in."),
    Column(
        "identity_ids",
        ARRAY(Uuid),
        nullable=False,
        server_default=text("'{}'"),
        comment="Of the identifiers that could be read.",
    ),
    Column("channel", Text, comment="As far as it could be read."),
    Column(
        "reasons",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="What is wrong, without any value: code:pointer, each once.",
    ),
    Column("state", Text, nullable=False, server_default=text("'waiting'"), comment="waiting, replayed or dismissed."),
    Column("handled_at", moment(), comment="When it was last tried, or dismissed."),
    Column("handled_by", Text, comment="The name of the key that did."),
    Column("interaction_id", Uuid, comment="What it became."),
    Column("replay_key", Uuid, comment="Hash of the (source, id) that it was first replayed under: it keeps these."),
    Column("replay_errors", JSONB, comment="What was wrong when it was last tried: [{pointer, detail}]"),
    Index("rejected_interactions_identity_ids_idx", "identity_ids", postgresql_using="gin"),
    Index("rejected_interactions_source_rejection_id_idx", "source", "rejection_id"),
    Index("rejected_interactions_sender_id_rejection_id_idx", "sender_id", "rejection_id"),
    Index("rejected_interactions_state_rejection_id_idx", "state", "rejection_id"),
    comment="Quarantine: what was refused, and why.",
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, comment="SHA-256 of the key, which has 256 random bits."),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", moment(), nullable=False, server_default=text("now()")),
    Column("revoked_at", moment()),
    Column("sources", ARRAY(Text), comment="What it may send as; null is any source."),
    Column("channels", ARRAY(Text), comment="The channels it may send; null is any."),
    Column("expires_at", moment(), comment="From then on it is not valid; null is never."),
    Column("last_used_at", moment(), comment="To the minute, and written a minute or two later."),
    Column("rate", Double, comment="Interactions and other requests a second; null: what the settings say."),
    Column("burst", Integer, comment="How many at once; null: those of ten seconds."),
    UniqueConstraint("key_hash"),
    comment="Who may call.",
)

rotated_keys = Table(
    "rotated_keys",
    metadata,
    Column("key_hash", LargeBinary, primary_key=True, comment="As in api_keys."),
    Column("key_id", Uuid, nullable=False),
    Column("valid_until", moment(), nullable=False, comment="Until then it is taken beside the new one."),
    Index("rotated_keys_key_id_idx", "key_id"),
    comment="Secrets that keys had before they were rotated.",
)
