"""Answers about customers: who they are, and what is said of them."""

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.http.documents import examples
from percorso.http.documents.base import like
from percorso.storage.consents import LawfulBasis
from percorso.storage.consents import Status as ConsentStatus


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

    model_config = like(examples.TRAITS)

    customer_id: UUID
    traits: dict[str, TraitDocument]


class TraitStatement(TraitDocument):
    """What was said under a name; a value that is null took the trait away."""

    name: str


class TraitHistory(BaseModel):
    """A page of all that was ever said of a customer, newest first."""

    model_config = like(examples.TRAIT_HISTORY)

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

    model_config = like(examples.CONSENTS)

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

    model_config = like(examples.CONSENT_HISTORY)

    customer_id: UUID
    items: list[ConsentDocument]
    next_cursor: str | None


class CustomerDocument(BaseModel):
    """A customer: everything known to be one person."""

    model_config = like(examples.CUSTOMER)

    customer_id: UUID
    identifiers: list[CustomerIdentifier]
    first_contact_at: AwareDatetime | None
    last_contact_at: AwareDatetime | None
    interactions: ContactCounts
    traits: dict[str, TraitDocument]
    consents: list[ConsentDocument]
