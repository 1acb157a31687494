"""Privacy: the audit log, erasures, and whom refused items name."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261125_0340"
down_revision: str | None = "20261125_0330"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = """
CREATE TABLE audit_log (
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    act text NOT NULL,
    actor text,
    key_id uuid,
    subject uuid,
    details jsonb NOT NULL,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (seq)
);

CREATE INDEX audit_log_at_seq_idx ON audit_log (at, seq);

CREATE INDEX audit_log_subject_at_seq_idx ON audit_log (subject, at, seq);

CREATE INDEX audit_log_act_at_seq_idx ON audit_log (act, at, seq) WHERE act <> 'read';

CREATE TABLE erasures (
    erasure_id uuid NOT NULL,
    customer_id uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    requested_by text,
    key_id uuid,
    reason_hash bytea,
    mode text NOT NULL,
    step text NOT NULL,
    work jsonb,
    identifiers jsonb NOT NULL,
    found jsonb NOT NULL,
    kept jsonb NOT NULL,
    finished_at timestamptz,
    audit_seq bigint,
    audit_hash bytea,
    CONSTRAINT erasures_pkey PRIMARY KEY (erasure_id)
);

CREATE INDEX erasures_unfinished_idx ON erasures (erasure_id) WHERE finished_at IS NULL;
"""

QUARANTINE = """
ALTER TABLE rejected_interactions ADD COLUMN identity_ids uuid[] DEFAULT '{}' NOT NULL;
"""

COMMENTS = """
COMMENT ON TABLE audit_log IS 'Who read or did what to whom; each row seals all before it.';
COMMENT ON COLUMN audit_log.seq IS 'From 1, without a gap.';
COMMENT ON COLUMN audit_log.actor IS 'The name of the key; null where the service itself acts.';
COMMENT ON COLUMN audit_log.subject IS 'An identity of the customer whom it was about.';
COMMENT ON COLUMN audit_log.details IS 'Route, ids and counts; nothing personal.';
COMMENT ON COLUMN audit_log.previous IS 'The hash of the row before; zeros in the first.';
COMMENT ON COLUMN audit_log.hash IS 'SHA-256 of previous and of the row as canonical JSON.';
COMMENT ON TABLE erasures IS 'Erasures, and their certificates.';
COMMENT ON COLUMN erasures.erasure_id IS 'Version 8, time-ordered.';
COMMENT ON COLUMN erasures.customer_id IS 'The customer''s id then: a salted hash.';
COMMENT ON COLUMN erasures.requested_by IS 'The name of the key.';
COMMENT ON COLUMN erasures.reason_hash IS 'Keyed hash of the reason given: its words may be personal.';
COMMENT ON COLUMN erasures.mode IS 'delete or anonymise: what became of the interactions.';
COMMENT ON COLUMN erasures.step IS 'What is done next, or done.';
COMMENT ON COLUMN erasures.work IS 'What is to be looked for, and where it was looked; null once it is done.';
COMMENT ON COLUMN erasures.identifiers IS 'How many identifiers of each kind.';
COMMENT ON COLUMN erasures.found IS 'What was found, by table: rows.';
COMMENT ON COLUMN erasures.kept IS 'What stays, and how much of it.';
COMMENT ON COLUMN erasures.audit_seq IS 'The row of the audit log that seals the certificate.';
COMMENT ON COLUMN rejected_interactions.identity_ids IS 'Of the identifiers that could be read.'
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (TABLES + QUARANTINE + COMMENTS).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute("ALTER TABLE rejected_interactions DROP COLUMN identity_ids")
    for table in ("erasures", "audit_log"):
        op.execute(f"DROP TABLE {table}")
