"""Interactions as CloudEvents, in requests and in answers."""

from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, Field

from percorso.formats import cloudevents
from percorso.http.documents import examples
from percorso.http.documents.base import like

GIVEN: Final[examples.Example] = {
    "specversion": "1.0",
    "id": "call-8731",
    "source": "https://crm.example.com",
    "type": "com.example.phone.support_call",
    "time": "2026-11-20T10:00:00+01:00",
    "subject": "crm_id:C-17",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "datacontenttype": "application/json",
    "data": {
        "customer": {"email": "anna@example.com", "crm_id": "C-17"},
        "outcome": "answered",
        "details": {"duration_seconds": 312, "queue": "support"},
    },
}


class CloudEvent(BaseModel):
    """A CloudEvent 1.0 in the JSON format; any other member is an extension attribute."""

    model_config = like(GIVEN, open_=True)

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=256, description="With `source`, what a repetition is recognised by.")
    source: str = Field(min_length=1, max_length=128)
    type: str = Field(min_length=1, description="Its first segment that is a channel's name, and what follows as kind.")
    time: AwareDatetime | None = Field(None, description="When it occurred. Absent: when it is received.")
    subject: str | None = Field(
        None, min_length=1, description="The customer as `kind:value`, where `data` names none."
    )
    datacontenttype: str | None = Field(None, min_length=1)
    dataschema: str | None = Field(None, min_length=1)
    data: Any = Field(None, description="The interaction, without `source`, `id` and `occurred_at`; or anything else.")
    data_base64: str | None = Field(None, description="What is no JSON, and no text.")


class Handshake(BaseModel):
    """Whether a sender of events may send them here."""

    model_config = like({"accepts": [cloudevents.EVENT, cloudevents.BATCH], "binary": True})

    accepts: list[str] = Field(description="The media types of events in structured mode, and in batches.")
    binary: bool = Field(description="Whether attributes may come as `ce-` headers.")


_REFERENCE: Final = {"$ref": "#/components/schemas/CloudEvent"}
BODY: Final = {
    "required": True,
    "content": {
        cloudevents.EVENT: {"schema": _REFERENCE},
        cloudevents.BATCH: {"schema": {"type": "array", "maxItems": 10_000, "items": _REFERENCE}},
        "application/json": {
            "schema": {"description": "In binary mode: `data`; the attributes are `ce-` headers."},
            "example": GIVEN["data"],
        },
    },
}
"""What the OpenAPI document says of a body that carries events."""

PAGE: Final = {cloudevents.BATCH: {"schema": {"type": "array", "items": _REFERENCE}, "example": [GIVEN]}}
"""What it says of a page of events."""
