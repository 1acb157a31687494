"""Answers about touchpoints, keys and the state of the service."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.http.documents import examples
from percorso.http.documents.base import like


class TouchpointDocument(BaseModel):
    """A touchpoint: where customers and the organisation meet."""

    model_config = like(examples.TOUCHPOINT)

    slug: str
    channel: str | None
    name: str | None
    function: str | None
    stage: str | None
    owner: str | None
    location: str | None
    discovered: bool = Field(description="Named by an interaction, and not described by hand since.")
    merged_into: str | None = Field(description="The slug of the touchpoint that it counts as, where it was merged.")
    merged: list[str] = Field(description="The slugs of the touchpoints that count as it.")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class TouchpointChange(BaseModel):
    """A merge of a touchpoint into another, or its undoing."""

    model_config = like(examples.TOUCHPOINT_CHANGE)

    slug: str = Field(description="What was merged, or parted.")
    into: str = Field(description="What it was merged into.")
    what: Literal["merged", "unmerged"]
    at: AwareDatetime
    by: str = Field(description="The name of the key.")
    reason: str


class OneTouchpoint(TouchpointDocument):
    """A touchpoint, by its slug or by one that counts as it."""

    model_config = like(examples.ONE_TOUCHPOINT)

    asked_for: str = Field(description="The slug in the path; where it was merged, another than `slug`.")
    changes: list[TouchpointChange] = Field(description="Merges and their undoing, newest first; at most 100.")


class KeyDocument(BaseModel):
    """What is known of a key."""

    model_config = like(examples.KEY)

    id: UUID
    name: str
    scopes: list[str]
    sources: list[str] | None = Field(description="The sources it may ingest interactions of. Null: any.")
    channels: list[str] | None = Field(description="The channels it may ingest interactions of. Null: any.")
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = Field(description="From then on it is not valid. Null: it does not end.")
    last_used_at: AwareDatetime | None = Field(description="To the minute, and two minutes late at most.")
    rotated_until: AwareDatetime | None = Field(
        description="When the last of the secrets ends that it had before it was rotated. Null: none is valid."
    )
    revoked_at: AwareDatetime | None
    rate: float | None = Field(description="What it may send a second; null where the settings say.")
    burst: int | None = Field(description="What it may send at once; null: the rate of ten seconds.")


class NewKey(KeyDocument):
    """A key, new or rotated; `key` is shown this once."""

    model_config = like(examples.NEW_KEY)

    key: str


class KeyList(BaseModel):
    """Every key."""

    model_config = like(examples.KEYS)

    items: list[KeyDocument]
    next_cursor: None = None


class Health(BaseModel):
    """Whether the service is well."""

    model_config = like(examples.HEALTH)

    status: str
    checks: dict[str, str] = Field(default_factory=dict)
