"""Answers about who is whom."""

from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.http.documents import examples
from percorso.http.documents.base import like
from percorso.http.documents.customers import CustomerIdentifier
from percorso.queries.suspicions import Why


class MergedCustomer(BaseModel):
    """A customer, and who that is."""

    customer_id: UUID
    identifiers: list[CustomerIdentifier]


class Customers(BaseModel):
    """The customers that there are after a merge or a split."""

    model_config = like(examples.MERGED)

    customers: list[MergedCustomer]


class IdentityChange(BaseModel):
    """What was decided about a link or an identifier."""

    at: AwareDatetime
    what: str = Field(description="`merged`, `split`, `suspected`, `demoted` or `restored`.")
    state: str = Field(
        description="From then on: a link is `active`, `cut` or `suspected`, an identifier `weak` or `strong`."
    )
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

    model_config = like(examples.IDENTITY)

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

    model_config = like(examples.SUSPICION)

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
    decision: str | None = Field(description="`merged`, `dismissed` or `restored`.")
    reason: str | None


class Suspected(BaseModel):
    """A page of suspicions, newest first."""

    model_config = like(examples.SUSPECTED)

    items: list[SuspicionDocument]
    next_cursor: str | None
