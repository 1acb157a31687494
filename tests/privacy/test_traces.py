"""What is a trace of an identifier in a text, and what only looks like one."""

import json
import re

import pytest
from asyncpg.pgproto.pgproto import UUID
from hypothesis import given
from hypothesis import strategies as st

from percorso.ingest import traces
from percorso.ingest.identity import Identifiers
from percorso.storage.erasures import Erased
from percorso.storage.rejected import MATCHES
from writing import Database

SALT = b"salt of the tests"


def erased(kind: str, value: str) -> Erased:
    found = Identifiers(SALT, None, 10).one(kind, value)
    return Erased(found.id, found.kind, found.value)


ANNA = erased("email", "anna@example.com")
PHONE = erased("phone", "+390669821234")
ZOE = erased("email", "zoë.o'hara+x@example.com")
PATH = erased("user_id", "corp\\anna.rossi")
SHORT = erased("crm_id", "C-17")

TRACES = [
    (ANNA, "anna@example.com"),
    (ANNA, "<Anna@EXAMPLE.com>, and others"),
    (ANNA, "mailto:anna@example.com."),
    (ANNA, "?to=anna@example.com&x=1"),
    (ANNA, 'said:\\nanna@example.com"'),
    (PHONE, "+390669821234"),
    (PHONE, "00390669821234"),
    (PHONE, "390669821234"),
    (PHONE, "+39 06 6982-1234"),
    (PHONE, "(+39) 066.982/1234,"),
    (ZOE, "to zoë.o'hara+x@example.com"),
    (PATH, "CORP\\Anna.Rossi logged in"),
]
NO_TRACES = [
    (ANNA, "joanna@example.com"),
    (ANNA, "x.anna@example.com"),
    (ANNA, "x-anna@example.com"),
    (ANNA, "anna@example.community"),
    (ANNA, "anna@example-com"),
    (ANNA, "annaxexample.com"),
    (PHONE, "+3906698212345"),
    (PHONE, "1390669821234"),
    (PHONE, "39 06 6982 123"),
    (PATH, "corp/anna.rossi"),
]


@pytest.mark.parametrize(("of", "text"), TRACES)
async def test_a_trace_is_found_in_texts_and_in_bytes(database: Database, of: Erased, text: str) -> None:
    assert traces.in_text([SHORT, of]).search(text)
    assert await matches(database, [SHORT, of], text.encode())
    assert await matches(database, [of], b"\xff\x00" + text.encode() + b"\x00\xfe")


@pytest.mark.parametrize(("of", "text"), NO_TRACES)
async def test_what_only_looks_like_a_trace_is_none(database: Database, of: Erased, text: str) -> None:
    assert not traces.in_text([SHORT, of]).search(text)
    assert not await matches(database, [SHORT, of], text.encode())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"crm_id": "C-17"', True),
        ('"crm_id":"c-17","', True),
        ("crm_id=C-17", True),
        ("crm_id;C-17;", True),
        ("crm_id: C-170", False),
        ("C-17", False),
        ('"seat": "C-17"', False),
    ],
)
async def test_a_short_identifier_is_a_trace_only_after_its_kind(database: Database, text: str, *, found: bool) -> None:
    assert not traces.in_text([SHORT]).search(text)
    assert await matches(database, [SHORT], text.encode()) is found


async def matches(database: Database, of: list[Erased], payload: bytes) -> bool:
    pattern, needles = traces.in_bytes(of)
    condition = MATCHES.format(pattern="$2", needles="$3::text[]")
    columns = "payload, source, sender_id, errors, replay_errors"
    sql = f"SELECT {condition} FROM (VALUES ($1::bytea, '', '', '[]', '[]')) AS item({columns})"  # noqa: S608 - constants of the program
    return bool(await database.fetchval(sql, payload, pattern, needles))


@given(
    st.from_regex(r"[A-Za-z0-9!$^*(){}|?\\+.\[\]\"' é-]{7,30}", fullmatch=True).filter(
        lambda text: text == text.strip()
    ),
    st.text(alphabet=" ,;:<>\n", max_size=5),
    st.text(alphabet=" ,;:<>\n", max_size=5),
)
async def test_whatever_an_identifier_is_it_is_found(database: Database, value: str, before: str, after: str) -> None:
    of = [Erased(UUID(bytes(16)), "user_id", value)]
    text = f"{before}{value}{after}"
    assert traces.in_text(of).search(text)
    assert await matches(database, of, text.encode())


def without(document: dict[str, object], *of: Erased) -> dict[str, object] | None:
    identifiers = Identifiers(SALT, None, 10)
    found = traces.without(json.dumps(document), of, identifiers, traces.in_text(of))
    return None if found is None else json.loads(found)


def test_a_document_without_traces_is_left_as_it_is() -> None:
    assert without({"customer": {"email": "beppe@example.com"}, "text": "x", "n": [1, None, True]}, ANNA, PHONE) is None


def test_an_identifier_is_taken_from_the_customer_in_whatever_form_it_was_given() -> None:
    customer = {
        "email": ["ANNA@Example.com", "b@example.com"],
        "phone": "+39 06 6982 1234",
        "crm_id": ["C-17"],
        "x": "C-17",
    }
    assert without({"customer": customer}, ANNA, PHONE, SHORT) == {
        "customer": {"email": ["b@example.com"], "x": "C-17"}
    }


def test_names_and_members_at_any_depth_are_cleaned_and_nothing_else() -> None:
    document = {
        "customer": {"x": "1"},
        "attributes": {"anna@example.com": [{"of": "Anna@example.com's"}, "joanna@example.com", 1.5, None, False]},
    }
    assert without(document, ANNA) == {
        "customer": {"x": "1"},
        "attributes": {"[erased]": [{"of": "[erased]'s"}, "joanna@example.com", 1.5, None, False]},
    }


def test_what_cannot_be_normalised_any_more_is_left() -> None:
    """Such as a number that was given without its country, under another default region."""
    assert without({"customer": {"phone": "06 6982", "email": "no address"}}, ANNA) is None


def test_nothing_is_found_for_nothing() -> None:
    assert not traces.in_text([SHORT]).search("")
    assert re.compile(traces.in_text([]).pattern).search("anything") is None
