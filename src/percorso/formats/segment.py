"""Segment's and RudderStack's calls, from the bytes of a request to interactions.

| the call has | the interaction has |
| --- | --- |
| (the key's name) | `source` |
| `messageId` | `id` |
| `timestamp`, else `originalTimestamp` | `occurred_at`, set right by `sentAt` where the sender's clock is wrong |
| `userId`; `anonymousId` | `customer.user_id`; `customer.anonymous_id` |
| `email`, `phone` of `context.traits` and of an identify's traits | `customer.email`, `customer.phone`, where valid |
| `previousId` (alias) | one more `customer.user_id` and, since it may be either, `customer.anonymous_id` |
| `event` (track) | `kind`, its slug; channel and more by the table in `segment_events` |
| `page`; `screen` | `kind` page_viewed on the web; screen_viewed in the app |
| `identify`, `alias`, `group` | that as `kind`; the traits are the customer's besides, a group's as `group_…` |
| `context.library`, `channel`, else what else `context` tells | `channel` web or app, or other |
| `context.page`, `.campaign`, `.device`, `.os`, `.app`, `.sessionId`; `properties` of a page | `details`, `campaign` |
| `context.locale` | `language` |
| `properties`; `traits` | `attributes`, as they came |
| every other member | `source_fields`, as it came; a batch's `context` and `integrations` fill up its calls' own |

`writeKey`, `sentAt` and the count of retries say how a call was sent and not what happened, and are not kept: each try
to send a call again then says the same. A `groupId` is no identifier: a group has many people in it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from percorso.details import MOMENT_PATTERN, rfc3339
from percorso.errors import Problem, RejectedInteraction
from percorso.formats import segment_events
from percorso.formats.segment_bodies import CALLS, UNREADABLE, Sent, decode_members, moment, read_loosely
from percorso.formats.segment_events import Object, Parts, object_of, said, slug, text
from percorso.interaction import LANGUAGE_PATTERN

EARLIEST: Final = timedelta(seconds=-5)
LATEST: Final = timedelta(seconds=60)
"""How much sooner or later than its `sentAt` a request may arrive with the sender's clock still taken to be right.

A request waits its turn and is sent again, some clients with the first `sentAt`: to take that for a wrong clock would
put its calls after later ones, and give a call sent twice two moments.
"""

Fits = Callable[[str, str], bool]
"""Whether a value is one of this kind of identifier."""

_TYPES: Final = tuple(dict.fromkeys(CALLS.values()))
_APPS: Final = re.compile("ios|android|swift|kotlin|react-native|flutter|unity|xamarin|cordova|mobile", re.IGNORECASE)
_SITES: Final = re.compile(r"analytics\.js|analytics-next|javascript|(^|[.-])(js|web|browser)$", re.IGNORECASE)
_PLATFORMS: Final = {"web": "web", "browser": "web", "mobile": "app"}
_UNKEPT: Final = frozenset({"messageId", "userId", "anonymousId", "writeKey", "sentAt"})
_MOST_TRAITS: Final = 100
_as_sent: Final = re.compile(MOMENT_PATTERN).match
_language: Final = re.compile(LANGUAGE_PATTERN).match


class Call(NamedTuple):
    """A call as an interaction: its JSON, whether the time in it was set right, whom it names, what traits it says."""

    document: bytes
    estimated: bool
    customer: Mapping[str, str | list[str]]
    traits: Mapping[str, Any]


_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def convert(call: bytes, sent: Sent, *, source: str, received_at: datetime, fits: Fits) -> Call:
    """The interaction that a call is; RejectedInteraction, with pointers into the call, where it is none."""
    try:
        raw, said_ = decode_members(call), _decode(call)
    except UNREADABLE as error:
        raise _refusal([Problem("", f"is not a call: {error}")]) from None
    type_ = sent.type or said_.get("type")
    if type_ not in _TYPES:
        raise _refusal([Problem("/type", f"must be one of {', '.join(_TYPES)}")])
    context = object_of(said_.get("context"))
    if sent.defaults is not None:
        context = _filled(raw, said_, sent.defaults)
    message_id = text(said_.get("messageId"), 1 << 16)
    if message_id is None and said_.get("messageId") not in (None, ""):
        raise _refusal([Problem("/messageId", "must be a string: a call sent again is known by it")])
    customer = _customer(said_, type_, context, fits)
    document: Parts = {"source": source, "customer": customer}
    if message_id is not None:
        document["id"] = message_id
    word, estimated = _time(document, said_, sent, received_at)
    own, traits = "properties", {}
    if type_ in {"identify", "group"}:
        own = "traits"
        traits = _traits(said_, type_, context)
    properties = object_of(said_.get(own))
    _describe(document, type_, said_, properties, context)
    left_out = {own, word} if properties else {word}
    if properties:
        document["attributes"] = raw[own]
    document["source_fields"] = _rest(raw, type_, left_out)
    return Call(_encode(document), estimated, customer, traits)


def sender(call: bytes, *, source: str) -> bytes:
    """Who sent a call that is refused, and whom it names, as an interaction says so: as far as it can be read."""
    said_ = read_loosely(call)
    traits = {**object_of(object_of(said_.get("context")).get("traits")), **object_of(said_.get("traits"))}
    customer = {
        "user_id": [said_.get("userId"), said_.get("previousId")],
        "anonymous_id": [said_.get("anonymousId"), said_.get("previousId")],
        **{kind: [traits.get(kind)] for kind in ("email", "phone")},
    }
    named = {kind: [text(value) for value in values] for kind, values in customer.items()}
    return _encode({"source": source, "id": text(said_.get("messageId")), "customer": named})


def _filled(raw: dict[str, Raw], said_: Parts, defaults: Object) -> Object:
    """Let a call have what its batch says of all; its context."""
    for name, given in defaults.items():
        own = said_.get(name)
        if own is None or isinstance(own, dict):
            said_[name] = given | own if own else given
            raw[name] = Raw(_encode(said_[name]))
    return object_of(said_.get("context"))


def _customer(said_: Object, type_: str, context: Object, fits: Fits) -> dict[str, str | list[str]]:
    problems: list[Problem] = []
    user, anonymous = (_identifier(said_, name, problems) for name in ("userId", "anonymousId"))
    previous = _identifier(said_, "previousId", problems) if type_ == "alias" else None
    if not problems and type_ == "alias" and (user is None or previous is None):
        missing = "/userId" if user is None else "/previousId"
        problems.append(Problem(missing, "is required: an alias is of two identifiers"))
    elif not problems and user is None and anonymous is None:
        problems.append(Problem("", "must have a userId or an anonymousId"))
    if problems:
        raise _refusal(problems)
    customer: dict[str, str | list[str]] = {}
    if user is not None:
        customer["user_id"] = user
    # A call of the browser's alias names the anonymous id that it was known by.
    if previous is not None and user is not None and previous not in {user, anonymous}:
        customer |= {
            "user_id": [user, previous],
            "anonymous_id": previous if anonymous is None else [anonymous, previous],
        }
    elif anonymous is not None or previous is not None:
        customer["anonymous_id"] = anonymous or previous or ""
    return customer | _contacts(said_, type_, context, fits)


def _contacts(said_: Object, type_: str, context: Object, fits: Fits) -> dict[str, str]:
    """The customer's address and number; what cannot be one stays a trait, and nothing else."""
    traits = object_of(context.get("traits"))
    if type_ == "identify":
        traits = {**traits, **object_of(said_.get("traits"))}
    if not traits:
        return {}
    given = {kind: value for kind in ("email", "phone") if (value := text(traits.get(kind)))}
    return {kind: value for kind, value in given.items() if fits(kind, value)}


def _identifier(said_: Object, name: str, problems: list[Problem]) -> str | None:
    value = said_.get(name)
    if isinstance(value, str):
        return value if value and not value.isspace() else None
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return text(value)
    problems.append(Problem(f"/{name}", "must be a string"))
    return None


def _time(document: Parts, said_: Object, sent: Sent, received_at: datetime) -> tuple[str, bool]:
    """Say when it happened; the member that says just that, if any, and whether the time was set right.

    What was received by another before has been set right there.
    """
    name = "timestamp" if said_.get("timestamp") is not None else "originalTimestamp"
    word = said_.get(name)
    if word is None:
        return "", False
    original = moment(word)
    if original is None:
        raise _refusal([Problem(f"/{name}", "must be a date and time by ISO 8601, such as 2026-11-20T10:00:00.000Z")])
    sent_at = sent.sent_at or moment(said_.get("sentAt"))
    if sent_at is not None and said_.get("receivedAt") is None:
        wrong_by = received_at - sent_at
        if not EARLIEST <= wrong_by <= LATEST:
            try:
                document["occurred_at"] = rfc3339(original + wrong_by)
            except OverflowError:
                raise _refusal([Problem(f"/{name}", "is too far from now")]) from None
            return "", True
    if _as_sent(word):
        document["occurred_at"] = word
        return name, False
    document["occurred_at"] = rfc3339(original)
    return "", False


def _describe(document: Parts, type_: str, said_: Object, properties: Object, context: Object) -> None:
    """Say what happened, and where."""
    channel = {"page": "web", "screen": "app"}.get(type_) or _platform(said_, context)
    document["channel"], document["kind"] = channel, type_
    if type_ == "track":
        event = said_.get("event")
        if not isinstance(event, str) or not event:
            raise _refusal([Problem("/event", "must be a string, and not be empty")])
        document["kind"] = slug(event) or type_
        if meaning := segment_events.EVENTS.get(document["kind"]):
            document.update(meaning.members)
            document.update((meaning.of and meaning.of(properties, context)) or {})
    elif type_ in {"page", "screen"}:
        document["kind"] = f"{type_}_viewed"
    if not context and type_ not in {"page", "screen"}:
        return
    campaign = object_of(context.get("campaign"))
    if campaign and (name := text(campaign.get("name"))):
        document.setdefault("campaign", name)
    if isinstance(locale := context.get("locale"), str) and (language := _tag(locale)):
        document["language"] = language
    if document["channel"] in {"web", "app"} and (details := _screen(type_, said_, properties, context, campaign)):
        document["details"] = details


def _platform(said_: Object, context: Object) -> str:
    """Web or app, by what the client says of itself, else of the customer's device; other where it says neither."""
    for word in (said_.get("channel"), context.get("channel")):
        if isinstance(word, str) and (known := _PLATFORMS.get(word)):
            return known
    name = object_of(context.get("library")).get("name")
    if isinstance(name, str) and (known := _platform_of(name)):
        return known
    if context.get("page"):
        return "web"
    if context.get("app") or context.get("device"):
        return "app"
    return "web" if context.get("userAgent") else "other"


@lru_cache(512)
def _platform_of(library: str) -> str | None:
    if _APPS.search(library):
        return "app"
    return "web" if _SITES.search(library) else None


@lru_cache(512)
def _tag(locale: str) -> str | None:
    tag = locale.replace("_", "-")
    return tag if len(tag) <= 35 and _language(tag) else None  # noqa: PLR2004 - as long as a language may be


def _screen(type_: str, said_: Object, properties: Object, context: Object, campaign: Object) -> Parts:
    page = object_of(context.get("page"))
    own = type_ in {"page", "screen"}
    details = {}
    for name in ("url", "path", "title", "referrer"):
        value = (own and text(properties.get(name), 8192)) or text(page.get(name), 8192)
        if value:
            details[name] = value
    if own and (name_ := text(said_.get("name")) or text(properties.get("name"))):
        details["name"] = name_
    device, os_, app = (object_of(context.get(name)) for name in ("device", "os", "app"))
    details |= said(
        session_id=text(context.get("sessionId")),
        device=text(device.get("type")) or text(device.get("model")),
        os=" ".join(filter(None, (text(os_.get("name")), text(os_.get("version"))))) or None,
        app_version=text(app.get("version")),
        utm=said(
            campaign=text(campaign.get("name")),
            **{name: text(campaign.get(name)) for name in ("source", "medium", "term", "content")},
        ),
    )
    return details


def _traits(said_: Object, type_: str, context: Object) -> dict[str, Any]:
    """What a call says of the customer, by name; a name that is not a slug by its slug, if no other has that."""
    given = object_of(said_.get("traits"))
    before = ""
    if type_ == "identify":
        given = {**object_of(context.get("traits")), **given}
    else:
        before = "group_"
        if group := said_.get("groupId"):
            given = {**given, "id": group}
    traits: dict[str, Any] = {}
    for name, value in given.items():
        fit = slug(name)
        if fit and (fit == name or fit not in given) and len(traits) < _MOST_TRAITS:
            traits[f"{before}{fit}"[: segment_events.LONGEST_SLUG]] = value
    return traits


def _rest(raw: Mapping[str, Raw], type_: str, left_out: set[str]) -> dict[str, Any]:
    """The sender's own words that have no other place."""
    rest: dict[str, Any] = {"type": type_}
    for name, value in raw.items():
        if name in _UNKEPT or name in left_out or name == "type" or bytes(value) == b"null":
            continue
        rest[name] = value
    if (sending := rest.get("_metadata")) and b'"retryCount"' in bytes(sending):
        rest["_metadata"] = {name: value for name, value in object_of(_decode(sending)).items() if name != "retryCount"}
    return rest


def _refusal(problems: Sequence[Problem]) -> RejectedInteraction:
    return RejectedInteraction("It is not a call that can be taken.", problems=problems)
