"""Who is told of changes, and what is still to be told them."""

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, Table, Text, Uuid

from percorso.storage.tables.types import XID8, metadata, moment

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("subscription_id", Uuid, primary_key=True),
    Column("protocol", Text, nullable=False, comment="Whose events it gets, such as tmf683."),
    Column("callback", Text, nullable=False, comment="The address that deliveries are posted to."),
    Column("query", Text, comment="What it is narrowed to, in the protocol's own words."),
    Column("secret", Text, nullable=False, comment="Deliveries are signed with it."),
    Column("key_id", Uuid, nullable=False, comment="The key that made it: with it revoked, nothing is delivered."),
    Column("created_at", moment(), nullable=False, comment="What was committed before is not told."),
    Column("failures", Integer, nullable=False, comment="How often it failed since it last took something."),
    Column("next_at", moment(), nullable=False, comment="When it is tried next."),
    Column("name", Text, comment="What it is called; of the feed only, as all that follows."),
    Column("generation", Integer, comment="Where it stands in the feed."),
    Column("xid8", XID8),
    Column("number", BigInteger),
    Column("failing_since", moment(), comment="When it last began to fail; null: it does not."),
    Column("taken_at", moment(), comment="When it last took something."),
    Column("paused", Text, comment="Why nothing is delivered: by_hand, gone, expired or full; null: it is."),
    Column("earlier_secret", Text, comment="Deliveries are signed with it too for a while after it was replaced."),
    Column("earlier_until", moment()),
    Index("subscriptions_key_id_idx", "key_id"),
    comment="Who is told of changes.",
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", Uuid, primary_key=True),
    Column("seq", BigInteger, Identity(), nullable=False, comment="The order in which a subscription is told."),
    Column("subscription_id", Uuid, nullable=False),
    Column("event", Text, nullable=False, comment="The type of the event."),
    Column("at", moment(), nullable=False, comment="When it was committed."),
    Column("identity_id", Uuid, comment="Whose interaction it is; null where that is deleted."),
    Column("interaction_id", Uuid, nullable=False),
    Column("revision", Integer, nullable=False, comment="What the interaction said after the event."),
    Column("refusals", Integer, nullable=False, comment="How often it was answered that it is not taken."),
    Index("deliveries_subscription_id_seq_idx", "subscription_id", "seq"),
    Index("deliveries_identity_id_idx", "identity_id"),
    comment="What is still to be delivered; a row goes when it was taken, or given up.",
)
