"""The mapping of TMF683 resources: words, versions, touchpoints, and that nothing is lost on the way."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percorso.formats import tmf683, tmf683_asked, tmf683_events
from percorso.formats.tmf683_words import CHANNEL_OF, NEEDS, word
from percorso.interaction import CHANNELS, INTERACTION, TOUCHPOINT_PATTERN

Object = dict[str, Any]

USUAL: Object = {"channel": [{"id": "phone"}], "direction": "inbound", "reason": "question"}
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef@.", max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
NAMES = st.sampled_from(
    ["id", "href", "channel", "direction", "reason", "status", "description", "interactionDate", "relatedParty",
     "attachment", "note", "externalIdentifier", "interactionItem", "relatedChannel", "creationDate", "@type"]
) | st.text("xyz", min_size=1, max_size=5)  # fmt: skip


def mapped(**members: Any) -> Object:
    given = {name: value for name, value in (USUAL | members).items() if value is not None}
    made: Object = json.loads(tmf683.interaction(given, json.dumps(given).encode(), source="crm"))
    INTERACTION.validator.validate_json(json.dumps(made))
    return made


def check_reasons(error: tmf683.CannotMap) -> None:
    assert all(each.detail for each in error.problems)
    assert error.problems


def shown(document: Object) -> Object:
    return tmf683.resource(document, interaction_id="i", received_at="2026-03-01T00:00:00Z", base="https://p.test")


@pytest.mark.parametrize("said", sorted(CHANNEL_OF))
def test_every_word_of_the_table_makes_a_valid_interaction_of_its_channel(said: str) -> None:
    for channel in ({"id": said}, {"id": "77", "name": said.replace("_", " ").title()}, {"id": "77", "role": said}):
        made = mapped(channel=[channel])
        assert made["channel"] == CHANNEL_OF[said]
        assert made.get("touchpoint", made["channel"]) == channel["id"]


def test_the_tables_name_channels_that_exist() -> None:
    assert set(CHANNEL_OF.values()) == set(CHANNELS) - {"purchase"}
    assert set(NEEDS) <= set(CHANNELS)


def test_a_channel_that_no_table_knows_is_other_and_is_kept() -> None:
    made = mapped(channel=[{"id": "Carrier Pigeon", "name": "bird"}, {"id": "phone"}])
    assert made["channel"] == "other"
    assert made["attributes"]["tmf683"]["channel"][0] == {"id": "Carrier Pigeon", "name": "bird"}


@pytest.mark.parametrize(
    ("given", "direction", "status"),
    [("inbounds", "inbound", "open"), ("OUTBOUND", "outbound", "open"), ("sideways", None, "open")],
)
def test_directions_and_statuses_are_made_canonical_and_given_back_as_they_were(
    given: str, direction: str | None, status: str
) -> None:
    made = mapped(direction=given, status="Opened")
    assert (made.get("direction"), made["status"]) == (direction, status)
    assert (shown(made)["direction"], shown(made)["status"]) == (given, "Opened")
    assert mapped(status="inProgress")["status"] == "in_progress"
    assert "status" not in mapped(status="on the moon")


def test_the_customer_is_the_party_of_that_role_and_else_nobody_known() -> None:
    parties = [
        {"id": "a-1", "role": "agent"},
        {"id": "16", "role": "CUSTOMER"},
        {"id": "17", "role": "customer"},
        {"id": "email:anna@example.com", "role": "customer"},
        {"id": "urn:x:1", "role": "customer"},
    ]
    assert mapped(relatedParty=parties)["customer"] == {"customer_id": "16", "email": "anna@example.com"}
    assert mapped(relatedParty=parties)["agent"] == "a-1"
    [(kind, value)] = mapped(id="x")["customer"].items()
    assert (kind, value) == ("party_interaction", "crm:x")
    assert "relatedParty" not in shown(mapped(id="x"))


def test_a_resource_of_version_5_is_read_too() -> None:
    made = mapped(
        channel=None,
        relatedChannel=[{"role": "main", "channel": {"id": "email", "@type": "ChannelRef"}}],
        relatedParty=[{"role": "customer", "partyOrPartyRole": {"id": "16", "@type": "PartyRef"}}],
        externalIdentifier=[{"id": "e-1", "externalIdentifierType": "x", "@type": "ExternalIdentifier"}],
    )
    assert (made["channel"], made["customer"], made["id"]) == ("email", {"customer_id": "16"}, "e-1")


def test_channels_have_touchpoints_of_their_own() -> None:
    assert tmf683.touchpoint("support-line") == "support-line"
    for one, other in (
        ("Call Center", "call center"),
        ("日本", "中国"),
        ("a" * 200, "a" * 201),
        ("a\n", "a"),
        (" ", "  "),
    ):
        made = tmf683.touchpoint(one)
        assert made != tmf683.touchpoint(other)
        assert len(made) <= 128
        assert tmf683.touchpoint(made) == made


@given(st.text(min_size=1, max_size=300))
def test_every_channel_id_makes_a_valid_touchpoint(channel_id: str) -> None:
    try:
        made = tmf683.touchpoint(channel_id)
    except UnicodeEncodeError:
        return  # half of a surrogate pair, which no JSON that is taken has
    assert re.fullmatch(TOUCHPOINT_PATTERN, made)


@given(st.dictionaries(NAMES, JSON, max_size=6))
def test_whatever_is_posted_is_refused_with_reasons_or_comes_back_as_it_was(members: Object) -> None:
    given = USUAL | members
    raw = json.dumps(given).encode()
    try:
        made = json.loads(tmf683.interaction(given, raw, source="crm"))
    except tmf683.CannotMap as error:
        check_reasons(error)
        return
    back = shown(made)
    own = {"id", "href", "creationDate"} & given.keys()
    assert {name: back[name] for name in given.keys() - own} == {name: given[name] for name in given.keys() - own}


@given(st.dictionaries(NAMES, JSON, max_size=4), st.dictionaries(NAMES, JSON, max_size=4))
def test_whatever_is_patched_is_refused_with_reasons_or_can_be_shown(members: Object, patch: Object) -> None:
    given = USUAL | members
    try:
        document = json.loads(tmf683.interaction(given, json.dumps(given).encode(), source="crm"))
        before = shown(document)
        made = tmf683.enrichment(document, before, patch, now="2026-03-02T00:00:00Z")
    except tmf683.CannotMap as error:
        check_reasons(error)
        return
    assert made["attributes"].keys() == {"tmf683"}
    assert made.keys() <= {"status", "text", "attachments", "attributes"}


@given(JSON | st.dictionaries(NAMES, JSON, max_size=6), st.dictionaries(NAMES, JSON, max_size=4))
def test_an_attribute_that_no_resource_made_does_no_harm(junk: Any, patch: Object) -> None:
    document = mapped() | {"attributes": {"tmf683": junk}}
    before = shown(document)
    assert before["id"] == "i"
    try:
        tmf683.enrichment(document, before, patch, now="2026-03-02T00:00:00Z")
    except tmf683.CannotMap as error:
        check_reasons(error)


@given(JSON, st.lists(st.text("ab.", min_size=1, max_size=4), max_size=3))
def test_filters_look_into_anything(resource: Any, names: list[str]) -> None:
    shown_ = {"a": resource, "b": [resource, {"a": resource}]}
    for each in tmf683_asked.filters([(name, "x") for name in names if not name.startswith(".")]):
        assert each.fits(shown_) in {True, False}


def test_words_are_the_same_however_they_are_written() -> None:
    assert {word(each) for each in ("inProgress", "In progress", "in-progress", "IN_PROGRESS")} == {"in_progress"}
    assert word(7) == ""


def test_a_change_of_the_status_alone_is_one_of_the_status_alone() -> None:
    before = {"status": "opened", "statusChangeDate": "a", "reason": "x"}
    after = before | {"status": "completed", "statusChangeDate": "b"}
    assert tmf683_events.of_change(before, after) == [tmf683_events.STATUS]
    assert tmf683_events.of_change(before, before | {"note": []}) == [tmf683_events.CHANGED]
    assert tmf683_events.of_change(before, after | {"reason": "y"}) == [tmf683_events.CHANGED, tmf683_events.STATUS]
    assert tmf683_events.of_change(before, before) == []
