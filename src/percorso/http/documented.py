"""What the OpenAPI document says of answers: their shapes, with examples."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from percorso.ingest.verdict import Status

_INTERACTION_ID = "019c0d2f-1a80-8c3e-b4d1-7a90c4e5f601"
_CUSTOMER_ID = "d345ea01-9b1c-4f7e-8a55-3f0c2f6a7b88"


class Trouble(BaseModel):
    """One thing to mend."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body; `/query/…` and `/path/…` for parameters.")
    detail: str = Field(description="What is wrong there.")


class ProblemDocument(BaseModel):
    """An error (RFC 9457). A 4xx says what to mend; a 5xx is safe to repeat."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:percorso:problem:rejected",
                    "title": "The interaction was rejected",
                    "status": 422,
                    "detail": "The interaction is invalid.",
                    "instance": "urn:percorso:request:5f0c1c6f2b6e4f0d",
                    "code": "rejected",
                    "errors": [{"pointer": "/occurred_at", "detail": "is more than 24 hours in the future"}],
                    "rejection_id": "019c0d2f-1a80-8c3e-b4d1-7a90c4e5f601",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="A stable word for programs.")
    errors: list[Trouble]


class Receipt(BaseModel):
    """What became of one interaction."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "stored",
                    "interaction_id": _INTERACTION_ID,
                    "customer_id": _CUSTOMER_ID,
                    "received_at": "2026-11-20T09:05:12.117Z",
                }
            ]
        }
    )

    status: Status
    interaction_id: UUID
    customer_id: UUID
    received_at: AwareDatetime


class BatchResult(BaseModel):
    """What became of one item of a batch."""

    index: int = Field(description="Its place in the batch, from 0; blank lines do not count.")
    status: Status
    interaction_id: UUID | None = None
    customer_id: UUID | None = None
    rejection_id: UUID | None = None
    errors: list[Trouble] | None = None


class BatchReceipt(BaseModel):
    """What became of a batch."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "received": 1000,
                    "stored": 999,
                    "duplicate": 0,
                    "conflict": 0,
                    "rejected": 1,
                    "retry": 0,
                    "results": [
                        {
                            "index": 17,
                            "status": "rejected",
                            "rejection_id": _INTERACTION_ID,
                            "errors": [{"pointer": "/occurred_at", "detail": "must be a date and time with an offset"}],
                        }
                    ],
                }
            ]
        }
    )

    received: int
    stored: int
    duplicate: int
    conflict: int = Field(description="Stored before under the same source and id, with other content.")
    rejected: int = Field(description="Kept in quarantine.")
    retry: int = Field(description="Not stored for want of the database: send these again.")
    results: list[BatchResult] = Field(description="Whatever was not stored; with `results=all`, everything.")


class StoredInteraction(BaseModel):
    """An interaction: what the sender gave, field for field, and what percorso adds."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "source": "crm",
                    "id": "call-8731",
                    "occurred_at": "2026-11-20T10:00:00+01:00",
                    "channel": "phone",
                    "kind": "support_call",
                    "customer": {"email": "anna@example.com", "phone": "+39066982"},
                    "details": {"duration_seconds": 312, "queue": "support"},
                    "interaction_id": _INTERACTION_ID,
                    "customer_id": _CUSTOMER_ID,
                    "received_at": "2026-11-20T09:05:12.117Z",
                }
            ]
        },
    )

    source: str
    id: str
    occurred_at: AwareDatetime
    channel: str
    customer: dict[str, str | list[str]] = Field(description="The identifiers, in normal form.")
    interaction_id: UUID
    customer_id: UUID | None
    received_at: AwareDatetime


class Interactions(BaseModel):
    """A page of interactions."""

    items: list[StoredInteraction]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last.")


class Journey(Interactions):
    """A page of a customer's journey."""

    customer_id: UUID


class InteractionRevision(BaseModel):
    """What an interaction said, until when."""

    revision: int
    replaced_at: AwareDatetime | None = Field(description="Null for what it says now.")
    replaced_by: str | None = Field(description="The name of the key that changed it.")
    interaction: dict[str, Any]


class Revisions(BaseModel):
    """All that an interaction said, oldest first."""

    items: list[InteractionRevision]
    next_cursor: None = None


class CustomerIdentifier(BaseModel):
    """One identifier of a customer."""

    kind: str
    value: str
    strong: bool = Field(description="Whether it says who someone is; a weak one may be shared.")
    first_seen_at: AwareDatetime


class ContactCounts(BaseModel):
    """How much contact there was."""

    total: int
    by_channel: dict[str, int]


class CustomerDocument(BaseModel):
    """A customer: everything known to be one person."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": _CUSTOMER_ID,
                    "identifiers": [
                        {
                            "kind": "email",
                            "value": "anna@example.com",
                            "strong": True,
                            "first_seen_at": "2026-11-20T09:05:12.117Z",
                        }
                    ],
                    "first_contact_at": "2026-03-02T08:15:00.000Z",
                    "last_contact_at": "2026-11-20T09:00:00.000Z",
                    "interactions": {"total": 23, "by_channel": {"email": 4, "phone": 19}},
                }
            ]
        }
    )

    customer_id: UUID
    identifiers: list[CustomerIdentifier]
    first_contact_at: AwareDatetime | None
    last_contact_at: AwareDatetime | None
    interactions: ContactCounts


class TouchpointDocument(BaseModel):
    """A touchpoint: where customers and the organisation meet."""

    slug: str
    channel: str | None
    name: str | None
    function: str | None
    stage: str | None
    owner: str | None
    location: str | None
    discovered: bool = Field(description="Named by an interaction, and not described by hand since.")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Touchpoints(BaseModel):
    """A page of touchpoints."""

    items: list[TouchpointDocument]
    next_cursor: str | None


class RejectedDocument(BaseModel):
    """An item in quarantine."""

    rejection_id: UUID
    received_at: AwareDatetime
    source: str | None
    id: str | None = Field(description="The sender's id, as far as it could be read.")
    format: str
    errors: list[Trouble]
    size: int = Field(description="Bytes received.")
    truncated: bool = Field(description="Whether only the beginning was kept, since it was too large.")
    payload: str = Field(description="What was received; as base64 where it is no UTF-8.")
    payload_encoding: str = Field(description="`utf-8` or `base64`.")


class Rejected(BaseModel):
    """A page of quarantine, newest first."""

    items: list[RejectedDocument]
    next_cursor: str | None


class KeyDocument(BaseModel):
    """What is known of a key."""

    id: UUID
    name: str
    scopes: list[str]
    created_at: AwareDatetime
    revoked_at: AwareDatetime | None


class NewKey(KeyDocument):
    """A new key; `key` is shown this once."""

    key: str


class KeyList(BaseModel):
    """Every key."""

    items: list[KeyDocument]
    next_cursor: None = None


class Health(BaseModel):
    """Whether the service is well."""

    status: str
    checks: dict[str, str] = Field(default_factory=dict)


_ERRORS = {
    400: "The request is malformed.",
    401: "No valid key.",
    403: "The key lacks the scope.",
    404: "There is none.",
    409: "Stored before under the same source and id, with other content.",
    413: "The body is too large.",
    415: "The body's encoding is not read.",
    422: "Something is to be mended; `errors` says what.",
    503: "Nothing was taken; safe to repeat after `Retry-After` seconds.",
}


def answers(
    model: type[BaseModel] | None, *errors: int, status: int = HTTPStatus.OK, says: str | None = None
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what it answers when all is well, and which errors; 401, 403, 422, 503 always."""
    good: dict[str, Any] = {"description": says or "Done."}
    if model is not None:
        good |= {"model": model}
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}
    every = sorted({401, 403, 422, 503, *errors})
    documented: dict[int | str, dict[str, Any]] = {int(status): good}
    return documented | {code: {"description": _ERRORS[code]} | problem for code in every}
