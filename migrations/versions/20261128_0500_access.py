"""What a key may send, until when it is valid and when it was last used; the secrets that keys had before."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128_0500"
down_revision: str | None = "20261127_0430"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = """
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS sources text[];
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS channels text[];
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS expires_at timestamptz;
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS last_used_at timestamptz;
"""

TABLES = """
CREATE TABLE IF NOT EXISTS rotated_keys (
    key_hash bytea NOT NULL,
    key_id uuid NOT NULL,
    valid_until timestamptz NOT NULL,
    CONSTRAINT rotated_keys_pkey PRIMARY KEY (key_hash)
);

CREATE INDEX IF NOT EXISTS rotated_keys_key_id_idx ON rotated_keys (key_id);
"""

COMMENTS = """
COMMENT ON COLUMN api_keys.sources IS 'What it may send as; null is any source.';
COMMENT ON COLUMN api_keys.channels IS 'The channels it may send; null is any.';
COMMENT ON COLUMN api_keys.expires_at IS 'From then on it is not valid; null is never.';
COMMENT ON COLUMN api_keys.last_used_at IS 'To the minute, and written a minute or two later.';
COMMENT ON TABLE rotated_keys IS 'Secrets that keys had before they were rotated.';
COMMENT ON COLUMN rotated_keys.key_hash IS 'As in api_keys.';
COMMENT ON COLUMN rotated_keys.valid_until IS 'Until then it is taken beside the new one.'
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (COLUMNS + TABLES + COMMENTS).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute("DROP TABLE IF EXISTS rotated_keys")
    for column in ("sources", "channels", "expires_at", "last_used_at"):
        op.execute(f"ALTER TABLE api_keys DROP COLUMN IF EXISTS {column}")
