"""Retention: how far it has come, and which partitions are on their way out."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261125_0350"
down_revision: str | None = "20261125_0341"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = """
CREATE TABLE retention_state (
    one boolean DEFAULT true NOT NULL,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    generation integer NOT NULL,
    xid8 xid8 NOT NULL,
    partitions integer NOT NULL,
    interactions bigint NOT NULL,
    rejected bigint NOT NULL,
    commit_days integer NOT NULL,
    bytes bigint NOT NULL,
    CONSTRAINT retention_state_pkey PRIMARY KEY (one),
    CONSTRAINT retention_state_one_check CHECK (one)
);

CREATE TABLE retention_sweeps (
    channel text NOT NULL,
    swept_until timestamptz NOT NULL,
    CONSTRAINT retention_sweeps_pkey PRIMARY KEY (channel)
);

CREATE TABLE retention_drops (
    partition text NOT NULL,
    parent text NOT NULL,
    first timestamptz NOT NULL,
    following timestamptz NOT NULL,
    CONSTRAINT retention_drops_pkey PRIMARY KEY (partition)
);
"""

COMMENTS = """
COMMENT ON TABLE retention_state IS 'How far retention has come.';
COMMENT ON COLUMN retention_state.one IS 'Always true: there is one row.';
COMMENT ON COLUMN retention_state.began_at IS 'Of the last run that was completed.';
COMMENT ON COLUMN retention_state.xid8 IS 'Commits before it were searched for what had come late.';
COMMENT ON COLUMN retention_state.partitions IS 'Months of interactions dropped.';
COMMENT ON COLUMN retention_state.interactions IS 'Deleted one by one.';
COMMENT ON COLUMN retention_state.commit_days IS 'Days of the commit log dropped.';
COMMENT ON COLUMN retention_state.bytes IS 'Size of what was dropped.';
COMMENT ON TABLE retention_sweeps IS 'How far interactions of a channel were deleted one by one.';
COMMENT ON COLUMN retention_sweeps.swept_until IS 'What occurred before is gone, but for what came late.';
COMMENT ON TABLE retention_drops IS 'Partitions that are being dropped: whoever comes next after a crash goes on with them.';
COMMENT ON COLUMN retention_drops.following IS 'The end of its range, excluded.'
"""  # noqa: E501 - a comment is one text


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (TABLES + COMMENTS).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for table in ("retention_drops", "retention_sweeps", "retention_state"):
        op.execute(f"DROP TABLE {table}")
