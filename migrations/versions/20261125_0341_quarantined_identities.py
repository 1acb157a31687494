"""Refused items by whom they name: an index, made while the table is in use."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261125_0341"
down_revision: str | None = "20261125_0340"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # A try that was cut off leaves an index that is of no use.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS rejected_interactions_identity_ids_idx")
        op.execute(
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS rejected_interactions_identity_ids_idx "
            "ON rejected_interactions USING gin (identity_ids)"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS rejected_interactions_identity_ids_idx")
