"""Up to where the commit log was dropped; subscriptions of the feed, and what they did not take."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128_0540"
down_revision: str | None = "20261128_0530"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = """
CREATE TABLE IF NOT EXISTS commit_floor (
    one boolean NOT NULL DEFAULT true,
    generation integer NOT NULL,
    xid8 xid8 NOT NULL,
    CONSTRAINT commit_floor_pkey PRIMARY KEY (one),
    CONSTRAINT commit_floor_one_check CHECK (one)
);

CREATE TABLE IF NOT EXISTS dead_letters (
    subscription_id uuid NOT NULL,
    generation integer NOT NULL,
    xid8 xid8 NOT NULL,
    number bigint NOT NULL,
    event text NOT NULL,
    at timestamptz NOT NULL,
    first_failed_at timestamptz NOT NULL,
    tries integer NOT NULL,
    status integer,
    next_at timestamptz,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (subscription_id, generation, xid8, number)
);

ALTER TABLE subscriptions
ADD COLUMN IF NOT EXISTS name text,
ADD COLUMN IF NOT EXISTS generation integer,
ADD COLUMN IF NOT EXISTS xid8 xid8,
ADD COLUMN IF NOT EXISTS number bigint,
ADD COLUMN IF NOT EXISTS failing_since timestamptz,
ADD COLUMN IF NOT EXISTS taken_at timestamptz,
ADD COLUMN IF NOT EXISTS paused text,
ADD COLUMN IF NOT EXISTS earlier_secret text,
ADD COLUMN IF NOT EXISTS earlier_until timestamptz;
"""

COMMENTS = """
COMMENT ON TABLE commit_floor IS 'Up to where the commit log may be gone.';
COMMENT ON COLUMN commit_floor.one IS 'Always true: there is one row.';
COMMENT ON COLUMN commit_floor.generation IS 'Of the last transaction that was dropped, or is about to.';
COMMENT ON TABLE dead_letters IS
'Events that a subscription did not take, and others passed by: places in the feed only.';
COMMENT ON COLUMN dead_letters.generation IS 'Where the event stands in the feed.';
COMMENT ON COLUMN dead_letters.event IS 'The type of the event.';
COMMENT ON COLUMN dead_letters.at IS 'When it was committed.';
COMMENT ON COLUMN dead_letters.status IS 'The last answer; null where there was none.';
COMMENT ON COLUMN dead_letters.next_at IS 'When it is tried again; null once it is given up.';
COMMENT ON COLUMN subscriptions.name IS 'What it is called; of the feed only, as all that follows.';
COMMENT ON COLUMN subscriptions.generation IS 'Where it stands in the feed.';
COMMENT ON COLUMN subscriptions.failing_since IS 'When it last began to fail; null: it does not.';
COMMENT ON COLUMN subscriptions.taken_at IS 'When it last took something.';
COMMENT ON COLUMN subscriptions.paused IS
'Why nothing is delivered: by_hand, gone, expired or full; null: it is.';
COMMENT ON COLUMN subscriptions.earlier_secret IS
'Deliveries are signed with it too for a while after it was replaced.'
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (TABLES + COMMENTS).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(
        "ALTER TABLE subscriptions DROP COLUMN IF EXISTS name, DROP COLUMN IF EXISTS generation, "
        "DROP COLUMN IF EXISTS xid8, DROP COLUMN IF EXISTS number, DROP COLUMN IF EXISTS failing_since, "
        "DROP COLUMN IF EXISTS taken_at, DROP COLUMN IF EXISTS paused, DROP COLUMN IF EXISTS earlier_secret, "
        "DROP COLUMN IF EXISTS earlier_until"
    )
    op.execute("DROP TABLE IF EXISTS dead_letters")
    op.execute("DROP TABLE IF EXISTS commit_floor")
