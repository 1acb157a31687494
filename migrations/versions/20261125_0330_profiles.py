"""Finding customers: profiles, bounds of RFM, segments, cursors in the commit log, identifiers by their beginning."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261125_0330"
down_revision: str | None = "20261125_0320"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# What an earlier try left behind, which was stopped, is invalid: it is made anew.
IDENTIFIERS = """
DROP INDEX CONCURRENTLY IF EXISTS identities_kind_value_idx;

CREATE INDEX CONCURRENTLY IF NOT EXISTS identities_kind_value_idx
    ON identities (kind, value text_pattern_ops)
"""

TABLES = """
CREATE TABLE followers (
    name text NOT NULL,
    generation integer NOT NULL,
    xid8 xid8 NOT NULL,
    filled_to uuid,
    CONSTRAINT followers_pkey PRIMARY KEY (name)
);

CREATE TABLE customer_profiles (
    customer_id uuid NOT NULL,
    computed_at timestamptz NOT NULL,
    identity_ids uuid[] NOT NULL,
    first_at timestamptz,
    last_at timestamptz NOT NULL,
    interactions integer NOT NULL,
    channels text[] NOT NULL,
    relationship text NOT NULL,
    score integer NOT NULL,
    open_complaints integer NOT NULL,
    purchases integer NOT NULL,
    last_purchase_at timestamptz,
    spent double precision,
    currency text,
    overdue boolean,
    recency_score integer,
    frequency_score integer,
    monetary_score integer,
    rfm text,
    traits jsonb NOT NULL,
    labels text[] NOT NULL,
    CONSTRAINT customer_profiles_pkey PRIMARY KEY (customer_id)
);

CREATE INDEX customer_profiles_computed_at_idx ON customer_profiles (computed_at);

CREATE INDEX customer_profiles_last_at_customer_id_idx ON customer_profiles (last_at, customer_id);

CREATE INDEX customer_profiles_relationship_last_at_customer_id_idx
    ON customer_profiles (relationship, last_at, customer_id);

CREATE INDEX customer_profiles_rfm_last_at_customer_id_idx ON customer_profiles (rfm, last_at, customer_id);

CREATE INDEX customer_profiles_channels_idx ON customer_profiles USING gin (channels);

CREATE INDEX customer_profiles_identity_ids_idx ON customer_profiles USING gin (identity_ids);

CREATE INDEX customer_profiles_labels_idx ON customer_profiles USING gin (labels);

CREATE INDEX customer_profiles_complaining_idx ON customer_profiles (last_at, customer_id) WHERE open_complaints > 0;

CREATE INDEX customer_profiles_buying_idx ON customer_profiles (customer_id) WHERE purchases > 0;

CREATE TABLE rfm_bounds (
    measure text NOT NULL,
    currency text NOT NULL,
    bounds double precision[] NOT NULL,
    buyers bigint NOT NULL,
    computed_at timestamptz NOT NULL,
    CONSTRAINT rfm_bounds_pkey PRIMARY KEY (measure, currency)
);

CREATE TABLE segments (
    name text NOT NULL,
    description text,
    filter jsonb NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    updated_by text NOT NULL,
    CONSTRAINT segments_pkey PRIMARY KEY (name)
);
"""

COMMENTS = """
COMMENT ON TABLE followers IS 'Cursors in the commit log.';
COMMENT ON COLUMN followers.generation IS 'Of the last row of the commit log that was taken.';
COMMENT ON COLUMN followers.filled_to IS
    'How far the first pass over all identities has come; null: it is complete.';
COMMENT ON TABLE customer_profiles IS 'A read model of customers, made from the commit log.';
COMMENT ON COLUMN customer_profiles.computed_at IS 'When this was what the summary said.';
COMMENT ON COLUMN customer_profiles.identity_ids IS 'The identities whose interactions were counted.';
COMMENT ON COLUMN customer_profiles.first_at IS 'The first contact.';
COMMENT ON COLUMN customer_profiles.last_at IS 'The last contact; -infinity where there was none.';
COMMENT ON COLUMN customer_profiles.relationship IS 'solid, watch or cracked.';
COMMENT ON COLUMN customer_profiles.score IS 'Of the relationship.';
COMMENT ON COLUMN customer_profiles.spent IS 'In the currency of most purchases.';
COMMENT ON COLUMN customer_profiles.overdue IS
    'Whether a purchase was to be expected by now; null: not known.';
COMMENT ON COLUMN customer_profiles.recency_score IS '1 to 5, the fifth that it falls in; null: too few bought.';
COMMENT ON COLUMN customer_profiles.rfm IS 'The class that follows from the three scores.';
COMMENT ON COLUMN customer_profiles.traits IS 'The present ones, by name.';
COMMENT ON COLUMN customer_profiles.labels IS 'What of them can be searched for, as name:value.';
COMMENT ON TABLE rfm_bounds IS
    'Where the fifths of all buyers lie: recency as Unix time of the last purchase, purchases, money spent.';
COMMENT ON COLUMN rfm_bounds.measure IS 'recency, frequency or monetary.';
COMMENT ON COLUMN rfm_bounds.currency IS 'Of monetary; empty for the others.';
COMMENT ON COLUMN rfm_bounds.bounds IS 'The highest values of the four lower fifths.';
COMMENT ON COLUMN rfm_bounds.buyers IS 'How many customers they were taken from.';
COMMENT ON TABLE segments IS 'Named filters of customers.';
COMMENT ON COLUMN segments.filter IS 'As it was given; what is left out does not narrow.';
COMMENT ON COLUMN segments.updated_by IS 'The name of the key.'
"""


def upgrade() -> None:
    # First, since it is committed by itself: where what follows fails, all of it can be done again.
    with op.get_context().autocommit_block():
        for statement in IDENTIFIERS.split(";\n"):
            op.execute(statement.strip())
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (TABLES + COMMENTS).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for table in ("segments", "rfm_bounds", "customer_profiles", "followers"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX identities_kind_value_idx")
