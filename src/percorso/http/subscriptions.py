"""Subscriptions: the feed, pushed to a URL as Standard Webhooks."""

import base64
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from percorso.errors import InvalidRequest, Problem
from percorso.http import answers, feed_items
from percorso.http.access import MaySubscribe
from percorso.http.callers import Caller, key_of
from percorso.http.documents.base import answers as documented
from percorso.http.documents.subscriptions import (
    DeadLetters,
    NewSecret,
    NewSubscription,
    ReplayBegun,
    SubscriptionDocument,
    Subscriptions,
    Tested,
)
from percorso.http.feed import NOW
from percorso.http.feed_filter import FeedFilter
from percorso.http.parameters import Cursor, Limit
from percorso.http.payloads import given, given_if_any, request_body
from percorso.http.recorder import entry
from percorso.http.services import Reads, Services, Use
from percorso.http.subscription_bodies import ReplayBody, RotationBody, SubscriptionBody, SubscriptionPatch
from percorso.queries import feed
from percorso.queries import feed_subscriptions as queries
from percorso.queries.feed import Position
from percorso.queries.feed_kinds import Wanted
from percorso.queries.feed_subscriptions import FeedSubscription
from percorso.storage import audit
from percorso.storage import feed_subscriptions as store
from percorso.storage.database import ReadSession, reading, writing
from percorso.storage.feed_subscriptions import MOST_OF_A_KEY, New, Place
from percorso.workers import callbacks, subscribing

router = APIRouter(prefix="/v1/subscriptions", tags=["Feed"])

OLDEST: Final = "oldest"
_TEST: Final = "subscription.test"

SubscriptionId = Annotated[uuid.UUID, Path(description="The subscription's id.")]


@router.post(
    "",
    summary="Have the feed pushed to a URL",
    status_code=HTTPStatus.CREATED,
    response_class=Response,
    responses=documented(NewSubscription, 408, 410, 413, 415, status=201, says="Made. The secret is shown this once."),
    openapi_extra=request_body(SubscriptionBody),
)
async def create_subscription(
    key: MaySubscribe, use: Use, body: Annotated[SubscriptionBody, Depends(given(SubscriptionBody))]
) -> Response:
    """Have each event posted as Standard Webhooks, in the order of the feed, until it is taken with a 2xx.

    What fails is tried again for a day, later and later, and is then kept as a dead letter. The body is
    `{type, timestamp, data}`, with an item of the feed as `data`; `webhook-id` is the item's `id`.
    `PERCORSO_ALLOW_PRIVATE_CALLBACKS` says whether URLs may lead into private networks. A key sees its own
    subscriptions, an `admin` key all; they end with their key.
    """
    await _check_url(use, body.url)
    body.filter.wanted(body.events, use.identifiers, pointer="/filter")
    async with reading(use.engine) as reader:
        position = await _place(reader, body.after)
    new = New(
        subscription_id=UUID(uuid.uuid4().bytes),
        name=body.name,
        callback=body.url,
        query=body.filter.stored(body.events),
        secret=_secret(),
        key_id=key_of(key),
        created_at=datetime.now(UTC),
        place=Place(*position),
    )
    async with writing(use.engine) as session:
        if not await store.add(session, new):
            detail = f"A key has at most {MOST_OF_A_KEY} subscriptions: delete some."
            raise InvalidRequest(detail, problems=[Problem("", detail)])
        await audit.record(session, [entry("subscribed", key, None, {"subscription_id": str(new.subscription_id)})])
    async with reading(use.engine) as reader:
        made = await queries.one(reader, new.subscription_id, new.key_id)
        document = await _document(reader, made)
    location = f"{(use.settings.public_url or '').rstrip('/')}/v1/subscriptions/{new.subscription_id}"
    return answers.json_response(
        document | {"secret": new.secret}, status=HTTPStatus.CREATED, headers={"Location": location}
    )


@router.get(
    "",
    summary="The subscriptions",
    response_class=Response,
    responses=documented(Subscriptions, says="Those of the key; of an `admin` key all."),
)
async def read_subscriptions(key: MaySubscribe, session: Reads) -> Response:
    """Read the subscriptions there are, and how each does."""
    found = await queries.of_key(session, _owner(key))
    return answers.json_response({"items": [await _document(session, each) for each in found], "next_cursor": None})


@router.get(
    "/{subscription_id}",
    summary="A subscription",
    response_class=Response,
    responses=documented(SubscriptionDocument, 404, says="The subscription, and how it does."),
)
async def read_subscription(subscription_id: SubscriptionId, key: MaySubscribe, session: Reads) -> Response:
    """Read what a subscription is, how far behind it is, and what it did not take."""
    return answers.json_response(await _document(session, await _one(session, subscription_id, key)))


@router.patch(
    "/{subscription_id}",
    summary="Change, pause or resume a subscription",
    response_class=Response,
    responses=documented(SubscriptionDocument, 404, 408, 413, 415, says="Changed."),
    openapi_extra=request_body(SubscriptionPatch),
)
async def change_subscription(
    subscription_id: SubscriptionId,
    key: MaySubscribe,
    use: Use,
    body: Annotated[SubscriptionPatch, Depends(given(SubscriptionPatch))],
) -> Response:
    """Say otherwise where it is to be told, of what, and whether at all. What it stands at stays.

    A change makes it be tried at once; `{"paused": false}` does no more than that.
    """
    said = body.model_fields_set
    if "url" in said:
        await _check_url(use, body.url)
    async with reading(use.engine) as session:
        this = await _one(session, subscription_id, key)
    filter_, events = FeedFilter.of_stored(this.query)
    events = body.events if "events" in said else events
    filter_ = body.filter if "filter" in said else filter_
    filter_.wanted(events, use.identifiers, pointer="/filter")
    paused = this.paused
    if "paused" in said:
        paused = (paused or "by_hand") if body.paused else None
    async with writing(use.engine) as writer:
        await store.change(
            writer,
            this.subscription_id,
            name=body.name if "name" in said else this.name,
            callback=body.url if "url" in said else this.callback,
            query=filter_.stored(events),
            paused=paused,
        )
    async with reading(use.engine) as session:
        return answers.json_response(await _document(session, await _one(session, subscription_id, key)))


@router.delete(
    "/{subscription_id}",
    summary="End a subscription",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(None, 404, status=204, says="Ended, with what it did not take."),
)
async def delete_subscription(subscription_id: SubscriptionId, key: MaySubscribe, use: Use) -> Response:
    """End a subscription; what was still to be delivered is not."""
    async with reading(use.engine) as session:
        this = await _one(session, subscription_id, key)
    async with writing(use.engine) as writer:
        if await store.end(writer, this.subscription_id, key_id=_owner(key)):
            done = entry("unsubscribed", key, None, {"subscription_id": str(this.subscription_id)})
            await audit.record(writer, [done])
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post(
    "/{subscription_id}/rotate-secret",
    summary="Replace the secret of a subscription",
    response_class=Response,
    responses=documented(NewSecret, 404, 408, 413, 415, says="Replaced. The secret is shown this once."),
    openapi_extra=request_body(RotationBody, required=False),
)
async def rotate_secret(
    subscription_id: SubscriptionId,
    key: MaySubscribe,
    use: Use,
    body: Annotated[RotationBody, Depends(given_if_any(RotationBody))],
) -> Response:
    """Sign with a new secret from now on. For a while each delivery has a signature by the one before, too."""
    async with reading(use.engine) as session:
        this = await _one(session, subscription_id, key)
    secret, until = _secret(), datetime.now(UTC) + timedelta(hours=body.overlap_hours)
    async with writing(use.engine) as writer:
        await store.rotate(writer, this.subscription_id, secret, until=until)
    return answers.json_response({"secret": secret, "earlier_secret_until": answers.moment(until)})


@router.post(
    "/{subscription_id}/test",
    summary="Send a subscription a test",
    response_class=Response,
    responses=documented(Tested, 404, says="What came of it."),
)
async def check_subscription(subscription_id: SubscriptionId, key: MaySubscribe, use: Use) -> Response:
    """Post an event of type `subscription.test`, signed as any other, and say what was answered."""
    async with reading(use.engine) as session:
        this = await _one(session, subscription_id, key)
    at, id_ = answers.moment(datetime.now(UTC)), f"test-{secrets.token_hex(8)}"
    posted = subscribing.body(_TEST, at, {"id": id_, "event": _TEST, "at": at})
    async with callbacks.client() as client:
        private = use.settings.allow_private_callbacks
        status = await subscribing.post(client, this, posted, id_=id_, private=private)
    taken = callbacks.Answer.of(status) is callbacks.Answer.TAKEN
    return answers.json_response({"taken": taken, "status": status})


@router.get(
    "/{subscription_id}/dead-letters",
    summary="What a subscription did not take",
    response_class=Response,
    responses=documented(DeadLetters, 404, says="A page of it, in the order of the feed."),
)
async def read_dead_letters(
    request: Request,
    subscription_id: SubscriptionId,
    key: MaySubscribe,
    session: Reads,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read which events were set aside and are tried again at `next_at`, and which were given up.

    The feed shows each with its `before` as `after`, and `limit=1`. They are kept as long as the commit log is.
    """
    this = await _one(session, subscription_id, key)
    page = await queries.letters(session, this.subscription_id, limit=limit, after=cursor)
    items = [
        {
            "id": feed.id_of(each.position),
            "event": each.event,
            "at": answers.moment(each.at),
            "before": each.position.encoded(),
            "first_failed_at": answers.moment(each.first_failed_at),
            "tries": each.tries,
            "status": each.status,
            "next_at": None if each.next_at is None else answers.moment(each.next_at),
        }
        for each in page.items
    ]
    return answers.page_response(request, items, page.next_cursor)


@router.post(
    "/{subscription_id}/replay",
    summary="Deliver again",
    response_class=Response,
    responses=documented(ReplayBegun, 404, 408, 410, 413, 415, says="It is delivered again from now on."),
    openapi_extra=request_body(ReplayBody),
)
async def replay_subscription(
    subscription_id: SubscriptionId,
    key: MaySubscribe,
    use: Use,
    body: Annotated[ReplayBody, Depends(given(ReplayBody))],
) -> Response:
    """Go back (or on) to a place in the feed, or try again what was given up. What was taken before comes once more.

    With `after` a subscription that was paused is resumed.
    """
    if (body.after is None) is not body.dead_letters:
        raise InvalidRequest(
            "Say what to deliver again.", problems=[Problem("", "must have either `after` or `dead_letters: true`")]
        )
    async with reading(use.engine) as session:
        this = await _one(session, subscription_id, key)
        position = None if body.after is None else await _place(session, body.after)
    number = None
    async with writing(use.engine) as writer:
        if position is None:
            number = await store.replay_letters(writer, this.subscription_id)
        else:
            await store.replay(writer, this.subscription_id, Place(*position))
    return answers.json_response({"dead_letters": number, "after": None if position is None else position.encoded()})


def reader(services: Services) -> subscribing.Read:
    """What reads the feed for subscriptions."""

    async def read(session: ReadSession, query: str | None, position: Position, limit: int) -> subscribing.Events:
        filter_, events = FeedFilter.of_stored(query)
        wanted = filter_.wanted(events, services.identifiers, pointer="/filter") if query else Wanted()
        page = await feed.page(session, position, wanted, limit=limit)
        documents = await feed_items.documents(session, page.items, services.identifiers)
        # Where nothing happened nothing is put down: else that itself would have to be, again and again.
        following = page.next if page.passed else position
        return list(zip(page.items, documents, strict=True)), following, page.caught_up

    return read


async def _place(session: ReadSession, after: str) -> Position:
    """A place to begin at that is still there."""
    now = await feed.edges(session)
    if after == OLDEST:
        return now.dropped
    if after == NOW:
        return now.end
    position = feed.decode(after, pointer="/after")
    if not now.dropped <= position <= now.future:
        raise feed.gone("Nothing follows it there.", now)
    return position


async def _check_url(use: Services, url: str) -> None:
    try:
        await callbacks.allowed(url, private=use.settings.allow_private_callbacks)
    except callbacks.NotCalled as error:
        problem = Problem("/url", str(error))
    else:
        return
    raise InvalidRequest("The subscription cannot be taken as it is.", problems=[problem])


async def _one(session: ReadSession, subscription_id: uuid.UUID, key: Caller) -> FeedSubscription:
    return await queries.one(session, UUID(subscription_id.bytes), _owner(key))


def _owner(key: Caller) -> UUID | None:
    """Whose subscriptions a key sees: its own, or with `admin` everyone's."""
    return None if "admin" in key.scopes else key_of(key)


def _secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


async def _document(session: ReadSession, this: FeedSubscription) -> dict[str, Any]:
    filter_, events = FeedFilter.of_stored(this.query)
    doing = await queries.doing(session, this)
    now = datetime.now(UTC)
    waits = doing.waiting_since
    state = "paused" if this.paused else "failing" if this.failing_since else "active"
    return {
        "id": str(this.subscription_id),
        "name": this.name,
        "url": this.callback,
        "events": list(events),
        "filter": filter_.model_dump(exclude_defaults=True),
        "key_id": str(this.key_id),
        "created_at": answers.moment(this.created_at),
        "state": state,
        "paused": this.paused,
        "after": this.position.encoded(),
        "lag_seconds": 0.0 if waits is None else round(max((now - waits).total_seconds(), 0.0), 3),
        "failures": this.failures,
        "failing_since": _moment(this.failing_since),
        "next_try_at": _moment(this.next_at) if this.failing_since and not this.paused else None,
        "last_taken_at": _moment(this.taken_at),
        "set_aside": doing.set_aside,
        "dead_letters": doing.dead,
        "earlier_secret_until": _moment(this.earlier_until),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else answers.moment(moment)
