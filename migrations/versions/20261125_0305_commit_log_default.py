"""The commit log's transaction id by default, so that its rows can be copied in."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261125_0305"
down_revision: str | None = "20261125_0300"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute("ALTER TABLE commits ALTER COLUMN xid8 SET DEFAULT pg_current_xact_id()")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute("ALTER TABLE commits ALTER COLUMN xid8 DROP DEFAULT")
