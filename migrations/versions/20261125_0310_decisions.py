"""Why a suspicion was decided as it was; and the commit log tells of customers that changed."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261125_0310"
down_revision: str | None = "20261125_0300"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

REASON = """
ALTER TABLE identity_suspicions ADD COLUMN reason text;
COMMENT ON COLUMN identity_suspicions.reason IS 'Why it was decided so.';
COMMENT ON COLUMN identity_suspicions.decided_by IS 'The key; null where a guard rail did it.';
COMMENT ON COLUMN commits.what IS 'stored, changed, deleted or identity.';
COMMENT ON TABLE commits IS
    'The commit log: one row per transaction that stored or changed interactions, or whose they are.'
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in REASON.split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute("ALTER TABLE identity_suspicions DROP COLUMN reason")
