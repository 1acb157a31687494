"""Answers about what is held, erased, put down and kept."""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.http.documents import examples
from percorso.http.documents.base import like
from percorso.http.documents.quarantine import RejectedDocument


class ExportedIdentity(BaseModel):
    """One identifier of a customer, and the salted hash that stands for it."""

    identity_id: UUID
    kind: str
    value: str
    strong: bool
    first_seen_at: AwareDatetime


class ExportedInteraction(BaseModel):
    """An interaction as it is stored."""

    interaction_id: UUID
    identity_id: UUID = Field(description="The identity it is stored under.")
    key: UUID = Field(description="The hash of its source and id, under which it is stored once.")
    received_at: AwareDatetime
    touchpoint: str | None
    channel: str
    kind: str | None
    function: str | None
    direction: str
    revision: int = Field(description="How often it was enriched; what it said before is in `interaction_revisions`.")
    document: dict[str, Any] = Field(description="What the sender gave, enriched since.")


class CustomerExport(BaseModel):
    """Everything held about a customer.

    From `identity_links` on there is a list for each table that names one of its identities: rows, column by column.
    """

    model_config = like(examples.EXPORT, open_=True)

    customer_id: UUID
    exported_at: AwareDatetime
    identities: list[ExportedIdentity]
    interactions: list[ExportedInteraction]
    rejected_interactions: list[RejectedDocument] = Field(description="Refused items that name one of the identifiers.")
    identity_links: list[dict[str, Any]] = Field(description="Why the identities are one customer, and which are not.")
    identity_changes: list[dict[str, Any]] = Field(description="What was decided about links and identities.")
    identity_suspicions: list[dict[str, Any]] = Field(description="Links that were not made.")
    interaction_revisions: list[dict[str, Any]] = Field(description="What interactions said before.")
    audit_log: list[dict[str, Any]] = Field(description="Who read or did what to this customer.")


class Seal(BaseModel):
    """The row of the audit log that seals a certificate."""

    seq: int
    hash: str = Field(description="Its hash, in hexadecimal; `percorso audit verify` holds the log against it.")


class Certificate(BaseModel):
    """What an erasure found where, and what it left."""

    model_config = like(examples.CERTIFICATE)

    erasure_id: UUID
    customer_id: UUID = Field(description="The id that the customer had: a salted hash.")
    state: Literal["erasing", "erased"]
    mode: Literal["delete", "anonymise"]
    requested_at: AwareDatetime
    requested_by: str = Field(description="The name of the key.")
    key_id: UUID
    reason_hash: str | None = Field(description="The keyed hash of the reason given.")
    finished_at: AwareDatetime | None
    identifiers: dict[str, int] = Field(description="How many identifiers of each kind the customer had.")
    found: dict[str, int] = Field(
        description="The rows that were found, by table; in `documents_of_others` its identifiers were replaced."
    )
    kept: dict[str, int] = Field(
        description="`tombstones` are salted hashes; `shared_identifiers` belong to others too; "
        "`anonymous_interactions` are counts of nobody's."
    )
    audit: Seal | None = Field(description="Null until all is erased.")


class Certificates(BaseModel):
    """A page of certificates, newest first."""

    model_config = like(examples.CERTIFICATES)

    items: list[Certificate]
    next_cursor: str | None


class AuditEntry(BaseModel):
    """Who read or did what to whom."""

    model_config = like(examples.AUDIT_ENTRY)

    seq: int = Field(description="Its number: from 1, without a gap.")
    at: AwareDatetime
    act: str = Field(
        description="`read`, `read_feed`, `subscribed`, `unsubscribed`, `exported`, `erasing`, `erased`, and what is "
        "done to identities."
    )
    actor: str | None = Field(description="The name of the key; null where the service itself acts.")
    key_id: UUID | None
    subject: UUID | None = Field(description="An identity of the customer whom it was about: a salted hash.")
    details: dict[str, Any] = Field(description="Route, ids and counts.")
    previous: str = Field(description="The hash of the row before, in hexadecimal.")
    hash: str = Field(description="SHA-256 of `previous` and the row as canonical JSON.")


class AuditLog(BaseModel):
    """A page of the audit log, newest first."""

    model_config = like(examples.AUDIT_LOG)

    items: list[AuditEntry]
    next_cursor: str | None


class AuditHead(BaseModel):
    """The last row of the audit log: kept elsewhere, it shows later whether rows were cut off the end."""

    model_config = like(examples.AUDIT_HEAD)

    seq: int = Field(description="How many rows there are.")
    hash: str


class RetentionPolicy(BaseModel):
    """For how many days something is kept; null is for ever."""

    days: int | None = Field(description="Interactions, after they occurred.")
    channel_days: dict[str, int] = Field(description="Interactions of single channels, where that is not the same.")
    quarantine_days: int | None = Field(description="Refused items.")
    commit_log_days: int = Field(description="The commit log, where all that follow it have read so far.")


class RetentionRun(BaseModel):
    """What a run took away."""

    began_at: AwareDatetime
    ended_at: AwareDatetime
    partitions: int = Field(description="Months, each as a whole.")
    interactions: int = Field(description="Interactions, one by one.")
    rejected: int = Field(description="Refused items.")
    commit_days: int = Field(description="Days of the commit log.")
    bytes: int = Field(description="The size of the months and days.")


class RetentionMonth(BaseModel):
    """A month that goes as a whole."""

    month: str
    interactions: int = Field(description="The database's estimate.")
    bytes: int


class RetentionChannel(BaseModel):
    """What goes of a channel."""

    channel: str
    before: AwareDatetime = Field(description="What occurred before is to go.")
    swept_until: AwareDatetime | None = Field(description="What occurred before is gone; null: nothing is yet.")


class RetentionDue(BaseModel):
    """What the next run will look for."""

    partitions: list[RetentionMonth]
    channels: list[RetentionChannel] = Field(description="Those that are not kept for ever.")
    commit_days: list[str]
    quarantine_before: AwareDatetime | None = Field(description="What was refused before is to go; null: it stays.")


class RetentionDocument(BaseModel):
    """What is kept for how long, what went last, and what is due."""

    model_config = like(examples.RETENTION)

    policy: RetentionPolicy
    last_run: RetentionRun | None = Field(description="The last one that was completed; null: there was none.")
    due: RetentionDue
