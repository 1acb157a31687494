"""Interactions: the traceparent of the request that each came in."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128_0560"
down_revision: str | None = "20261128_0550"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STATEMENTS = (
    "ALTER TABLE interactions ADD COLUMN IF NOT EXISTS traceparent text",
    "COMMENT ON COLUMN interactions.traceparent IS 'Of the request that it came in, where that named one.'",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute("ALTER TABLE interactions DROP COLUMN IF EXISTS traceparent")
