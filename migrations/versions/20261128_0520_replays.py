"""Quarantine: why in words that group, what became of each item, and the indexes of its filters."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128_0520"
down_revision: str | None = "20261128_0510"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = {
    "channel": ("text", "As far as it could be read."),
    "reasons": ("text[] DEFAULT '{}' NOT NULL", "What is wrong, without any value: code:pointer, each once."),
    "state": ("text DEFAULT 'waiting' NOT NULL", "waiting, replayed or dismissed."),
    "handled_at": ("timestamptz", "When it was last tried, or dismissed."),
    "handled_by": ("text", "The name of the key that did."),
    "interaction_id": ("uuid", "What it became."),
    "replay_key": ("uuid", "Hash of the (source, id) that it was first replayed under: it keeps these."),
    "replay_errors": ("jsonb", "What was wrong when it was last tried: [{pointer, detail}]"),
}
INDEXED = ("source", "sender_id", "state")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for name, (type_, comment) in COLUMNS.items():
        op.execute(f"ALTER TABLE rejected_interactions ADD COLUMN IF NOT EXISTS {name} {type_}")
        op.execute(f"COMMENT ON COLUMN rejected_interactions.{name} IS '{comment}'")
    with op.get_context().autocommit_block():
        for name in INDEXED:
            # A try that was cut off leaves an index that is of no use.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS rejected_interactions_{name}_rejection_id_idx")
            op.execute(
                f"CREATE INDEX CONCURRENTLY IF NOT EXISTS rejected_interactions_{name}_rejection_id_idx "
                f"ON rejected_interactions ({name}, rejection_id)"
            )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXED:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS rejected_interactions_{name}_rejection_id_idx")
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for name in COLUMNS:
        op.execute(f"ALTER TABLE rejected_interactions DROP COLUMN IF EXISTS {name}")
