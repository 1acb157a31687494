"""Privacy: what was done and read, and what was erased."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from percorso.storage.tables.types import metadata, moment

audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="From 1, without a gap."),
    Column("at", moment(), nullable=False),
    Column("act", Text, nullable=False),
    Column("actor", Text, comment="The name of the key; null where the service itself acts."),
    Column("key_id", Uuid),
    Column("subject", Uuid, comment="An identity of the customer whom it was about."),
    Column("details", JSONB, nullable=False, comment="Route, ids and counts; nothing personal."),
    Column("previous", LargeBinary, nullable=False, comment="The hash of the row before; zeros in the first."),
    Column("hash", LargeBinary, nullable=False, comment="SHA-256 of previous and of the row as canonical JSON."),
    Index("audit_log_at_seq_idx", "at", "seq"),
    Index("audit_log_subject_at_seq_idx", "subject", "at", "seq"),
    Index("audit_log_act_at_seq_idx", "act", "at", "seq", postgresql_where=text("act <> 'read'")),
    comment="Who read or did what to whom; each row seals all before it.",
)

erasures = Table(
    "erasures",
    metadata,
    Column("erasure_id", Uuid, primary_key=True, comment="Version 8, time-ordered."),
    Column("customer_id", Uuid, nullable=False, comment="The customer's id then: a salted hash."),
    Column("requested_at", moment(), nullable=False),
    Column("requested_by", Text, comment="The name of the key."),
    Column("key_id", Uuid),
    Column("reason_hash", LargeBinary, comment="Keyed hash of the reason given: its words may be personal."),
    Column("mode", Text, nullable=False, comment="delete or anonymise: what became of the interactions."),
    Column("step", Text, nullable=False, comment="What is done next, or done."),
    Column("work", JSONB, comment="What is to be looked for, and where it was looked; null once it is done."),
    Column("identifiers", JSONB, nullable=False, comment="How many identifiers of each kind."),
    Column("found", JSONB, nullable=False, comment="What was found, by table: rows."),
    Column("kept", JSONB, nullable=False, comment="What stays, and how much of it."),
    Column("finished_at", moment()),
    Column("audit_seq", BigInteger, comment="The row of the audit log that seals the certificate."),
    Column("audit_hash", LargeBinary),
    Index("erasures_unfinished_idx", "erasure_id", postgresql_where=text("finished_at IS NULL")),
    comment="Erasures, and their certificates.",
)
