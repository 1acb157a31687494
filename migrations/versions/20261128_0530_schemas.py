"""Schemas of interactions, their versions, and what came of checking by them."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128_0530"
down_revision: str | None = "20261128_0520"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = """
CREATE TABLE IF NOT EXISTS event_schemas (
    channel text NOT NULL,
    kind text NOT NULL,
    version integer NOT NULL,
    mode text NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    CONSTRAINT event_schemas_pkey PRIMARY KEY (channel, kind),
    CONSTRAINT event_schemas_mode_check CHECK (mode IN ('report', 'enforce'))
);

CREATE TABLE IF NOT EXISTS event_schema_versions (
    channel text NOT NULL,
    kind text NOT NULL,
    version integer NOT NULL,
    schema json NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    CONSTRAINT event_schema_versions_pkey PRIMARY KEY (channel, kind, version)
);

CREATE TABLE IF NOT EXISTS event_schema_tallies (
    channel text NOT NULL,
    kind text NOT NULL,
    version integer NOT NULL,
    checked bigint NOT NULL,
    reported bigint NOT NULL,
    refused bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT event_schema_tallies_pkey PRIMARY KEY (channel, kind, version)
);

CREATE TABLE IF NOT EXISTS event_schema_faults (
    channel text NOT NULL,
    kind text NOT NULL,
    version integer NOT NULL,
    place text NOT NULL,
    detail text NOT NULL,
    interactions bigint NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT event_schema_faults_pkey PRIMARY KEY (channel, kind, version, place)
);
"""

COMMENTS = """
COMMENT ON TABLE event_schemas IS 'The schemas in force.';
COMMENT ON COLUMN event_schemas.kind IS '* is every kind of the channel that has no schema of its own.';
COMMENT ON COLUMN event_schemas.version IS 'The one that is in force.';
COMMENT ON COLUMN event_schemas.mode IS 'report or enforce.';
COMMENT ON COLUMN event_schemas.changed_by IS 'The name of the key.';
COMMENT ON TABLE event_schema_versions IS 'Every schema that ever was in force; rejections name theirs.';
COMMENT ON COLUMN event_schema_versions.schema IS 'As it was given.';
COMMENT ON COLUMN event_schema_versions.created_by IS 'The name of the key.';
COMMENT ON TABLE event_schema_tallies IS 'What came of checking by a version.';
COMMENT ON COLUMN event_schema_tallies.checked IS 'Interactions that were checked.';
COMMENT ON COLUMN event_schema_tallies.reported IS 'Those that failed and were stored.';
COMMENT ON COLUMN event_schema_tallies.refused IS 'Those that failed and were refused.';
COMMENT ON TABLE event_schema_faults IS 'Where interactions failed to fit a version.';
COMMENT ON COLUMN event_schema_faults.place IS 'JSON pointer into the schema: nothing of what was sent.';
COMMENT ON COLUMN event_schema_faults.detail IS 'What the schema asks there, in words.';
COMMENT ON COLUMN event_schema_faults.interactions IS 'How many failed there.'
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (TABLES + COMMENTS).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for table in ("event_schema_faults", "event_schema_tallies", "event_schema_versions", "event_schemas"):
        op.execute(f"DROP TABLE IF EXISTS {table}")
