"""Reversible identity: states of links, what was decided, what is suspected, tombstones; a commit log of them too."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261125_0300"
down_revision: str | None = "20261122_1100"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHANGES = """
ALTER TABLE identity_links ADD COLUMN state text DEFAULT 'active' NOT NULL;

ALTER TABLE commits ALTER COLUMN xid8 SET DEFAULT pg_current_xact_id();
"""

TABLES = """
CREATE TABLE identity_changes (
    change_id uuid NOT NULL,
    at timestamptz NOT NULL,
    what text NOT NULL,
    identity_a uuid NOT NULL,
    identity_b uuid,
    state text NOT NULL,
    done_by text,
    reason text,
    interaction_id uuid,
    source text,
    CONSTRAINT identity_changes_pkey PRIMARY KEY (change_id)
);

CREATE INDEX identity_changes_identity_a_at_idx ON identity_changes (identity_a, at);

CREATE INDEX identity_changes_identity_b_at_idx ON identity_changes (identity_b, at);

CREATE TABLE identity_suspicions (
    suspicion_id uuid NOT NULL,
    identity_a uuid NOT NULL,
    identity_b uuid,
    why text NOT NULL,
    detail jsonb NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    times integer NOT NULL,
    interaction_id uuid,
    source text,
    decided_at timestamptz,
    decided_by text,
    decision text,
    reason text,
    CONSTRAINT identity_suspicions_pkey PRIMARY KEY (suspicion_id),
    CONSTRAINT identity_suspicions_identity_a_identity_b_why_key UNIQUE NULLS NOT DISTINCT (identity_a, identity_b, why)
);

CREATE INDEX identity_suspicions_identity_b_idx ON identity_suspicions (identity_b);

CREATE TABLE identity_epoch (
    one boolean DEFAULT true NOT NULL,
    epoch bigint NOT NULL,
    CONSTRAINT identity_epoch_pkey PRIMARY KEY (one),
    CONSTRAINT identity_epoch_one_check CHECK (one)
);

INSERT INTO identity_epoch (epoch) VALUES (1);

CREATE TABLE erased_identities (
    identity_id uuid NOT NULL,
    erasure_id uuid NOT NULL,
    erased_at timestamptz NOT NULL,
    CONSTRAINT erased_identities_pkey PRIMARY KEY (identity_id)
);

CREATE INDEX erased_identities_erasure_id_idx ON erased_identities (erasure_id);
"""

COMMENTS = """
COMMENT ON COLUMN identity_links.state IS 'active, cut or suspected.';
COMMENT ON TABLE identity_changes IS 'What was decided about links and identities after they were first made.';
COMMENT ON COLUMN identity_changes.change_id IS 'Version 8, time-ordered.';
COMMENT ON COLUMN identity_changes.what IS 'merged, split, suspected, demoted or restored.';
COMMENT ON COLUMN identity_changes.identity_a IS 'The lower id of a link; or the identity itself.';
COMMENT ON COLUMN identity_changes.identity_b IS 'Null where an identity changed and not a link.';
COMMENT ON COLUMN identity_changes.state IS 'From then on: a link''s state, or weak or strong.';
COMMENT ON COLUMN identity_changes.done_by IS 'The key; null where a guard rail did it.';
COMMENT ON COLUMN identity_changes.interaction_id IS 'What gave rise to it.';
COMMENT ON COLUMN identity_changes.source IS 'Who sent that.';
COMMENT ON TABLE identity_suspicions IS 'Links that were not made, and identities that join no one: for review.';
COMMENT ON COLUMN identity_suspicions.suspicion_id IS 'Version 8, time-ordered by when it first arose.';
COMMENT ON COLUMN identity_suspicions.identity_a IS 'The lower id of a link; or the identity itself.';
COMMENT ON COLUMN identity_suspicions.identity_b IS 'Null where an identity is suspected and not a link.';
COMMENT ON COLUMN identity_suspicions.why IS 'split_before, too_many or shared.';
COMMENT ON COLUMN identity_suspicions.detail IS 'Kind, limit and count of the guard rail; no values.';
COMMENT ON COLUMN identity_suspicions.interaction_id IS 'The latest that gave rise to it.';
COMMENT ON COLUMN identity_suspicions.source IS 'Who sent that.';
COMMENT ON COLUMN identity_suspicions.decided_at IS 'Null while it is to be reviewed.';
COMMENT ON COLUMN identity_suspicions.decided_by IS 'The key; null where a guard rail did it.';
COMMENT ON COLUMN identity_suspicions.decision IS 'merged, dismissed or restored.';
COMMENT ON COLUMN identity_suspicions.reason IS 'Why it was decided so.';
COMMENT ON TABLE commits IS 'The commit log: one row per transaction that stored or changed something.';
COMMENT ON COLUMN commits.what IS 'stored, changed, deleted, identity or said.';
COMMENT ON TABLE identity_epoch IS 'A process that remembers links and identities of an older epoch forgets them.';
COMMENT ON COLUMN identity_epoch.one IS 'Always true: there is one row.';
COMMENT ON COLUMN identity_epoch.epoch IS 'Grows when what processes remember may be wrong.';
COMMENT ON TABLE erased_identities IS 'Tombstones: what is sent of these persons is refused.';
COMMENT ON COLUMN erased_identities.identity_id IS 'The salted hash alone; the identifier is gone.'
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (CHANGES + TABLES + COMMENTS).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for table in ("erased_identities", "identity_epoch", "identity_suspicions", "identity_changes"):
        op.execute(f"DROP TABLE {table}")
    op.execute("ALTER TABLE commits ALTER COLUMN xid8 DROP DEFAULT")
    op.execute("ALTER TABLE identity_links DROP COLUMN state")
