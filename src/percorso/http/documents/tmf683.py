"""What TMF683's resources, errors and subscriptions look like in the OpenAPI document."""

from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, WithJsonSchema

from percorso.http.documents.base import Trouble, like
from percorso.http.documents.examples import Example
from percorso.http.payloads import REFERENCE

_ID = "0190f0a5-2c00-8a4e-9b1c-3d2f5a6b7c8d"
_GIVEN: Example = {
    "description": "asked about the last bill",
    "direction": "inbound",
    "reason": "billing question",
    "status": "completed",
    "channel": [{"id": "support-line", "name": "call center", "role": "interactionChannel"}],
    "interactionDate": {"startDateTime": "2026-03-01T09:00:00Z", "endDateTime": "2026-03-01T09:05:12Z"},
    "relatedParty": [{"id": "C-17", "role": "customer", "@referredType": "Individual"}],
    "note": [{"author": "agent-12", "text": "promised a corrected bill"}],
}
_SHOWN: Example = {
    "id": _ID,
    "href": f"/tmf-api/partyInteraction/v4/partyInteraction/{_ID}",
    "creationDate": "2026-03-01T09:05:13.250Z",
    **_GIVEN,
    "externalIdentifier": [{"id": "9f86d081884c7d65", "owner": "crm"}],
    "statusChangeDate": "2026-03-01T09:05:13.250Z",
    "@type": "PartyInteraction",
}


class PartyInteraction(BaseModel):
    """An interaction as TMF683 has it: what was given, member by member, and what the server adds."""

    model_config = like(_SHOWN, open_=True)

    id: str | None = Field(None, description="Given by the server.")
    href: str | None = Field(None, description="Where it is.")
    direction: Any = Field(None, description="inbound, outbound, or the sender's own word.")
    reason: Any = Field(None, description="What it was about.")
    channel: Any = Field(None, description="Where they met; it is filed under the first.")


class PartyInteractions(RootModel[list[PartyInteraction]]):
    """Resources, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [[_SHOWN]]})


class Hub(BaseModel):
    """A subscription."""

    model_config = like(
        {
            "id": _ID,
            "callback": "https://crm.example.com/listener",
            "query": "eventType=PartyInteractionCreateEvent",
            "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        }
    )

    id: str
    callback: str
    query: str | None
    secret: str = Field(description="Deliveries are signed with it, as Standard Webhooks says. It is shown once.")


class TmfError(BaseModel):
    """An error as TMF630 has it."""

    model_config = like(
        {
            "code": "rejected",
            "reason": "The interaction was rejected",
            "message": "It cannot be stored as it is. It is kept in quarantine: /reason is required",
            "status": "400",
            "referenceError": "urn:percorso:request:4f1c2b7a9d3e8f60",
            "errors": [{"pointer": "/reason", "detail": "is required"}],
        }
    )

    code: str = Field(description="A stable word for programs.")
    reason: str
    message: str
    status: Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[1-5][0-9]{2}$"})]
    referenceError: str  # noqa: N815 - TMF630's own spelling
    errors: list[Trouble]


_ERRORS = {
    400: "Something is to be mended; `errors` says what.",
    401: "No valid key.",
    403: "The key lacks the scope.",
    404: "There is none.",
    408: "The body arrived too slowly.",
    409: "Another one with the same external identifier is stored.",
    413: "The body is too large.",
    415: "The body's encoding is not read.",
    503: "Not now; safe to repeat after `Retry-After` seconds.",
}


def documented(
    model: Any, *errors: int, status: int = HTTPStatus.OK, says: str = "Done."
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what it answers when all is well, and which errors; 400, 401, 403, 503 always."""
    good: dict[str, Any] = {"description": says} | ({} if model is None else {"model": model})
    every = sorted({400, 401, 403, 503, *errors})
    documented: dict[int | str, dict[str, Any]] = {int(status): good}
    return documented | {code: {"description": _ERRORS[code], "model": TmfError} for code in every}


def body(model: type[BaseModel], *, media_type: str = "application/json") -> dict[str, Any]:
    """What the OpenAPI document says of a body that is a resource, or a part of one."""
    schema = model.model_json_schema(ref_template=REFERENCE) | {"examples": [_GIVEN]}
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}
