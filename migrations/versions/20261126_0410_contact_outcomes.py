"""What came of contacts, kept by those who keep the profiles."""

from collections.abc import Sequence

from alembic import op

revision: str = "20261126_0410"
down_revision: str | None = "20261126_0400"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = """
CREATE TABLE contact_outcomes (
    interaction_id uuid NOT NULL,
    identity_id uuid NOT NULL,
    response_seconds double precision,
    waiting boolean NOT NULL,
    resolved_first boolean,
    repeat boolean NOT NULL,
    hand_offs integer NOT NULL,
    switched boolean NOT NULL,
    CONSTRAINT contact_outcomes_pkey PRIMARY KEY (interaction_id, identity_id)
);

CREATE INDEX contact_outcomes_identity_id_interaction_id_idx ON contact_outcomes (identity_id, interaction_id);
"""

COMMENTS = """
COMMENT ON TABLE contact_outcomes IS 'A read model: what came of contacts, where there is anything to say.';
COMMENT ON COLUMN contact_outcomes.interaction_id IS 'First in the key: hours are ranges of it.';
COMMENT ON COLUMN contact_outcomes.identity_id IS 'Under which the interaction is stored.';
COMMENT ON COLUMN contact_outcomes.response_seconds IS
    'After which the customer was answered; null: no answer to it.';
COMMENT ON COLUMN contact_outcomes.waiting IS 'The customer waits for an answer since.';
COMMENT ON COLUMN contact_outcomes.resolved_first IS
    'This first contact settled its matter; null: it is none that tells.';
COMMENT ON COLUMN contact_outcomes.repeat IS 'About what an earlier contact was about already.';
COMMENT ON COLUMN contact_outcomes.hand_offs IS 'To another agent, with this contact.';
COMMENT ON COLUMN contact_outcomes.switched IS 'Another channel than the time before.';
COMMENT ON COLUMN commits.what IS 'stored, changed, deleted, identity, said or outcome.';
"""

# Outcomes are made with the profiles: where there are profiles already, those who keep them go through all once more.
AGAIN = "UPDATE followers SET filled_to = '00000000-0000-0000-0000-000000000000' WHERE name = 'profiles'"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for statement in (TABLES + COMMENTS + AGAIN).split(";\n"):
        op.execute(statement.strip())


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute("COMMENT ON COLUMN commits.what IS 'stored, changed, deleted, identity or said.'")
    op.execute("DROP TABLE contact_outcomes")
