"""The hub of TMF683: who wants to be told of created, changed and deleted party interactions."""

import base64
import secrets
import uuid
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Depends, Path
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from percorso.errors import InvalidRequest, NotFound, Problem
from percorso.formats import tmf683, tmf683_asked
from percorso.formats.tmf683_events import EVENTS
from percorso.http import answers
from percorso.http.access import MaySubscribe
from percorso.http.callers import key_of
from percorso.http.documents.tmf683 import Hub, documented
from percorso.http.payloads import given, request_body
from percorso.http.services import Use
from percorso.storage import deliveries, followers
from percorso.storage.database import writing
from percorso.storage.deliveries import Subscription
from percorso.workers import callbacks
from percorso.workers.announcing import FOLLOWER, PROTOCOL

router = APIRouter(prefix=tmf683.ROOT, tags=["TMF683 Party Interaction"])


class HubBody(BaseModel):
    """Where events are to be posted, and which."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"callback": "https://crm.example.com/listener", "query": "eventType=" + EVENTS[0]}]
        },
    )

    callback: str = Field(
        min_length=1, max_length=callbacks.MOST_URL, description="The http or https URL that events are posted to."
    )
    query: str | None = Field(
        None,
        max_length=2000,
        description="`eventType=…` (several, divided by commas) and filters by equality as in lists, joined by `&`. "
        "Absent: every event.",
    )


@router.post(
    "/hub",
    summary="Be told of party interactions",
    status_code=HTTPStatus.CREATED,
    response_class=Response,
    responses=documented(Hub, 408, 413, 415, status=201, says="Registered; the secret is shown this once."),
    openapi_extra=request_body(HubBody),
)
async def create_hub(key: MaySubscribe, use: Use, body: Annotated[HubBody, Depends(given(HubBody))]) -> Response:
    """Have the events of what is committed from now on posted to a callback, until it takes them with a 2xx.

    Each is posted again, later and later, for three days where it is not taken; it keeps its `eventId`. It is signed as
    Standard Webhooks says, with the `secret` that is shown in this answer alone. `PERCORSO_ALLOW_PRIVATE_CALLBACKS`
    says whether callbacks may be in private networks. The subscription ends with its key.
    """
    query = body.query or None
    tmf683_asked.of_query(query or "", events=EVENTS)
    try:
        await callbacks.allowed(body.callback, private=use.settings.allow_private_callbacks)
    except callbacks.NotCalled as error:
        problem = Problem("/callback", str(error))
        raise InvalidRequest("The subscription cannot be taken as it is:", problems=[problem]) from None
    subscription = Subscription(
        subscription_id=UUID(uuid.uuid4().bytes),
        protocol=PROTOCOL,
        callback=body.callback,
        query=query,
        secret=f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
        key_id=key_of(key),
        created_at=datetime.now(UTC),
    )
    async with writing(use.engine) as session:
        await followers.start(session, FOLLOWER, use.deployment.generation)
        await deliveries.subscribe(session, subscription)
    id_ = str(subscription.subscription_id)
    content = {"id": id_, "callback": body.callback, "query": query, "secret": subscription.secret}
    location = {"Location": f"{(use.settings.public_url or '').rstrip('/')}{tmf683.ROOT}/hub/{id_}"}
    return answers.json_response(content, status=HTTPStatus.CREATED, headers=location)


@router.delete(
    "/hub/{hub_id}",
    summary="Be told no more",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(None, 404, status=204, says="Ended; what was still to be told is not."),
)
async def delete_hub(
    hub_id: Annotated[str, Path(max_length=256, description="The subscription's id.")], key: MaySubscribe, use: Use
) -> Response:
    """End a subscription that was made with the same key; an `admin` key ends any."""
    try:
        this = UUID(uuid.UUID(hub_id).bytes)
    except ValueError:
        raise NotFound("No subscription of this key has this id.") from None
    by = None if "admin" in key.scopes else key_of(key)
    async with writing(use.engine) as session:
        if not await deliveries.unsubscribe(session, this, protocol=PROTOCOL, key_id=by):
            raise NotFound("No subscription of this key has this id.")
    return Response(status_code=HTTPStatus.NO_CONTENT)
