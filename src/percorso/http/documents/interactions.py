"""Answers about interactions: what became of them, what they are, what was refused."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.http.documents import examples
from percorso.http.documents.base import Trouble, like
from percorso.ingest.verdict import Status


class Receipt(BaseModel):
    """What became of one interaction."""

    model_config = like(examples.RECEIPT)

    status: Status
    interaction_id: UUID
    customer_id: UUID
    received_at: AwareDatetime | None = Field(description="Null where it was stored before, and deleted since.")


class BatchResult(BaseModel):
    """What became of one item of a batch."""

    index: int = Field(description="Its place in the batch, from 0; blank lines do not count.")
    status: Status
    interaction_id: UUID | None = None
    customer_id: UUID | None = None
    rejection_id: UUID | None = Field(
        None, description="Where it is kept; nothing is kept of what names someone who was erased."
    )
    errors: list[Trouble] | None = None


class BatchReceipt(BaseModel):
    """What became of a batch."""

    model_config = like(examples.BATCH)

    received: int
    stored: int
    duplicate: int
    conflict: int = Field(description="Stored before under the same source and id, with other content.")
    rejected: int = Field(description="Kept in quarantine, but for what names someone who was erased.")
    retry: int = Field(description="Not stored for want of the database: send these again.")
    results: list[BatchResult] = Field(description="Whatever was not stored; with `results=all`, everything.")


class StoredInteraction(BaseModel):
    """An interaction: what the sender gave, field for field, and what percorso adds."""

    model_config = like(examples.INTERACTION, open_=True)

    source: str
    id: str
    occurred_at: AwareDatetime
    channel: str
    customer: dict[str, str | list[str]] = Field(description="The identifiers, in normal form.")
    interaction_id: UUID
    customer_id: UUID | None
    received_at: AwareDatetime
    traceparent: str | None = Field(
        None, description="Of the request that it came in (W3C Trace Context), where that named one."
    )


class Interactions(BaseModel):
    """A page of interactions."""

    model_config = like(examples.INTERACTIONS)

    items: list[StoredInteraction]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last.")


class Journey(Interactions):
    """A page of a customer's journey."""

    model_config = like(examples.JOURNEY)

    customer_id: UUID


class InteractionRevision(BaseModel):
    """What an interaction said, until when."""

    revision: int
    replaced_at: AwareDatetime | None = Field(description="Null for what it says now.")
    replaced_by: str | None = Field(description="The name of the key that changed it.")
    interaction: dict[str, Any]


class Revisions(BaseModel):
    """All that an interaction said, oldest first."""

    model_config = like(examples.REVISIONS)

    items: list[InteractionRevision]
    next_cursor: None = None
