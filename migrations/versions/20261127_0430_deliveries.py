"""Who is told of changes, and what is still to be told them."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261127_0430"
down_revision: str | None = "20261126_0420"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = """
CREATE TABLE IF NOT EXISTS subscriptions (
    subscription_id uuid NOT NULL,
    protocol text NOT NULL,
    callback text NOT NULL,
    query text,
    secret text NOT NULL,
    key_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    failures integer NOT NULL,
    next_at timestamptz NOT NULL,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (subscription_id)
);

CREATE INDEX IF NOT EXISTS subscriptions_key_id_idx ON subscriptions (key_id);

CREATE TABLE IF NOT EXISTS deliveries (
    delivery_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    event text NOT NULL,
    at timestamptz NOT NULL,
    identity_id uuid,
    interaction_id uuid NOT NULL,
    revision integer NOT NULL,
    refusals integer NOT NULL,
    CONSTRAINT deliveries_pkey PRIMARY KEY (delivery_id)
);

CREATE INDEX IF NOT EXISTS deliveries_subscription_id_at_idx ON deliveries (subscription_id, at);

CREATE INDEX IF NOT EXISTS deliveries_identity_id_idx ON deliveries (identity_id);
"""

COMMENTS = """
COMMENT ON TABLE subscriptions IS 'Who is told of changes.';
COMMENT ON COLUMN subscriptions.protocol IS 'Whose events it gets, such as tmf683.';
COMMENT ON COLUMN subscriptions.callback IS 'The address that deliveries are posted to.';
COMMENT ON COLUMN subscriptions.query IS 'What it is narrowed to, in the protocol''s own words.';
COMMENT ON COLUMN subscriptions.secret IS 'Deliveries are signed with it.';
COMMENT ON COLUMN subscriptions.key_id IS 'The key that made it: with it revoked, nothing is delivered.';
COMMENT ON COLUMN subscriptions.created_at IS 'What was committed before is not told.';
COMMENT ON COLUMN subscriptions.failures IS 'How often it failed since it last took something.';
COMMENT ON COLUMN subscriptions.next_at IS 'When it is tried next.';
COMMENT ON TABLE deliveries IS 'What is still to be delivered; a row goes when it was taken, or given up.';
COMMENT ON COLUMN deliveries.event IS 'The type of the event.';
COMMENT ON COLUMN deliveries.at IS 'When it was committed.';
COMMENT ON COLUMN deliveries.identity_id IS 'Whose interaction it is; null where that is deleted.';
COMMENT ON COLUMN deliveries.revision IS 'What the interaction said after the event.';
COMMENT ON COLUMN deliveries.refusals IS 'How often it was answered that it is not taken.'
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (TABLES + COMMENTS).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute("DROP TABLE IF EXISTS deliveries")
    op.execute("DROP TABLE IF EXISTS subscriptions")
