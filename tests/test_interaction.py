"""The canonical words, and that every channel can be said with them."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from percorso import interaction
from percorso.interaction import (
    CHANNELS,
    DEFAULT_DIRECTION,
    DEFAULT_DIRECTNESS,
    DIRECTIONS,
    DIRECTNESSES,
    ENRICHMENT,
    IDENTIFIER_KINDS_STRONG,
    IDENTIFIER_KINDS_WEAK,
    INTERACTION,
)

FIXTURES = Path(__file__).parent / "fixtures"
DETAILS_REQUIRED = {
    "messaging": "platform",
    "social": "network",
    "store_visit": "location_id",
    "review": "site",
    "community": "site",
    "purchase": "order_id",
}


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FIXTURES / name).read_text().splitlines()]


def valid(**members: Any) -> Any:
    body = {"source": "s", "channel": "phone", "customer": {"email": "a@example.com"}} | members
    return INTERACTION.validate_json(json.dumps(body))


def refused(**members: Any) -> list[tuple[str, tuple[int | str, ...]]]:
    with pytest.raises(ValidationError) as raised:
        valid(**members)
    return [(error["type"], error["loc"][1:]) for error in raised.value.errors()]


def test_every_channel_has_one_type_and_a_line_to_show_it() -> None:
    union = get_args(get_args(interaction.Interaction)[0])
    assert [get_args(get_args(get_args(each.__annotations__["channel"])[0])[0]) for each in union] == [
        (channel,) for channel in CHANNELS
    ]
    assert [each["channel"] for each in lines("every_channel.ndjson")] == list(CHANNELS)


@pytest.mark.parametrize("sent", lines("every_channel.ndjson"), ids=lambda each: each["channel"])
def test_an_interaction_of_each_channel_is_taken_and_keeps_what_it_says(sent: dict[str, Any]) -> None:
    found: Any = INTERACTION.validate_json(json.dumps(sent))
    assert found.keys() == sent.keys()
    assert found["details"].keys() == sent["details"].keys()


@pytest.mark.parametrize("channel", CHANNELS)
def test_details_are_optional_unless_the_channel_means_nothing_without_them(channel: str) -> None:
    if member := DETAILS_REQUIRED.get(channel):
        assert refused(channel=channel) == [("missing", ("details",))]
        assert refused(channel=channel, details={}) == [("missing", ("details", member))]
        assert refused(channel=channel, details={member: None}) == [("string_type", ("details", member))]
        assert valid(channel=channel, details={member: "x"})["details"] == {member: "x"}
    else:
        assert "details" not in valid(channel=channel)
        assert valid(channel=channel, details=None)["details"] is None
        assert valid(channel=channel, details={})["details"] == {}


@pytest.mark.parametrize("channel", CHANNELS)
def test_unknown_details_are_kept_whatever_they_are(channel: str) -> None:
    odd = {"Foo Bar": [1, None, {"x": 1.5}], "": "y"}
    required = DETAILS_REQUIRED.get(channel)
    details = odd | ({required: "x"} if required else {})
    assert valid(channel=channel, details=details)["details"] == details


@pytest.mark.parametrize(
    ("channel", "details", "at"),
    [
        ("phone", {"duration_seconds": -1}, ("details", "duration_seconds")),
        ("phone", {"duration_seconds": "12"}, ("details", "duration_seconds")),
        ("video", {"participants": [1]}, ("details", "participants", 0)),
        ("sms", {"media_count": 1.5}, ("details", "media_count")),
        ("sms", {"media_count": 10**30}, ("details", "media_count")),
        ("messaging", {"platform": ""}, ("details", "platform")),
        ("chat", {"bot": 1}, ("details", "bot")),
        ("email", {"event": "lost"}, ("details", "event")),
        ("social", {"network": "x", "action": "like"}, ("details", "action")),
        ("web", {"utm": {"source": 1}}, ("details", "utm", "source")),
        ("store_visit", {"location_id": "x", "basket": {"currency": "eur"}}, ("details", "basket", "currency")),
        ("store_visit", {"location_id": "x", "basket": {"amount": "12.50"}}, ("details", "basket", "amount")),
        ("kiosk", {"purpose": "play"}, ("details", "purpose")),
        ("mail", {"cost": {"currency": "EURO"}}, ("details", "cost", "currency")),
        ("review", {"site": "x", "rating": {"value": "5"}}, ("details", "rating", "value")),
        ("survey", {"invited_at": "1700000000"}, ("details", "invited_at")),
        ("self_service", {"action": "x"}, ("details", "action")),
        ("purchase", {"order_id": "x" * 257}, ("details", "order_id")),
        ("purchase", {"order_id": "x", "items": [{}, {"price": "1"}]}, ("details", "items", 1, "price")),
        ("other", [], ("details",)),
    ],
)
def test_known_details_are_typed(channel: str, details: Any, at: tuple[str | int, ...]) -> None:
    assert [where for _, where in refused(channel=channel, details=details)] == [at]


def test_every_optional_member_may_be_null() -> None:
    optional = [name for name in interaction.PhoneInteraction.__annotations__ if name not in valid()]
    assert len(optional) == 25
    assert valid(**dict.fromkeys(optional)) == valid() | dict.fromkeys(optional)


@pytest.mark.parametrize("member", ["source", "channel", "customer"])
def test_what_is_required_may_not_be_null(member: str) -> None:
    assert len(refused(**{member: None})) == 1


def test_times_become_aware_datetimes() -> None:
    found = valid(occurred_at="2026-11-20T10:00:00.1239999+01:00")["occurred_at"]
    assert found == datetime.fromisoformat("2026-11-20T09:00:00.123999+00:00")
    assert found.utcoffset().total_seconds() == 3600


def test_the_json_schema_describes_every_member() -> None:
    schemas = INTERACTION.json_schema()["$defs"] | ENRICHMENT.json_schema()["$defs"]
    undescribed = [
        (name, member)
        for name, schema in schemas.items()
        for member, described in schema.get("properties", {}).items()
        if not described.get("description", "").endswith(".")
    ]
    assert undescribed == []
    assert schemas["PhoneInteraction"]["properties"]["occurred_at"]["anyOf"][0]["format"] == "date-time"
    assert schemas["PhoneInteraction"]["properties"]["customer"]["additionalProperties"] is False
    assert INTERACTION.json_schema()["discriminator"]["propertyName"] == "channel"


def test_each_channel_has_a_usual_direction_and_directness() -> None:
    assert tuple(DEFAULT_DIRECTION) == tuple(DEFAULT_DIRECTNESS) == CHANNELS
    assert set(DEFAULT_DIRECTION.values()) <= set(DIRECTIONS)
    assert set(DEFAULT_DIRECTNESS.values()) == set(DIRECTNESSES)
    assert (DEFAULT_DIRECTION["signage"], DEFAULT_DIRECTNESS["signage"]) == ("none", "indirect")
    assert (DEFAULT_DIRECTION["phone"], DEFAULT_DIRECTNESS["phone"]) == ("inbound", "direct")


def test_no_tuple_of_words_repeats_one() -> None:
    for name in ("CHANNELS", "DIRECTIONS", "DIRECTNESSES", "FUNCTIONS", "STATUSES", "OUTCOMES", "RESOLUTIONS"):
        words = getattr(interaction, name)
        assert words
        assert len(words) == len(set(words))
    assert not set(IDENTIFIER_KINDS_STRONG) & set(IDENTIFIER_KINDS_WEAK)
    assert (len(interaction.SENTIMENT_LABELS), len(interaction.METRICS), len(interaction.STAGES)) == (4, 6, 7)


def test_the_story_of_one_customer_can_be_told() -> None:
    story = lines("interactions.ndjson")
    assert len({each["occurred_at"] for each in story}) == len({(each["source"], each["id"]) for each in story}) == 26
    for each in story:
        INTERACTION.validate_json(json.dumps(each))


def test_the_story_holds_together_by_strong_identifiers() -> None:
    groups: list[set[str]] = []
    for each in lines("interactions.ndjson"):
        linked = {
            f"{kind}:{value}"
            for kind, values in each["customer"].items()
            if kind in IDENTIFIER_KINDS_STRONG
            for value in (values if isinstance(values, list) else [values])
        }
        apart = [group for group in groups if not group & linked]
        groups = [*apart, linked.union(*(group for group in groups if group & linked))]
    groups = [group for group in groups if group]
    assert len(groups) == 1
    assert len(groups[0]) == 7
