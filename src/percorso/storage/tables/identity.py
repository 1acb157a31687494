"""Identities: who is whom, on what evidence, and how that came to be decided."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from percorso.storage.tables.types import metadata, moment

identities = Table(
    "identities",
    metadata,
    Column("identity_id", Uuid, primary_key=True, comment="Hash of (kind, normalised value)."),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False, comment="Normalised."),
    Column("strong", Boolean, nullable=False, comment="Whether it may join customers."),
    Column("customer_id", Uuid, nullable=False, comment="The identity id of the customer's oldest strong identity."),
    Column("first_seen_at", moment(), nullable=False, comment="When percorso first received it."),
    Index("identities_customer_id_idx", "customer_id"),
    # In the order of bytes, whatever the database's collation: so that it finds what begins with some characters.
    Index("identities_kind_value_idx", "kind", "value", postgresql_ops={"value": "text_pattern_ops"}),
    comment="Each identifier ever seen, once.",
)

identity_links = Table(
    "identity_links",
    metadata,
    Column("identity_a", Uuid, primary_key=True, comment="The lower of the two ids."),
    Column("identity_b", Uuid, primary_key=True),
    Column("interaction_id", Uuid, comment="The interaction that carried both."),
    Column("source", Text, comment="Who sent it."),
    Column("linked_at", moment(), nullable=False),
    Column("linked_by", Text, comment="Who linked them, where it was done by hand."),
    Column("state", Text, nullable=False, server_default=text("'active'"), comment="active, cut or suspected."),
    CheckConstraint("identity_a < identity_b", name="ordered"),
    Index("identity_links_identity_b_idx", "identity_b"),
    comment="Why two identities are one customer: the evidence.",
)

identity_changes = Table(
    "identity_changes",
    metadata,
    Column("change_id", Uuid, primary_key=True, comment="Version 8, time-ordered."),
    Column("at", moment(), nullable=False),
    Column("what", Text, nullable=False, comment="merged, split, suspected, demoted or restored."),
    Column("identity_a", Uuid, nullable=False, comment="The lower id of a link; or the identity itself."),
    Column("identity_b", Uuid, comment="Null where an identity changed and not a link."),
    Column("state", Text, nullable=False, comment="From then on: a link's state, or weak or strong."),
    Column("done_by", Text, comment="The key; null where a guard rail did it."),
    Column("reason", Text),
    Column("interaction_id", Uuid, comment="What gave rise to it."),
    Column("source", Text, comment="Who sent that."),
    Index("identity_changes_identity_a_at_idx", "identity_a", "at"),
    Index("identity_changes_identity_b_at_idx", "identity_b", "at"),
    comment="What was decided about links and identities after they were first made.",
)

identity_suspicions = Table(
    "identity_suspicions",
    metadata,
    Column("suspicion_id", Uuid, primary_key=True, comment="Version 8, time-ordered by when it first arose."),
    Column("identity_a", Uuid, nullable=False, comment="The lower id of a link; or the identity itself."),
    Column("identity_b", Uuid, comment="Null where an identity is suspected and not a link."),
    Column("why", Text, nullable=False, comment="split_before, too_many or shared."),
    Column("detail", JSONB, nullable=False, comment="Kind, limit and count of the guard rail; no values."),
    Column("first_at", moment(), nullable=False),
    Column("last_at", moment(), nullable=False),
    Column("times", Integer, nullable=False),
    Column("interaction_id", Uuid, comment="The latest that gave rise to it."),
    Column("source", Text, comment="Who sent that."),
    Column("decided_at", moment(), comment="Null while it is to be reviewed."),
    Column("decided_by", Text, comment="The key; null where a guard rail did it."),
    Column("decision", Text, comment="merged, dismissed or restored."),
    Column("reason", Text, comment="Why it was decided so."),
    UniqueConstraint("identity_a", "identity_b", "why", postgresql_nulls_not_distinct=True),
    Index("identity_suspicions_identity_b_idx", "identity_b"),
    comment="Links that were not made, and identities that join no one: for review.",
)

identity_epoch = Table(
    "identity_epoch",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true"), comment="Always true: there is one row."),
    Column("epoch", BigInteger, nullable=False, comment="Grows when what processes remember may be wrong."),
    CheckConstraint("one", name="one"),
    comment="A process that remembers links and identities of an older epoch forgets them.",
)

erased_identities = Table(
    "erased_identities",
    metadata,
    Column("identity_id", Uuid, primary_key=True, comment="The salted hash alone; the identifier is gone."),
    Column("erasure_id", Uuid, nullable=False),
    Column("erased_at", moment(), nullable=False),
    Index("erased_identities_erasure_id_idx", "erasure_id"),
    comment="Tombstones: what is sent of these persons is refused.",
)
