"""What each channel adds to an interaction: the typed `details`, and the value types they share with it.

Details keep unknown members as they were sent; sentiment, feedback and attachments refuse them. Known members are
typed, and may be absent or null unless required.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Required

from pydantic import ConfigDict, Field, FiniteFloat, GetPydanticSchema, WithJsonSchema, with_config
from pydantic_core import core_schema
from typing_extensions import TypedDict

MOMENT_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
CURRENCY_PATTERN = r"^[A-Z]{3}$"

MOMENTS: Final = ("occurred_at", "ended_at", "invited_at")
"""The members that are moments: once validated they are no text any more. The last is one of `details`."""

SentimentLabel = Literal["positive", "neutral", "negative", "mixed"]
Metric = Literal["nps", "csat", "ces", "stars", "thumbs", "other"]
EmailEvent = Literal[
    "sent", "delivered", "opened", "clicked", "bounced", "replied", "complained", "subscribed", "unsubscribed"
]
SocialAction = Literal["post", "comment", "mention", "reply", "share", "reaction", "ad_view", "ad_click", "follow"]
VisitPurpose = Literal["browse", "purchase", "return", "pickup", "service", "appointment"]
SelfServiceAction = Literal["login", "account_change", "order", "password_reset", "download", "other"]
PurchaseStatus = Literal["placed", "paid", "shipped", "returned", "refunded"]


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 has it: in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# The pattern comes first because a datetime alone would also take digits, dates and times without an offset.
Moment = Annotated[
    datetime,
    GetPydanticSchema(
        lambda _source, _handler: core_schema.chain_schema(
            [core_schema.str_schema(pattern=MOMENT_PATTERN, strict=True), core_schema.datetime_schema(strict=False)]
        )
    ),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-20T10:00:00+01:00"]}),
]
"""A moment, sent as RFC 3339 with an offset."""
Count = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
Name = Annotated[str, Field(max_length=256)]
Id = Annotated[str, Field(min_length=1, max_length=256)]
Currency = Annotated[str, Field(pattern=CURRENCY_PATTERN, examples=["EUR"])]
Object = dict[str, Any]

_closed = with_config(ConfigDict(extra="forbid", strict=True))
_details = with_config(ConfigDict(extra="allow", strict=True))


@_closed
class Sentiment(TypedDict, total=False):
    """How the customer felt, and who or what judged so."""

    score: Annotated[Annotated[FiniteFloat, Field(ge=-1, le=1)] | None, Field(description="From -1 (bad) to 1 (good).")]
    label: Annotated[SentimentLabel | None, Field(description="The score in a word.")]
    source: Annotated[Name | None, Field(description="Who or what judged.", examples=["speech-model"])]


@_closed
class Feedback(TypedDict, total=False):
    """One answer of the customer to one question about satisfaction."""

    metric: Required[Annotated[Metric, Field(description="What was measured.")]]
    score: Annotated[FiniteFloat | None, Field(description="The answer, from `min` to `max`.", examples=[2])]
    min: Annotated[FiniteFloat | None, Field(description="The lowest answer possible.", examples=[1])]
    max: Annotated[FiniteFloat | None, Field(description="The highest answer possible.", examples=[5])]
    text: Annotated[str | None, Field(description="The customer's own words.", examples=["waited too long"])]
    question_id: Annotated[Name | None, Field(description="Which question was answered.")]


@_closed
class Attachment(TypedDict, total=False):
    """A file that belongs to the interaction, kept elsewhere."""

    url: Required[Annotated[str, Field(min_length=1, max_length=2048, description="Where it is.")]]
    media_type: Annotated[Name | None, Field(description="What it is.", examples=["audio/ogg"])]
    name: Annotated[Name | None, Field(description="The file's name.")]
    size: Annotated[Count | None, Field(description="Its size in bytes.")]


@_details
class Money(TypedDict, total=False):
    """An amount of money."""

    amount: Annotated[FiniteFloat | None, Field(description="In the currency's main unit.", examples=[12.5])]
    currency: Annotated[Currency | None, Field(description="ISO 4217 code.")]


@_details
class Basket(Money, total=False):
    """What a visitor bought."""

    items: Annotated[Count | None, Field(description="How many pieces.")]


@_details
class Utm(TypedDict, total=False):
    """The campaign parameters of a link."""

    source: Annotated[str | None, Field(description="Where the link stood.")]
    medium: Annotated[str | None, Field(description="By what means it was shown.")]
    campaign: Annotated[str | None, Field(description="The campaign it belongs to.")]
    term: Annotated[str | None, Field(description="The search words paid for.")]
    content: Annotated[str | None, Field(description="Which of several variants it was.")]


@_details
class Rating(TypedDict, total=False):
    """A rating on a site's own scale."""

    value: Annotated[FiniteFloat | None, Field(description="The rating given.")]
    best: Annotated[FiniteFloat | None, Field(description="The best the scale allows.")]
    worst: Annotated[FiniteFloat | None, Field(description="The worst the scale allows.")]


@_details
class OrderLine(TypedDict, total=False):
    """One line of an order."""

    sku: Annotated[str | None, Field(description="The article's number.")]
    quantity: Annotated[FiniteFloat | None, Field(description="How many, or how much.")]
    price: Annotated[FiniteFloat | None, Field(description="The price of one, in the order's currency.")]


@_details
class CallDetails(TypedDict, total=False):
    """A call: also through an IVR, to voicemail, or as a conference."""

    duration_seconds: Annotated[Seconds | None, Field(description="How long the parties talked.", examples=[312])]
    wait_seconds: Annotated[Seconds | None, Field(description="How long the customer waited for an answer.")]
    queue: Annotated[str | None, Field(description="The queue it waited in.", examples=["support"])]
    ivr_path: Annotated[list[str] | None, Field(description="What was chosen in the menus, in order.")]
    from_number: Annotated[str | None, Field(description="The number that called.")]
    to_number: Annotated[str | None, Field(description="The number that was called.")]
    transferred_to: Annotated[str | None, Field(description="The queue or agent it was passed on to.")]
    voicemail: Annotated[bool | None, Field(description="Whether a message was left.")]
    answered_by: Annotated[str | None, Field(description="Who or what answered.")]
    recording_url: Annotated[str | None, Field(description="Where the recording is.")]
    participants: Annotated[list[str] | None, Field(description="Who took part, the customer aside.")]


@_details
class SmsDetails(TypedDict, total=False):
    """A text message."""

    message_id: Annotated[str | None, Field(description="The provider's id of the message.")]
    in_reply_to: Annotated[str | None, Field(description="The message it answers.")]
    media_count: Annotated[Count | None, Field(description="How many pictures or files came with it.")]
    error_code: Annotated[str | None, Field(description="The provider's code of what went wrong.")]
    platform: Annotated[str | None, Field(description="The provider that carried it.")]


@_details
class MessagingDetails(TypedDict, total=False):
    """A message on a messaging platform."""

    platform: Required[Annotated[Id, Field(description="The platform.", examples=["whatsapp", "messenger", "rcs"])]]
    message_id: Annotated[str | None, Field(description="The platform's id of the message.")]
    in_reply_to: Annotated[str | None, Field(description="The message it answers.")]
    media_count: Annotated[Count | None, Field(description="How many pictures or files came with it.")]
    error_code: Annotated[str | None, Field(description="The platform's code of what went wrong.")]


@_details
class ChatDetails(TypedDict, total=False):
    """A live chat, with a person or a bot, or co-browsing."""

    platform: Annotated[str | None, Field(description="The chat software.")]
    message_count: Annotated[Count | None, Field(description="How many messages were exchanged.")]
    bot: Annotated[bool | None, Field(description="Whether a bot answered.")]
    first_response_seconds: Annotated[Seconds | None, Field(description="How long until the first answer.")]
    duration_seconds: Annotated[Seconds | None, Field(description="How long it lasted.")]
    page_url: Annotated[str | None, Field(description="The page it was opened on.")]
    transcript_url: Annotated[str | None, Field(description="Where the transcript is.")]


@_details
class EmailDetails(TypedDict, total=False):
    """A mail or a newsletter, and what became of it."""

    event: Annotated[EmailEvent | None, Field(description="What happened to the mail or the subscription.")]
    subject: Annotated[str | None, Field(description="The subject line.")]
    message_id: Annotated[str | None, Field(description="The Message-ID.")]
    in_reply_to: Annotated[str | None, Field(description="The Message-ID it answers.")]
    link_url: Annotated[str | None, Field(description="The link that was clicked.")]
    list_id: Annotated[str | None, Field(description="The mailing list.")]


@_details
class SocialDetails(TypedDict, total=False):
    """A public act on a social network."""

    network: Required[Annotated[Id, Field(description="The network.", examples=["instagram", "mastodon"])]]
    action: Annotated[SocialAction | None, Field(description="What was done.")]
    post_id: Annotated[str | None, Field(description="The network's id of the post.")]
    post_url: Annotated[str | None, Field(description="Where the post is.")]
    reach: Annotated[Count | None, Field(description="How many people saw it.")]


@_details
class ScreenDetails(TypedDict, total=False):
    """A page of a site or a screen of an app, seen anonymously or signed in."""

    url: Annotated[str | None, Field(description="The page's address.")]
    path: Annotated[str | None, Field(description="The address's path.")]
    title: Annotated[str | None, Field(description="The page's title.")]
    referrer: Annotated[str | None, Field(description="The page that led here.")]
    name: Annotated[str | None, Field(description="The page's or screen's name.")]
    session_id: Annotated[str | None, Field(description="The visit it belongs to.")]
    device: Annotated[str | None, Field(description="The kind of device.")]
    os: Annotated[str | None, Field(description="The operating system.")]
    app_version: Annotated[str | None, Field(description="The app's version.")]
    utm: Annotated[Utm | None, Field(description="The campaign parameters of the link that led here.")]


@_details
class PlaceDetails(TypedDict, total=False):
    """A person at a place."""

    purpose: Annotated[VisitPurpose | None, Field(description="What for.")]
    duration_seconds: Annotated[Seconds | None, Field(description="How long it lasted.")]
    employee: Annotated[str | None, Field(description="Who attended to the customer.")]
    basket: Annotated[Basket | None, Field(description="What was bought there.")]


@_details
class StoreVisitDetails(PlaceDetails, total=False):
    """A visit to a store."""

    location_id: Required[Annotated[Id, Field(description="The store.", examples=["milano-01"])]]


@_details
class VisitDetails(PlaceDetails, total=False):
    """A technician or sales person on site, a totem, a fair."""

    location_id: Annotated[Id | None, Field(description="The place.")]


@_details
class PlacementDetails(TypedDict, total=False):
    """A letter or printed matter, a sign, an advertisement."""

    campaign: Annotated[str | None, Field(description="The campaign it belongs to.")]
    creative: Annotated[str | None, Field(description="Which text or picture.")]
    placement: Annotated[str | None, Field(description="Where it was shown.", examples=["aisle 4, shelf B"])]
    medium: Annotated[str | None, Field(description="By what means.", examples=["billboard", "banner"])]
    cost: Annotated[Money | None, Field(description="What it cost.")]


@_details
class SiteDetails(TypedDict, total=False):
    """Something written on a review site, a forum, a blog."""

    site: Required[Annotated[Id, Field(description="The site.", examples=["trustpilot"])]]
    rating: Annotated[Rating | None, Field(description="The rating given.")]
    title: Annotated[str | None, Field(description="The title.")]
    url: Annotated[str | None, Field(description="Where it is.")]
    reply_to: Annotated[str | None, Field(description="What it answers.")]


@_details
class SurveyDetails(TypedDict, total=False):
    """Feedback that was asked for; the answer itself goes in `feedback`."""

    survey_id: Annotated[str | None, Field(description="The survey.")]
    question_id: Annotated[str | None, Field(description="The question.")]
    invited_at: Annotated[Moment | None, Field(description="When the customer was asked.")]


@_details
class SelfServiceDetails(TypedDict, total=False):
    """Something the customer did without help, in a portal or by an automated process."""

    action: Annotated[SelfServiceAction | None, Field(description="What was done.")]
    object_id: Annotated[str | None, Field(description="What it was done to.")]


@_details
class PurchaseDetails(TypedDict, total=False):
    """An order or a payment, wherever made."""

    order_id: Required[Annotated[Id, Field(description="The order.", examples=["A-2041"])]]
    total: Annotated[Money | None, Field(description="What the whole order costs.")]
    items: Annotated[list[OrderLine] | None, Field(description="The lines of the order.")]
    status: Annotated[PurchaseStatus | None, Field(description="What became of it.")]
