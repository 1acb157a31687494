"""What the OpenAPI document says of answers: their shapes, with examples."""

from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from percorso.http import examples
from percorso.ingest.verdict import Status
from percorso.storage.consents import LawfulBasis
from percorso.storage.consents import Status as ConsentStatus


def _like(example: examples.Example, *, open_: bool = False) -> ConfigDict:
    """The configuration of a model that looks like this; `open_` where it may have members that are not named."""
    return ConfigDict(extra="allow" if open_ else "ignore", json_schema_extra={"examples": [example]})


def example(model: type) -> examples.Example | None:
    """What a model looks like."""
    config = getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", {})
    extra = config.get("json_schema_extra") or {}
    found: list[examples.Example] = extra.get("examples", [])
    return found[0] if found else None


class Trouble(BaseModel):
    """One thing to mend."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body; `/query/…` and `/path/…` for parameters.")
    detail: str = Field(description="What is wrong there.")


class ProblemDocument(BaseModel):
    """An error (RFC 9457). A 4xx says what to mend; a 5xx is safe to repeat."""

    model_config = _like(examples.PROBLEM, open_=True)

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="A stable word for programs.")
    errors: list[Trouble]


class Receipt(BaseModel):
    """What became of one interaction."""

    model_config = _like(examples.RECEIPT)

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
    rejection_id: UUID | None = None
    errors: list[Trouble] | None = None


class BatchReceipt(BaseModel):
    """What became of a batch."""

    model_config = _like(examples.BATCH)

    received: int
    stored: int
    duplicate: int
    conflict: int = Field(description="Stored before under the same source and id, with other content.")
    rejected: int = Field(description="Kept in quarantine.")
    retry: int = Field(description="Not stored for want of the database: send these again.")
    results: list[BatchResult] = Field(description="Whatever was not stored; with `results=all`, everything.")


class StoredInteraction(BaseModel):
    """An interaction: what the sender gave, field for field, and what percorso adds."""

    model_config = _like(examples.INTERACTION, open_=True)

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

    model_config = _like(examples.INTERACTIONS)

    items: list[StoredInteraction]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last.")


class Journey(Interactions):
    """A page of a customer's journey."""

    model_config = _like(examples.JOURNEY)

    customer_id: UUID


class InteractionRevision(BaseModel):
    """What an interaction said, until when."""

    revision: int
    replaced_at: AwareDatetime | None = Field(description="Null for what it says now.")
    replaced_by: str | None = Field(description="The name of the key that changed it.")
    interaction: dict[str, Any]


class Revisions(BaseModel):
    """All that an interaction said, oldest first."""

    model_config = _like(examples.REVISIONS)

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


class TraitDocument(BaseModel):
    """What is said of a customer under a name, since when, and who says so."""

    value: Any = Field(description="Any JSON.")
    occurred_at: AwareDatetime
    source: str
    received_at: AwareDatetime
    set_by: str = Field(description="The name of the key that said it.")


class TraitsDocument(BaseModel):
    """A customer's traits: of each what occurred last."""

    model_config = _like(examples.TRAITS)

    customer_id: UUID
    traits: dict[str, TraitDocument]


class TraitStatement(TraitDocument):
    """What was said under a name; a value that is null took the trait away."""

    name: str


class TraitHistory(BaseModel):
    """A page of all that was ever said of a customer, newest first."""

    model_config = _like(examples.TRAIT_HISTORY)

    customer_id: UUID
    items: list[TraitStatement]
    next_cursor: str | None


class ConsentDocument(BaseModel):
    """What is said of contact for a purpose by a channel, since when, and what proves it."""

    purpose: str
    channel: str = Field(description="A channel, or `any` for all of them.")
    status: ConsentStatus
    occurred_at: AwareDatetime
    lawful_basis: LawfulBasis | None = Field(description="GDPR, Article 6(1).")
    evidence: str | None = Field(description="What proves it, in words.")
    interaction_id: UUID | None = Field(description="The interaction that proves it; it may be deleted since.")
    source: str
    received_at: AwareDatetime
    set_by: str | None = Field(description="The name of the key that said it; null where an interaction did.")


class ConsentsDocument(BaseModel):
    """What a customer consents to: of each purpose and channel what occurred last."""

    model_config = _like(examples.CONSENTS)

    customer_id: UUID
    items: list[ConsentDocument]
    next_cursor: None = None
    allowed: bool | None = Field(
        description="Whether contact is allowed; null unless asked for one `purpose` and one `channel`."
    )
    reason: Literal["granted", "denied", "nothing_said"] | None = Field(
        description="Why; where nothing is said, contact is not allowed."
    )
    decided_by: ConsentDocument | None = Field(description="What was said that decides it.")


class ConsentHistory(BaseModel):
    """A page of all that was ever said of what a customer consents to, newest first."""

    model_config = _like(examples.CONSENT_HISTORY)

    customer_id: UUID
    items: list[ConsentDocument]
    next_cursor: str | None


class CustomerDocument(BaseModel):
    """A customer: everything known to be one person."""

    model_config = _like(examples.CUSTOMER)

    customer_id: UUID
    identifiers: list[CustomerIdentifier]
    first_contact_at: AwareDatetime | None
    last_contact_at: AwareDatetime | None
    interactions: ContactCounts
    traits: dict[str, TraitDocument]
    consents: list[ConsentDocument]


class TouchpointDocument(BaseModel):
    """A touchpoint: where customers and the organisation meet."""

    model_config = _like(examples.TOUCHPOINT)

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

    model_config = _like(examples.TOUCHPOINTS)

    items: list[TouchpointDocument]
    next_cursor: str | None


class RejectedDocument(BaseModel):
    """An item in quarantine."""

    model_config = _like(examples.REJECTED_ITEM)

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

    model_config = _like(examples.REJECTED)

    items: list[RejectedDocument]
    next_cursor: str | None


class KeyDocument(BaseModel):
    """What is known of a key."""

    model_config = _like(examples.KEY)

    id: UUID
    name: str
    scopes: list[str]
    created_at: AwareDatetime
    revoked_at: AwareDatetime | None


class NewKey(KeyDocument):
    """A new key; `key` is shown this once."""

    model_config = _like(examples.NEW_KEY)

    key: str


class KeyList(BaseModel):
    """Every key."""

    model_config = _like(examples.KEYS)

    items: list[KeyDocument]
    next_cursor: None = None


class Health(BaseModel):
    """Whether the service is well."""

    model_config = _like(examples.HEALTH)

    status: str
    checks: dict[str, str] = Field(default_factory=dict)


_ERRORS = {
    400: "The request is malformed.",
    401: "No valid key.",
    403: "The key lacks the scope.",
    404: "There is none.",
    408: "The body arrived too slowly.",
    409: "Stored before under the same source and id, with other content.",
    413: "The body is too large.",
    415: "The body's encoding is not read.",
    422: "Something is to be mended; `errors` says what.",
    503: "Nothing was taken; safe to repeat after `Retry-After` seconds.",
}


def answers(
    model: type | None, *errors: int, status: int = HTTPStatus.OK, says: str | None = None
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what it answers when all is well, and which errors; 401, 403, 422, 503 always."""
    good: dict[str, Any] = {"description": says or "Done."}
    if model is not None:
        good |= {"model": model}
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}
    every = sorted({401, 403, 422, 503, *errors})
    documented: dict[int | str, dict[str, Any]] = {int(status): good}
    return documented | {code: {"description": _ERRORS[code]} | problem for code in every}
