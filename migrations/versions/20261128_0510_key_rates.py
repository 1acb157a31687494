"""How much a key may send, and what is left of it."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128_0510"
down_revision: str | None = "20261128_0500"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STATEMENTS = """
ALTER TABLE api_keys
    ADD COLUMN IF NOT EXISTS rate double precision,
    ADD COLUMN IF NOT EXISTS burst integer;

CREATE UNLOGGED TABLE IF NOT EXISTS key_rates (
    key_id uuid NOT NULL,
    tokens double precision NOT NULL,
    granted double precision NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT key_rates_pkey PRIMARY KEY (key_id)
) WITH (fillfactor = 50);

COMMENT ON COLUMN api_keys.rate IS 'Interactions and other requests a second; null: what the settings say.';

COMMENT ON COLUMN api_keys.burst IS 'How many at once; null: those of ten seconds.';

COMMENT ON TABLE key_rates IS 'What is left of the rate of each key that has one; after a crash, all of it.';

COMMENT ON COLUMN key_rates.tokens IS 'How many were left at that time; below 0 where a batch was larger.';

COMMENT ON COLUMN key_rates.granted IS 'How many the last who asked was given.'
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute("DROP TABLE IF EXISTS key_rates")
    op.execute("ALTER TABLE api_keys DROP COLUMN IF EXISTS burst, DROP COLUMN IF EXISTS rate")
