"""What the OpenAPI document says of answers: their shapes, with examples."""

from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from percorso.http import examples
from percorso.ingest.verdict import Status
from percorso.queries.suspicions import Why
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
    rejection_id: UUID | None = Field(
        None, description="Where it is kept; nothing is kept of what names someone who was erased."
    )
    errors: list[Trouble] | None = None


class BatchReceipt(BaseModel):
    """What became of a batch."""

    model_config = _like(examples.BATCH)

    received: int
    stored: int
    duplicate: int
    conflict: int = Field(description="Stored before under the same source and id, with other content.")
    rejected: int = Field(description="Kept in quarantine, but for what names someone who was erased.")
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


class MergedCustomer(BaseModel):
    """A customer, and who that is."""

    customer_id: UUID
    identifiers: list[CustomerIdentifier]


class Customers(BaseModel):
    """The customers that there are after a merge or a split."""

    model_config = _like(examples.MERGED)

    customers: list[MergedCustomer]


class IdentityChange(BaseModel):
    """What was decided about a link or an identifier."""

    at: AwareDatetime
    what: str = Field(description="`merged`, `split`, `suspected` or `demoted`.")
    state: str = Field(description="From then on: a link is `active`, `cut` or `suspected`, an identifier `weak`.")
    by: str | None = Field(description="The name of the key; null where a guard rail did it.")
    reason: str | None
    interaction_id: UUID | None = Field(description="The interaction that gave rise to it.")
    source: str | None = Field(description="Who sent that.")


class IdentityMember(CustomerIdentifier):
    """One identifier of a customer, and what was decided about it."""

    identity_id: UUID
    changes: list[IdentityChange]


class LinkedIdentity(BaseModel):
    """One end of a link."""

    identity_id: UUID
    kind: str
    value: str
    customer_id: UUID = Field(description="The customer it belongs to now.")


class IdentityLink(BaseModel):
    """Why two identifiers are one customer, or why they are not."""

    identities: list[LinkedIdentity] = Field(description="The two that it links.")
    state: str = Field(description="`active`, `cut` by hand, or `suspected`, which joins no one.")
    linked_at: AwareDatetime
    by: str | None = Field(description="The name of the key that linked or cut by hand what no interaction had linked.")
    interaction_id: UUID | None = Field(description="The evidence: the first interaction that carried both.")
    source: str | None = Field(description="Who sent that.")
    changes: list[IdentityChange]


class IdentityDocument(BaseModel):
    """The identity of a customer, as it is or as it was."""

    model_config = _like(examples.IDENTITY)

    customer_id: UUID = Field(description="The id that the customer has now.")
    at: AwareDatetime | None = Field(description="As of when; null for now.")
    customer_id_then: UUID = Field(description="The id that the customer had then.")
    identifiers: list[IdentityMember]
    links: list[IdentityLink] = Field(description="Every link of one of these identifiers, whatever its state.")


class SuspectedIdentity(LinkedIdentity):
    """An identifier that a suspicion is about."""

    strong: bool


class SuspicionDetail(BaseModel):
    """The guard rail that stopped it."""

    kind: str | None = None
    limit: int | None = None
    count: int | None = Field(None, description="How many there would have been.")
    days: int | None = Field(None, description="Within how many days, of a shared identifier.")


class SuspicionDocument(BaseModel):
    """A link that was not made, or an identifier that joins no one, and what was decided about that."""

    model_config = _like(examples.SUSPICION)

    suspicion_id: UUID
    why: Why
    identities: list[SuspectedIdentity] = Field(description="Two that were not linked, or one that is shared.")
    detail: SuspicionDetail
    times: int = Field(description="How often it was noted; each process notes the same once, until customers change.")
    first_at: AwareDatetime
    last_at: AwareDatetime
    interaction_id: UUID | None = Field(description="The latest interaction that gave rise to it.")
    source: str | None
    decided_at: AwareDatetime | None
    decided_by: str | None = Field(description="The name of the key; null also where a guard rail decided it.")
    decision: str | None = Field(description="`merged` or `dismissed`.")
    reason: str | None


class Suspected(BaseModel):
    """A page of suspicions, newest first."""

    model_config = _like(examples.SUSPECTED)

    items: list[SuspicionDocument]
    next_cursor: str | None


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

    model_config = _like(examples.EXPORT, open_=True)

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

    model_config = _like(examples.CERTIFICATE)

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

    model_config = _like(examples.CERTIFICATES)

    items: list[Certificate]
    next_cursor: str | None


class AuditEntry(BaseModel):
    """Who read or did what to whom."""

    model_config = _like(examples.AUDIT_ENTRY)

    seq: int = Field(description="Its number: from 1, without a gap.")
    at: AwareDatetime
    act: str = Field(description="`read`, `exported`, `erasing`, `erased`, and what is done to identities.")
    actor: str | None = Field(description="The name of the key; null where the service itself acts.")
    key_id: UUID | None
    subject: UUID | None = Field(description="An identity of the customer whom it was about: a salted hash.")
    details: dict[str, Any] = Field(description="Route, ids and counts.")
    previous: str = Field(description="The hash of the row before, in hexadecimal.")
    hash: str = Field(description="SHA-256 of `previous` and the row as canonical JSON.")


class AuditLog(BaseModel):
    """A page of the audit log, newest first."""

    model_config = _like(examples.AUDIT_LOG)

    items: list[AuditEntry]
    next_cursor: str | None


class AuditHead(BaseModel):
    """The last row of the audit log: kept elsewhere, it shows later whether rows were cut off the end."""

    model_config = _like(examples.AUDIT_HEAD)

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

    model_config = _like(examples.RETENTION)

    policy: RetentionPolicy
    last_run: RetentionRun | None = Field(description="The last one that was completed; null: there was none.")
    due: RetentionDue


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
    409: "It stands against what is there: see `code`.",
    413: "The body is too large.",
    415: "The body's encoding is not read.",
    422: "Something is to be mended; `errors` says what.",
    503: "Nothing was taken; safe to repeat after `Retry-After` seconds.",
}


def answers(
    model: type | None,
    *errors: int,
    status: int = HTTPStatus.OK,
    says: str | None = None,
    lines: examples.Example | None = None,
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what it answers when all is well, and which errors; 401, 403, 422, 503 always.

    `lines` is an example of a line, where it may answer by NDJSON too.
    """
    good: dict[str, Any] = {"description": says or "Done."}
    if model is not None:
        good |= {"model": model}
    if lines is not None:
        good |= {"content": {"application/x-ndjson": {"schema": {"type": "object", "examples": [lines]}}}}
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}
    every = sorted({401, 403, 422, 503, *errors})
    documented: dict[int | str, dict[str, Any]] = {int(status): good}
    return documented | {code: {"description": _ERRORS[code]} | problem for code in every}
