"""Traits and consents: what is said of customers, under the identity that it is said of."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261125_0320"
down_revision: str | None = "20261125_0300"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = """
CREATE TABLE traits (
    identity_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    digest uuid NOT NULL,
    name text NOT NULL,
    value json,
    source text NOT NULL,
    received_at timestamptz NOT NULL,
    set_by text NOT NULL,
    CONSTRAINT traits_pkey PRIMARY KEY (identity_id, occurred_at, digest)
);

CREATE INDEX traits_identity_id_name_occurred_at_received_at_idx
    ON traits (identity_id, name, occurred_at, received_at);

CREATE TABLE consents (
    identity_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    digest uuid NOT NULL,
    purpose text NOT NULL,
    channel text NOT NULL,
    status text NOT NULL,
    lawful_basis text,
    evidence text,
    interaction_id uuid,
    source text NOT NULL,
    received_at timestamptz NOT NULL,
    set_by text,
    CONSTRAINT consents_pkey PRIMARY KEY (identity_id, occurred_at, digest)
);

CREATE INDEX consents_identity_id_purpose_channel_occurred_at_idx
    ON consents (identity_id, purpose, channel, occurred_at);
"""

COMMENTS = """
COMMENT ON TABLE traits IS 'What is said of customers, and all that was said before.';
COMMENT ON COLUMN traits.identity_id IS 'The identity that it was said of.';
COMMENT ON COLUMN traits.occurred_at IS 'From when on it holds.';
COMMENT ON COLUMN traits.digest IS 'Hash of name, value and source: said again, it is the same row.';
COMMENT ON COLUMN traits.value IS 'As it was said, names of members in order. Null: there is none from then on.';
COMMENT ON COLUMN traits.source IS 'Who knows it.';
COMMENT ON COLUMN traits.set_by IS 'The key that said it.';
COMMENT ON TABLE consents IS 'Whether customers may be contacted, and all that was said of it before.';
COMMENT ON COLUMN consents.identity_id IS 'The identity that it was said of.';
COMMENT ON COLUMN consents.occurred_at IS 'From when on it holds.';
COMMENT ON COLUMN consents.digest IS 'Hash of all that was said: said again, it is the same row.';
COMMENT ON COLUMN consents.channel IS 'A channel, or any for all of them.';
COMMENT ON COLUMN consents.status IS 'granted or denied.';
COMMENT ON COLUMN consents.lawful_basis IS 'Of GDPR, Article 6(1).';
COMMENT ON COLUMN consents.evidence IS 'What proves it, where no interaction does.';
COMMENT ON COLUMN consents.interaction_id IS 'The interaction that proves it; it may be deleted since.';
COMMENT ON COLUMN consents.source IS 'Who knows it.';
COMMENT ON COLUMN consents.set_by IS 'The key that said it; null where an interaction did.';
COMMENT ON TABLE commits IS
    'The commit log: one row per transaction that stored or changed interactions, or traits and consents.';
COMMENT ON COLUMN commits.what IS 'stored, changed, deleted or said.'
"""

FORMER_COMMENTS = """
COMMENT ON TABLE commits IS 'The commit log: one row per transaction that stored or changed interactions.';
COMMENT ON COLUMN commits.what IS 'stored, changed or deleted.'
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (TABLES + COMMENTS).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for table in ("consents", "traits"):
        op.execute(f"DROP TABLE {table}")
    for statement in FORMER_COMMENTS.split(";\n"):
        op.execute(statement.strip())
