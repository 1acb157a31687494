"""The canonical words: what an interaction is, in every channel, and which words it may use.

`INTERACTION` validates one from JSON. A null member is the same as an absent one; unknown members are refused, but
for those of `details`, `attributes` and `source_fields`, which are kept as they were sent.
"""

from typing import Annotated, Final, Literal, Required, get_args

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from percorso import details as of

Channel = Literal[
    "phone", "video", "sms", "messaging", "chat", "email", "social", "web", "app", "store_visit", "field_visit",
    "kiosk", "event", "mail", "fax", "ad", "signage", "review", "survey", "community", "self_service", "purchase",
    "other",
]  # fmt: skip
Direction = Literal["inbound", "outbound", "internal", "none"]
Directness = Literal["direct", "indirect"]
Function = Literal["marketing", "sales", "service", "billing", "delivery", "product", "retention", "other"]
Status = Literal["open", "in_progress", "completed", "failed", "cancelled"]
Outcome = Literal[
    "answered", "no_answer", "busy", "voicemail", "abandoned", "delivered", "bounced", "opened", "clicked", "replied",
    "subscribed", "unsubscribed", "complained", "purchased", "transferred", "other",
]  # fmt: skip
Resolution = Literal["resolved", "unresolved", "escalated", "follow_up", "not_applicable"]
SentimentLabel = of.SentimentLabel
Metric = of.Metric
Stage = Literal["awareness", "consideration", "purchase", "onboarding", "use", "service", "loyalty"]

CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)
DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)
DIRECTNESSES: Final[tuple[Directness, ...]] = get_args(Directness)
FUNCTIONS: Final[tuple[Function, ...]] = get_args(Function)
STATUSES: Final[tuple[Status, ...]] = get_args(Status)
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
RESOLUTIONS: Final[tuple[Resolution, ...]] = get_args(Resolution)
SENTIMENT_LABELS: Final[tuple[SentimentLabel, ...]] = get_args(SentimentLabel)
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)

IDENTIFIER_KINDS_STRONG: Final = (
    "customer_id", "crm_id", "account_id", "loyalty_id", "user_id", "email", "phone", "whatsapp", "social", "tax_id",
)  # fmt: skip
"""Kinds that say who someone is, strongest first."""
IDENTIFIER_KINDS_WEAK: Final = ("device_id", "anonymous_id", "cookie_id", "session_id")
"""Kinds that several people may share, strongest first; any other kind is weaker still."""

_DEFAULTS: Final[dict[Channel, tuple[Direction, Directness]]] = {
    "phone": ("inbound", "direct"),
    "video": ("inbound", "direct"),
    "sms": ("outbound", "direct"),
    "messaging": ("inbound", "direct"),
    "chat": ("inbound", "direct"),
    "email": ("outbound", "direct"),
    "social": ("inbound", "direct"),
    "web": ("inbound", "indirect"),
    "app": ("inbound", "direct"),
    "store_visit": ("inbound", "direct"),
    "field_visit": ("outbound", "direct"),
    "kiosk": ("inbound", "direct"),
    "event": ("inbound", "direct"),
    "mail": ("outbound", "direct"),
    "fax": ("inbound", "direct"),
    "ad": ("outbound", "indirect"),
    "signage": ("none", "indirect"),
    "review": ("inbound", "indirect"),
    "survey": ("outbound", "direct"),
    "community": ("inbound", "indirect"),
    "self_service": ("inbound", "direct"),
    "purchase": ("inbound", "direct"),
    "other": ("none", "direct"),
}
DEFAULT_DIRECTION: Final[dict[Channel, Direction]] = {channel: way for channel, (way, _) in _DEFAULTS.items()}
"""Who most often begins an interaction of this channel, where the sender does not say."""
DEFAULT_DIRECTNESS: Final[dict[Channel, Directness]] = {channel: near for channel, (_, near) in _DEFAULTS.items()}
"""Whether an interaction of this channel is with the organisation itself, where the sender does not say."""

IDENTIFIER_RANK: Final = {kind: rank for rank, kind in enumerate((*IDENTIFIER_KINDS_STRONG, *IDENTIFIER_KINDS_WEAK))}
WEAKEST_RANK: Final = len(IDENTIFIER_RANK)
"""Of any other kind. What names several identifiers is stored under the one of lowest rank."""

KIND_PATTERN = r"^[a-z0-9][a-z0-9_.-]*$"
TOUCHPOINT_PATTERN = r"^[a-z0-9][a-z0-9_./:-]*$"
IDENTIFIER_KIND_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
LANGUAGE_PATTERN = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"
IDENTIFIER_PATTERN = r"[^\s\x1c-\x1f]"
"""At least one character that is not white space."""

Source = Annotated[str, Field(min_length=1, max_length=128)]
Kind = Annotated[str, Field(max_length=64, pattern=KIND_PATTERN)]
TouchpointSlug = Annotated[str, Field(max_length=128, pattern=TOUCHPOINT_PATTERN)]
Language = Annotated[str, Field(max_length=35, pattern=LANGUAGE_PATTERN)]
Topic = Annotated[str, Field(min_length=1, max_length=128)]
Sentiment = of.Sentiment
Feedback = of.Feedback
Attachment = of.Attachment
IdentifierKind = Annotated[str, Field(pattern=IDENTIFIER_KIND_PATTERN)]
Identifier = Annotated[str, Field(max_length=512, pattern=IDENTIFIER_PATTERN)]
Identifiers = dict[
    IdentifierKind,
    Annotated[
        Identifier | Annotated[list[Identifier], Field(min_length=1, max_length=50)],
        # Strings and lists are told apart by type alone, so the first that fits is the only one.
        Field(union_mode="left_to_right"),
    ],
]

_closed = with_config(ConfigDict(extra="forbid", strict=True))


@_closed
class Enrichment(TypedDict, total=False):
    """What may be added to an interaction, or changed, after it was stored."""

    status: Annotated[Status | None, Field(description="How far it has come.")]
    outcome: Annotated[Outcome | None, Field(description="How it ended.")]
    resolution: Annotated[Resolution | None, Field(description="Whether the customer's matter is settled.")]
    sentiment: Annotated[of.Sentiment | None, Field(description="How the customer felt.")]
    feedback: Annotated[
        Annotated[list[of.Feedback], Field(max_length=50)] | None, Field(description="What the customer thought of it.")
    ]
    topics: Annotated[
        Annotated[list[Topic], Field(max_length=50)] | None,
        Field(description="What it was about.", examples=[["billing"]]),
    ]
    text: Annotated[str | None, Field(description="What was said or written.")]
    attachments: Annotated[
        Annotated[list[of.Attachment], Field(max_length=50)] | None, Field(description="Files that belong to it.")
    ]
    attributes: Annotated[of.Object | None, Field(description="Anything else, kept as it is.")]


@_closed
class AnyInteraction(Enrichment, total=False):
    """What interactions of every channel have in common."""

    source: Required[Annotated[Source, Field(description="The system that sends it.", examples=["crm"])]]
    id: Annotated[
        Annotated[str, Field(min_length=1, max_length=256)] | None,
        Field(
            description="The source's own id of it, by which a repetition is recognised. Absent: one is assigned, and "
            "repetitions cannot be recognised.",
            examples=["call-8731"],
        ),
    ]
    customer: Required[
        Annotated[
            Identifiers,
            Field(
                min_length=1,
                max_length=50,
                description="Who it was with: at least one identifier, by kind. Known kinds are, strongest first: "
                f"{', '.join(IDENTIFIER_KINDS_STRONG + IDENTIFIER_KINDS_WEAK)}. A value may be a list.",
                examples=[{"email": "anna@example.com", "phone": "+39066982", "crm_id": "C-17"}],
                json_schema_extra={"additionalProperties": False},
            ),
        ]
    ]
    occurred_at: Annotated[of.Moment | None, Field(description="When it began. Absent: when it is received.")]
    ended_at: Annotated[of.Moment | None, Field(description="When it ended.")]
    kind: Annotated[Kind | None, Field(description="What happened, as a slug.", examples=["support_call"])]
    touchpoint: Annotated[
        TouchpointSlug | None,
        Field(description="Where customer and organisation met. Absent: the channel.", examples=["support-line"]),
    ]
    direction: Annotated[Direction | None, Field(description="Who began it. Absent: what is usual in the channel.")]
    directness: Annotated[
        Directness | None,
        Field(description="Whether they met each other, or through something else. Absent: what is usual."),
    ]
    function: Annotated[Function | None, Field(description="Which part of the organisation it concerns.")]
    agent: Annotated[of.Name | None, Field(description="Who attended to the customer.", examples=["agent-12"])]
    location: Annotated[of.Name | None, Field(description="Where it took place.", examples=["milano-01"])]
    campaign: Annotated[of.Name | None, Field(description="The campaign it belongs to.", examples=["spring"])]
    conversation: Annotated[of.Name | None, Field(description="The conversation it belongs to.", examples=["conv-9"])]
    case: Annotated[of.Name | None, Field(description="The case it belongs to.", examples=["case-4"])]
    language: Annotated[Language | None, Field(description="BCP 47 tag of the language used.", examples=["it"])]
    source_fields: Annotated[of.Object | None, Field(description="The sender's own words for what was mapped.")]


_CHANNEL: Final = Field(description="By what means they met.")
_DETAILS: Final = Field(description="What only interactions of this channel have; unknown members are kept.")


@_closed
class PhoneInteraction(AnyInteraction, total=False):
    """A call, an IVR, a voicemail."""

    channel: Required[Annotated[Literal["phone"], _CHANNEL]]
    details: Annotated[of.CallDetails | None, _DETAILS]


@_closed
class VideoInteraction(AnyInteraction, total=False):
    """A video call or conference."""

    channel: Required[Annotated[Literal["video"], _CHANNEL]]
    details: Annotated[of.CallDetails | None, _DETAILS]


@_closed
class SmsInteraction(AnyInteraction, total=False):
    """A text message."""

    channel: Required[Annotated[Literal["sms"], _CHANNEL]]
    details: Annotated[of.SmsDetails | None, _DETAILS]


@_closed
class MessagingInteraction(AnyInteraction, total=False):
    """A message on WhatsApp, Messenger, RCS and the like."""

    channel: Required[Annotated[Literal["messaging"], _CHANNEL]]
    details: Required[Annotated[of.MessagingDetails, _DETAILS]]


@_closed
class ChatInteraction(AnyInteraction, total=False):
    """A chat with a person or a bot."""

    channel: Required[Annotated[Literal["chat"], _CHANNEL]]
    details: Annotated[of.ChatDetails | None, _DETAILS]


@_closed
class EmailInteraction(AnyInteraction, total=False):
    """A mail, or what became of one."""

    channel: Required[Annotated[Literal["email"], _CHANNEL]]
    details: Annotated[of.EmailDetails | None, _DETAILS]


@_closed
class SocialInteraction(AnyInteraction, total=False):
    """A public act on a social network."""

    channel: Required[Annotated[Literal["social"], _CHANNEL]]
    details: Required[Annotated[of.SocialDetails, _DETAILS]]


@_closed
class WebInteraction(AnyInteraction, total=False):
    """A page seen."""

    channel: Required[Annotated[Literal["web"], _CHANNEL]]
    details: Annotated[of.ScreenDetails | None, _DETAILS]


@_closed
class AppInteraction(AnyInteraction, total=False):
    """A screen seen."""

    channel: Required[Annotated[Literal["app"], _CHANNEL]]
    details: Annotated[of.ScreenDetails | None, _DETAILS]


@_closed
class StoreVisitInteraction(AnyInteraction, total=False):
    """The customer in a store."""

    channel: Required[Annotated[Literal["store_visit"], _CHANNEL]]
    details: Required[Annotated[of.StoreVisitDetails, _DETAILS]]


@_closed
class FieldVisitInteraction(AnyInteraction, total=False):
    """A technician or sales person at the customer's."""

    channel: Required[Annotated[Literal["field_visit"], _CHANNEL]]
    details: Annotated[of.VisitDetails | None, _DETAILS]


@_closed
class KioskInteraction(AnyInteraction, total=False):
    """The customer at a totem or terminal."""

    channel: Required[Annotated[Literal["kiosk"], _CHANNEL]]
    details: Annotated[of.VisitDetails | None, _DETAILS]


@_closed
class EventInteraction(AnyInteraction, total=False):
    """The customer at a fair or another event."""

    channel: Required[Annotated[Literal["event"], _CHANNEL]]
    details: Annotated[of.VisitDetails | None, _DETAILS]


@_closed
class MailInteraction(AnyInteraction, total=False):
    """A letter or printed matter."""

    channel: Required[Annotated[Literal["mail"], _CHANNEL]]
    details: Annotated[of.PlacementDetails | None, _DETAILS]


@_closed
class FaxInteraction(AnyInteraction, total=False):
    """A fax."""

    channel: Required[Annotated[Literal["fax"], _CHANNEL]]
    details: Annotated[of.PlacementDetails | None, _DETAILS]


@_closed
class AdInteraction(AnyInteraction, total=False):
    """An advertisement seen."""

    channel: Required[Annotated[Literal["ad"], _CHANNEL]]
    details: Annotated[of.PlacementDetails | None, _DETAILS]


@_closed
class SignageInteraction(AnyInteraction, total=False):
    """A billboard or a shelf sign seen."""

    channel: Required[Annotated[Literal["signage"], _CHANNEL]]
    details: Annotated[of.PlacementDetails | None, _DETAILS]


@_closed
class ReviewInteraction(AnyInteraction, total=False):
    """A review on a review site."""

    channel: Required[Annotated[Literal["review"], _CHANNEL]]
    details: Required[Annotated[of.SiteDetails, _DETAILS]]


@_closed
class SurveyInteraction(AnyInteraction, total=False):
    """Feedback that was asked for."""

    channel: Required[Annotated[Literal["survey"], _CHANNEL]]
    details: Annotated[of.SurveyDetails | None, _DETAILS]


@_closed
class CommunityInteraction(AnyInteraction, total=False):
    """Something written in a forum or a blog."""

    channel: Required[Annotated[Literal["community"], _CHANNEL]]
    details: Required[Annotated[of.SiteDetails, _DETAILS]]


@_closed
class SelfServiceInteraction(AnyInteraction, total=False):
    """Something the customer did without help."""

    channel: Required[Annotated[Literal["self_service"], _CHANNEL]]
    details: Annotated[of.SelfServiceDetails | None, _DETAILS]


@_closed
class PurchaseInteraction(AnyInteraction, total=False):
    """An order or a payment."""

    channel: Required[Annotated[Literal["purchase"], _CHANNEL]]
    details: Required[Annotated[of.PurchaseDetails, _DETAILS]]


@_closed
class OtherInteraction(AnyInteraction, total=False):
    """What no other channel fits; its details may be anything."""

    channel: Required[Annotated[Literal["other"], _CHANNEL]]
    details: Annotated[of.Object | None, _DETAILS]


Interaction = Annotated[
    PhoneInteraction
    | VideoInteraction
    | SmsInteraction
    | MessagingInteraction
    | ChatInteraction
    | EmailInteraction
    | SocialInteraction
    | WebInteraction
    | AppInteraction
    | StoreVisitInteraction
    | FieldVisitInteraction
    | KioskInteraction
    | EventInteraction
    | MailInteraction
    | FaxInteraction
    | AdInteraction
    | SignageInteraction
    | ReviewInteraction
    | SurveyInteraction
    | CommunityInteraction
    | SelfServiceInteraction
    | PurchaseInteraction
    | OtherInteraction,
    Field(discriminator="channel"),
]
"""One interaction; `channel` says which of them it is."""

INTERACTION: Final[TypeAdapter[Interaction]] = TypeAdapter(Interaction)
ENRICHMENT: Final[TypeAdapter[Enrichment]] = TypeAdapter(Enrichment)
