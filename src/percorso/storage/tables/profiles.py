"""Profiles: what is said of each customer, kept ready so that customers can be found by it."""

from sqlalchemy import ARRAY, BigInteger, Boolean, Column, Double, Index, Integer, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from percorso.storage.tables.types import metadata, moment

customer_profiles = Table(
    "customer_profiles",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("computed_at", moment(), nullable=False, comment="When this was what the summary said."),
    Column("identity_ids", ARRAY(Uuid), nullable=False, comment="The identities whose interactions were counted."),
    Column("first_at", moment(), comment="The first contact."),
    Column("last_at", moment(), nullable=False, comment="The last contact; -infinity where there was none."),
    Column("interactions", Integer, nullable=False),
    Column("channels", ARRAY(Text), nullable=False),
    Column("relationship", Text, nullable=False, comment="solid, watch or cracked."),
    Column("score", Integer, nullable=False, comment="Of the relationship."),
    Column("open_complaints", Integer, nullable=False),
    Column("purchases", Integer, nullable=False),
    Column("last_purchase_at", moment()),
    Column("spent", Double, comment="In the currency of most purchases."),
    Column("currency", Text),
    Column("overdue", Boolean, comment="Whether a purchase was to be expected by now; null: not known."),
    Column("recency_score", Integer, comment="1 to 5, the fifth that it falls in; null: too few bought."),
    Column("frequency_score", Integer),
    Column("monetary_score", Integer),
    Column("rfm", Text, comment="The class that follows from the three scores."),
    Column("traits", JSONB, nullable=False, comment="The present ones, by name."),
    Column("labels", ARRAY(Text), nullable=False, comment="What of them can be searched for, as name:value."),
    Index("customer_profiles_computed_at_idx", "computed_at"),
    Index("customer_profiles_last_at_customer_id_idx", "last_at", "customer_id"),
    Index("customer_profiles_relationship_last_at_customer_id_idx", "relationship", "last_at", "customer_id"),
    Index("customer_profiles_rfm_last_at_customer_id_idx", "rfm", "last_at", "customer_id"),
    Index("customer_profiles_channels_idx", "channels", postgresql_using="gin"),
    Index("customer_profiles_identity_ids_idx", "identity_ids", postgresql_using="gin"),
    Index("customer_profiles_labels_idx", "labels", postgresql_using="gin"),
    comment="A read model of customers, made from the commit log.",
)
Index(
    "customer_profiles_complaining_idx",
    customer_profiles.c.last_at,
    customer_profiles.c.customer_id,
    postgresql_where=customer_profiles.c.open_complaints > 0,
)
Index(
    "customer_profiles_buying_idx",
    customer_profiles.c.customer_id,
    postgresql_where=customer_profiles.c.purchases > 0,
)

rfm_bounds = Table(
    "rfm_bounds",
    metadata,
    Column("measure", Text, primary_key=True, comment="recency, frequency or monetary."),
    Column("currency", Text, primary_key=True, comment="Of monetary; empty for the others."),
    Column("bounds", ARRAY(Double), nullable=False, comment="The highest values of the four lower fifths."),
    Column("buyers", BigInteger, nullable=False, comment="How many customers they were taken from."),
    Column("computed_at", moment(), nullable=False),
    comment="Where the fifths of all buyers lie: recency as Unix time of the last purchase, purchases, money spent.",
)
