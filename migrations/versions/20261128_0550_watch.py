"""Rules that watch for patterns in what customers go through, when they are to be looked at again, and what fired."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261128_0550"
down_revision: str | None = "20261128_0540"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = """
CREATE TABLE IF NOT EXISTS watches (
    watch_id uuid NOT NULL,
    name text NOT NULL,
    description text,
    version integer NOT NULL,
    rule jsonb NOT NULL,
    enabled boolean NOT NULL,
    since timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL,
    CONSTRAINT watches_pkey PRIMARY KEY (watch_id),
    CONSTRAINT watches_name_key UNIQUE (name)
);

CREATE TABLE IF NOT EXISTS watch_versions (
    watch_id uuid NOT NULL,
    version integer NOT NULL,
    rule jsonb NOT NULL,
    made_at timestamptz NOT NULL,
    made_by text NOT NULL,
    CONSTRAINT watch_versions_pkey PRIMARY KEY (watch_id, version)
);

CREATE TABLE IF NOT EXISTS watch_deadlines (
    identity_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    CONSTRAINT watch_deadlines_pkey PRIMARY KEY (identity_id)
);

CREATE INDEX IF NOT EXISTS watch_deadlines_due_at_idx ON watch_deadlines (due_at);

CREATE TABLE IF NOT EXISTS watch_firings (
    firing_id uuid NOT NULL,
    watch_id uuid NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    identity_id uuid NOT NULL,
    at timestamptz NOT NULL,
    fired_at timestamptz NOT NULL,
    generation integer NOT NULL,
    xid8 xid8 NOT NULL DEFAULT pg_current_xact_id(),
    number integer NOT NULL,
    CONSTRAINT watch_firings_pkey PRIMARY KEY (firing_id)
);

CREATE INDEX IF NOT EXISTS watch_firings_watch_id_at_firing_id_idx ON watch_firings (watch_id, at, firing_id);

CREATE INDEX IF NOT EXISTS watch_firings_generation_xid8_idx ON watch_firings (generation, xid8);

CREATE INDEX IF NOT EXISTS watch_firings_identity_id_idx ON watch_firings (identity_id);

CREATE INDEX IF NOT EXISTS watch_firings_fired_at_idx ON watch_firings (fired_at);

CREATE TABLE IF NOT EXISTS watch_evidence (
    watch_id uuid NOT NULL,
    version integer NOT NULL,
    interaction_id uuid NOT NULL,
    identity_id uuid NOT NULL,
    firing_id uuid NOT NULL,
    CONSTRAINT watch_evidence_pkey PRIMARY KEY (watch_id, version, interaction_id)
);

CREATE INDEX IF NOT EXISTS watch_evidence_identity_id_idx ON watch_evidence (identity_id);

CREATE INDEX IF NOT EXISTS watch_evidence_firing_id_idx ON watch_evidence (firing_id);
"""

COMMENTS = """
COMMENT ON TABLE watches IS 'Rules of what to watch for in what customers go through.';
COMMENT ON COLUMN watches.version IS 'Grows with every change of the rule.';
COMMENT ON COLUMN watches.enabled IS 'Whether it fires.';
COMMENT ON COLUMN watches.since IS 'It fires where the last interaction of its pattern occurred no earlier.';
COMMENT ON COLUMN watches.updated_by IS 'The name of the key.';
COMMENT ON TABLE watch_versions IS 'Every rule that a watch ever had.';
COMMENT ON COLUMN watch_versions.made_by IS 'The name of the key.';
COMMENT ON TABLE watch_deadlines IS 'Customers of whom something may be true later though nothing happens.';
COMMENT ON COLUMN watch_deadlines.identity_id IS 'An identity of the customer.';
COMMENT ON COLUMN watch_deadlines.due_at IS 'When the customer is to be looked at again.';
COMMENT ON TABLE watch_firings IS 'What fired.';
COMMENT ON COLUMN watch_firings.firing_id IS 'Made of the rule, its version and the interactions.';
COMMENT ON COLUMN watch_firings.name IS 'Of the watch, when it fired.';
COMMENT ON COLUMN watch_firings.identity_id IS 'Under which the last interaction of the pattern is stored.';
COMMENT ON COLUMN watch_firings.at IS 'When it came true: with that interaction, or when the span after it ended.';
COMMENT ON COLUMN watch_firings.generation IS 'Of the row of the commit log that names it, as is xid8.';
COMMENT ON COLUMN watch_firings.number IS 'Its place among those of its commit.';
COMMENT ON TABLE watch_evidence IS 'The interactions of firings; none is in two of one version of a rule.';
COMMENT ON COLUMN watch_evidence.identity_id IS 'Under which the interaction is stored.';
COMMENT ON COLUMN commits.what IS 'stored, changed, deleted, identity, said, outcome or watch.'
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (TABLES + COMMENTS).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute("COMMENT ON COLUMN commits.what IS 'stored, changed, deleted, identity, said or outcome.'")
    for table in ("watch_evidence", "watch_firings", "watch_deadlines", "watch_versions", "watches"):
        op.execute(f"DROP TABLE IF EXISTS {table}")
