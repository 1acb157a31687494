"""TMF683 Party Interaction, version 4: a resource to an interaction, and an interaction to a resource.

| resource                          | interaction                                                             |
| --------------------------------- | ----------------------------------------------------------------------- |
| `externalIdentifier[0].id`, `id`  | `id`, the sender's; where neither is given one is assigned              |
| (the name of the key)             | `source`                                                                |
| `channel[0]`                      | `channel`, by its id, name or role (`CHANNEL_OF`), else `other`         |
| `channel[0].id`                   | `touchpoint`; made a slug, with a hash, where it is none                |
| `direction`                       | `direction` (`DIRECTION_OF`); of another word: the usual of the channel |
| `reason`                          | `kind`, as a slug                                                       |
| `description`                     | `text`                                                                  |
| `status`                          | `status` (`STATUS_OF`)                                                  |
| `interactionDate.startDateTime`   | `occurred_at`; absent: `creationDate`, or the time of receipt           |
| `interactionDate.endDateTime`     | `ended_at`                                                              |
| `relatedParty[]`, role customer   | `customer`: its id as `customer_id`, or as its kind where `kind:value`  |
| `relatedParty[]`, role agent …    | `agent` (`AGENTS`)                                                      |
| `interactionItem[].item`, ticket  | `case` (`CASES`)                                                        |
| `attachment[]` with `url`, `href` | `attachments[]`                                                         |
| all of it, unknown members too    | `attributes.tmf683`, byte for byte                                      |

Version 5 has `relatedChannel[].channel` and `relatedParty[].partyOrPartyRole`; they are read too.

Who is named by no party with the role of customer is nobody known: the interaction then has a weak identifier of its
own, of kind `party_interaction`.
"""

import re
import secrets
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from percorso.errors import Problem
from percorso.formats.merge_patch import merged
from percorso.formats.tmf683_reading import (
    MANDATORY,
    MOST_ID,
    MOST_VALUE,
    Object,
    channels,
    moment_in,
    parties,
    sender_id_of,
    wrong,
)
from percorso.formats.tmf683_words import (
    AGENTS,
    CASES,
    CHANNEL_OF,
    DIRECTION_OF,
    NEEDS,
    NOT_IN_WORDS,
    SHOWN_STATUSES,
    STATUS_OF,
    word,
)
from percorso.interaction import DEFAULT_DIRECTION, IDENTIFIER_RANK, TOUCHPOINT_PATTERN

ROOT: Final = "/tmf-api/partyInteraction/v4"
KEPT: Final = "tmf683"
"""The attribute that keeps a resource as it was given."""
NOBODY: Final = "party_interaction"
"""The kind of the identifier that stands for an unknown customer."""

_BACK: Final = (
    ("/occurred_at", "/interactionDate/startDateTime"),
    ("/ended_at", "/interactionDate/endDateTime"),
    ("/customer", "/relatedParty"),
    ("/text", "/description"),
    ("/kind", "/reason"),
    ("/agent", "/relatedParty"),
    ("/case", "/interactionItem"),
    ("/id", "/externalIdentifier/0/id"),
    ("/touchpoint", "/channel/0/id"),
    ("/details", "/channel/0/id"),
    ("/attachments", "/attachment"),
    (f"/attributes/{KEPT}", ""),
)
_ENRICHED: Final = ("status", "description", "attachment")
_FIXED: Final = ("id", "href", "creationDate")
_slug: Final = re.compile(TOUCHPOINT_PATTERN).match
_MOST_KIND: Final = 64
_MOST_SLUG: Final = 128
_MOST_URL: Final = 2048


class CannotMap(Exception):
    """A resource that no interaction can be made of, with what is to be mended in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__()
        self.problems = problems


def interaction(resource: Any, raw: bytes, *, source: str, assigned: str | None = None) -> bytes:
    """The interaction, as JSON, of a resource that was read from `raw`; CannotMap where it lacks what it must have.

    Where it has no id of its own it gets the one `assigned`, else a new one.
    """
    if problems := list(wrong(resource)):
        raise CannotMap(problems)
    sender_id = sender_id_of(resource) or assigned or secrets.token_hex(16)
    first = channels(resource)[0]
    channel, said_by = _channel(first)
    date = resource.get("interactionDate") or {}
    made: Object = {
        "source": source,
        "id": sender_id,
        "occurred_at": date.get("startDateTime") or moment_in(resource.get("creationDate")),
        "ended_at": date.get("endDateTime"),
        "channel": channel,
        "kind": _kind(resource["reason"]),
        "touchpoint": None if first["id"] == channel else touchpoint(first["id"]),
        "direction": DIRECTION_OF.get(word(resource["direction"])),
        "customer": _customer(resource) or {NOBODY: f"{source}:{sender_id}"[:MOST_VALUE]},
        "agent": _agent(resource),
        "case": _case(resource),
        "details": {NEEDS[channel]: (said_by if channel in {"messaging", "social"} else first["id"])[:MOST_ID]}
        if channel in NEEDS
        else None,
        **{name: value for name, value in _enriching(resource).items() if value is not None},
    }
    said = {name: value for name, value in made.items() if value is not None}
    return msgspec.json.encode(said | {"attributes": {KEPT: msgspec.Raw(raw.strip())}})


def sender(resource: Any, *, source: str) -> bytes | None:
    """Who sent a resource that is refused, and whom it names, as an interaction says so; None where that is unread."""
    if not isinstance(resource, dict):
        return None
    found = resource.get("relatedParty")
    named = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return msgspec.json.encode(
        {
            "source": source,
            "id": resource.get("id") if isinstance(resource.get("id"), str) else None,
            "customer": _customer({"relatedParty": named}),
        }
    )


def resource(document: Mapping[str, Any], *, interaction_id: str, received_at: str, base: str) -> Object:
    """The resource that shows a stored document: what was given, over what the mapping says, and the server's members.

    `base` is the service's address as clients see it, without a slash at its end.
    """
    attributes = document.get("attributes")
    kept = attributes.get(KEPT) if isinstance(attributes, Mapping) else None
    shown = _shown(document) | (kept if isinstance(kept, dict) else {})
    created = shown.get("creationDate") or received_at
    own = {"id": interaction_id, "href": f"{base}{ROOT}/partyInteraction/{interaction_id}", "creationDate": created}
    date = shown.get("interactionDate")
    usual = "completed" if isinstance(date, Mapping) and date.get("endDateTime") else "opened"
    shown.setdefault("status", usual)
    shown.setdefault("statusChangeDate", created)
    shown.setdefault("@type", "PartyInteraction")
    return own | {name: value for name, value in shown.items() if name not in own}


def enrichment(document: Mapping[str, Any], shown: Mapping[str, Any], patch: Any, *, now: str) -> Object:
    """The merge patch of the interaction that a merge patch of its resource comes to.

    `shown` is the resource as it stands, `now` the moment, for the status that changes. CannotMap where the patch
    changes what cannot be changed, or leads to what no resource may be.
    """
    if not isinstance(patch, dict):
        raise CannotMap([Problem("", "must be an object")])
    problems = [
        Problem(f"/{name}", "cannot be changed") for name in _FIXED if name in patch and patch[name] != shown.get(name)
    ]
    problems += [Problem(f"/{name}", "is mandatory: it cannot be removed") for name in MANDATORY if _gone(patch, name)]
    said = {name: value for name, value in patch.items() if name not in _FIXED}
    if patch.get("status", shown.get("status")) != shown.get("status"):
        said.setdefault("statusChangeDate", now)
    after = merged(shown, said)
    problems = problems or list(wrong(after, whole=False))
    if not problems and _first_id(after) != _first_id(shown):
        problems = [Problem("/channel/0/id", "cannot be changed: the interaction is filed under it")]
    if not problems and _customers(after) != _customers(shown):
        problems = [Problem("/relatedParty", "must leave the customer as it is: the interaction is filed under it")]
    if problems:
        raise CannotMap(problems)
    attributes = document.get("attributes")
    kept = attributes.get(KEPT) if isinstance(attributes, Mapping) else None
    kept = kept if isinstance(kept, dict) else {}
    # What was not given as a resource stands in the interaction alone: there, the whole member is put down.
    whole = {name: value if name in kept or value is None else after[name] for name, value in said.items()}
    enriched = _enriching(after)
    words = {"status": "status", "description": "text", "attachment": "attachments"}
    return {words[name]: enriched[words[name]] for name in _ENRICHED if name in patch} | {"attributes": {KEPT: whole}}


def at_resource(problems: Sequence[Problem]) -> list[Problem]:
    """The same problems of an interaction, pointing at the members of the resource that it was made of."""
    return [Problem(_pointed(problem.pointer), problem.detail) for problem in problems]


def touchpoint(channel_id: str) -> str:
    """The touchpoint of a channel's id: itself where it is a slug, and else one that no other id has."""
    if len(channel_id) <= _MOST_SLUG and _slug(channel_id) and not channel_id.endswith("\n"):
        return channel_id
    plain = unicodedata.normalize("NFKD", channel_id).encode("ascii", "ignore").decode().lower()
    digest = blake2b(channel_id.encode(), digest_size=4, person=b"tmf683").hexdigest()
    return f"{NOT_IN_WORDS.sub('-', plain).strip('-')[:100] or 'channel'}-{digest}"


def _first_id(resource: Mapping[str, Any]) -> Any:
    return next((channel.get("id") for channel in channels(resource)), None)


def _customers(resource: Mapping[str, Any]) -> set[str]:
    return {id_ for role, id_ in parties(resource) if role == "customer"}


def _channel(given: Object) -> tuple[str, str]:
    """The channel by a table, and the word that said so."""
    for name in ("id", "name", "role"):
        said = word(given.get(name))
        if said in CHANNEL_OF:
            return CHANNEL_OF[said], said
    return "other", ""


def _customer(resource: Object) -> Object:
    """The identifiers of the customer: of each kind, that of the first party that has one."""
    found: dict[str, str] = {}
    for role, id_ in parties(resource):
        if role == "customer":
            kind, colon, value = id_.partition(":")
            known = bool(colon) and bool(value.strip()) and (kind in IDENTIFIER_RANK or kind == NOBODY)
            found.setdefault(kind if known else "customer_id", value if known else id_)
    return found


def _agent(resource: Object) -> str | None:
    return next((id_[:MOST_ID] for role, id_ in parties(resource) if role in AGENTS), None)


def _case(resource: Object) -> str | None:
    for each in resource.get("interactionItem") or ():
        item = each.get("item")
        if isinstance(item, dict) and isinstance(item.get("id"), str):
            words = {word(item.get(name)) for name in ("@referredType", "@type", "role")}
            if not words.isdisjoint(CASES):
                found: str = item["id"][:MOST_ID]
                return found
    return None


def _enriching(resource: Mapping[str, Any]) -> Object:
    """What of a resource may change after it was stored, as members of the interaction; None removes."""
    attachments = [
        {"url": url, "media_type": _short(each.get("mimeType")), "name": _short(each.get("name"))}
        for each in resource.get("attachment") or ()
        if isinstance(url := each.get("url") or each.get("href"), str) and url and len(url) <= _MOST_URL
    ]
    told = [{name: value for name, value in each.items() if value is not None} for each in attachments]
    return {
        "status": STATUS_OF.get(word(resource.get("status"))),
        "text": resource.get("description"),
        "attachments": told[:50] or None,
    }


def _shown(document: Mapping[str, Any]) -> Object:
    """What the mapping says of an interaction, whatever format it came in."""
    channel = document["channel"]
    status = document.get("status")
    shown: Object = {
        "description": document.get("text"),
        "direction": document.get("direction") or DEFAULT_DIRECTION[channel],
        "reason": document.get("kind") or channel,
        "status": None if status is None else SHOWN_STATUSES.get(status, status),
        "channel": [{"id": document.get("touchpoint") or channel, "name": channel}],
        "interactionDate": _only(startDateTime=document.get("occurred_at"), endDateTime=document.get("ended_at")),
        "relatedParty": list(_parties_of(document)) or None,
        "externalIdentifier": [_only(id=document.get("id"), owner=document.get("source"))],
        "attachment": [
            _only(url=each.get("url"), mimeType=each.get("media_type"), name=each.get("name"))
            for each in document.get("attachments") or ()
        ]
        or None,
        "interactionItem": None
        if document.get("case") is None
        else [{"item": {"id": document["case"], "@referredType": "TroubleTicket"}}],
    }
    return {name: value for name, value in shown.items() if value is not None}


def _parties_of(document: Mapping[str, Any]) -> Iterator[Object]:
    for kind, values in document["customer"].items():
        if kind != NOBODY:
            for value in values if isinstance(values, list) else [values]:
                named = value if kind == "customer_id" else f"{kind}:{value}"
                yield {"id": named, "role": "customer", "@referredType": "Individual"}
    if document.get("agent") is not None:
        yield {"id": document["agent"], "role": "agent", "@referredType": "Individual"}


def _only(**members: Any) -> Object:
    return {name: value for name, value in members.items() if value is not None}


def _short(given: Any) -> str | None:
    return given if isinstance(given, str) and len(given) <= MOST_ID else None


def _gone(patch: Object, name: str) -> bool:
    return name in patch and patch[name] is None


def _kind(reason: str) -> str:
    plain = unicodedata.normalize("NFKD", reason).encode("ascii", "ignore").decode()
    return word(plain)[:_MOST_KIND].strip("_") or "other"


def _pointed(pointer: str) -> str:
    for ours, theirs in _BACK:
        if pointer == ours or pointer.startswith(f"{ours}/"):
            return theirs + pointer[len(ours) :] if ours in {"/attachments", f"/attributes/{KEPT}"} else theirs
    return pointer
