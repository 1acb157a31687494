"""Rows of delimited text become interactions as a mapping says."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from percorso.errors import StartupError
from percorso.formats.mapping import RowMapping, parse
from percorso.formats.rows import Refused, Rows, delimited

ORDERS = """
source = "orders"
constants = { channel = "purchase", "details.total.currency" = "EUR" }
time = { column = "when", format = "%d.%m.%Y %H:%M", zone = "Europe/Rome" }
id = { columns = ["order"] }
customer.email = { column = "mail" }

[fields]
"details.order_id" = { column = "order" }
"details.total.amount" = { column = "sum", type = "number" }
"""
HEADER = ("order", "when", "mail", "sum")


def mapping(text: str) -> RowMapping:
    return parse(text, name="test.toml")


def only(fields: str, *, more: str = "") -> str:
    """A mapping with these fields, and little else."""
    return (
        f'source = "s"\n{more}\n[constants]\nchannel = "other"\n[customer.email]\ncolumn = "mail"\n[fields]\n{fields}'
    )


def raw(text: str, *cells: str, columns: Sequence[str] = ("mail", "x")) -> bytes:
    made = Rows(mapping(text), columns).read(cells)
    assert isinstance(made, bytes)
    return made


def made(text: str, *cells: str, columns: Sequence[str] = ("mail", "x")) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(raw(text, *cells, columns=columns))
    return document


def refused(text: str, *cells: str, columns: Sequence[str] = ("mail", "x")) -> Refused:
    found = Rows(mapping(text), columns).read(cells)
    assert isinstance(found, Refused)
    return found


def pointers(found: Refused) -> list[str]:
    return [problem.pointer for problem in found.problems]


def problems_of(text: str) -> dict[str, str]:
    with pytest.raises(StartupError) as caught:
        mapping(text)
    return {problem.pointer: problem.detail for problem in caught.value.problems}


def test_a_row_becomes_an_interaction() -> None:
    assert made(ORDERS, "A-1", "02.07.2026 10:30", "anna@example.com", "12.50", columns=HEADER) == {
        "source": "orders",
        "id": "A-1",
        "channel": "purchase",
        "occurred_at": "2026-07-02T10:30:00+02:00",
        "customer": {"email": "anna@example.com"},
        "details": {"order_id": "A-1", "total": {"currency": "EUR", "amount": 12.5}},
        "source_fields": {"when": "02.07.2026 10:30"},
    }


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("12.50", "12.50"), ("0", "0"), ("-0.10", "-0.10"), ("1e3", "1e3"), ("+5", "5"), ("007", "7"), (".5", "0.5"),
        ("5.", "5"), ("-00.5", "-0.5"), ("12345678901234567890.123456789", "12345678901234567890.123456789"),
    ],
)  # fmt: skip
def test_a_number_keeps_its_digits(cell: str, written: str) -> None:
    assert f'"details":{{"n":{written}}}'.encode() in raw(
        only('"details.n" = { column = "x", type = "number" }'), "a@b.it", cell
    )


def test_a_decimal_comma_is_read_where_the_mapping_says_so() -> None:
    text = only('"details.n" = { column = "x", type = "number" }', more='file = { delimiter = ";", decimal = "," }')
    assert b'"n":12.50' in raw(text, "a@b.it", "12,50")
    assert pointers(refused(text, "a@b.it", "12.50")) == ["/details/n"]


@pytest.mark.parametrize(
    ("told", "cell", "value"),
    [
        ('type = "integer"', "0042", 42),
        ('type = "integer"', "-7", -7),
        ('type = "boolean"', "Yes", True),
        ('type = "boolean"', "0", False),
        ('type = "slug"', " Add To Cart! ", "add_to_cart"),
        ('type = "slug", prefix = "shop/"', "Home", "shop/home"),
        ('pattern = "n-([0-9]+)"', "n-12", "12"),
        ("map = { a = 1, b = true }", "b", True),
        ('map = { a = "x" }, default = "y"', "c", "y"),
        ('default = "y"', "", "y"),
        ('type = "time", format = "unix"', "1710324074", "2024-03-13T10:01:14Z"),
        ('type = "time", format = "unix_ms"', "1710324074250", "2024-03-13T10:01:14.250000Z"),
        ('type = "time"', "2024-03-13T10:01:14+01:00", "2024-03-13T10:01:14+01:00"),
        ('type = "time", zone = "UTC"', "2024-03-13 10:01:14", "2024-03-13T10:01:14Z"),
        ('type = "time", format = "%Y-%m-%d %H:%M:%S%z"', "2024-03-13 10:01:14+0530", "2024-03-13T10:01:14+05:30"),
    ],
)  # fmt: skip
def test_a_cell_is_read_as_its_type_says(told: str, cell: str, value: object) -> None:
    found = made(only(f'"details.v" = {{ column = "x", {told} }}'), "a@b.it", cell)
    assert found["details"] == {"v": value}
    assert type(found["details"]["v"]) is type(value)


@pytest.mark.parametrize(
    ("told", "cell"),
    [
        ('type = "number"', "12,50"),
        ('type = "number"', "NaN"),
        ('type = "number"', "1_000"),
        ('type = "integer"', "1.0"),
        ('type = "boolean"', "maybe"),
        ('type = "slug"', "!?"),
        ('pattern = "n-([0-9]+)"', "12"),
        ('type = "time"', "2024-03-13T10:01:14"),
        ('type = "time"', "2024-02-30T10:01:14Z"),
        ('type = "time", format = "unix"', "1e99"),
        ('type = "time", format = "%Y%m%d", zone = "UTC"', "20240230"),
    ],
)
def test_a_cell_that_cannot_be_read_refuses_its_row_and_is_kept_as_it_is(told: str, cell: str) -> None:
    found = refused(only(f'"details.v" = {{ column = "x", {told} }}'), "a@b.it", cell)
    assert pointers(found) == ["/details/v"]
    assert "column x" in found.problems[0].detail
    assert cell not in found.problems[0].detail
    document = json.loads(found.document)
    assert document["details"] == {"v": cell}
    assert document["customer"] == {"email": "a@b.it"}


def test_an_empty_cell_leaves_its_member_out() -> None:
    found = made(only('"details.v" = { column = "x", type = "number" }'), "a@b.it", "  ")
    assert "details" not in found
    assert "source_fields" not in found


def test_a_table_of_values_without_a_default_leaves_other_values_out() -> None:
    text = only('status = { column = "x", map = { broken = "failed" } }')
    assert made(text, "a@b.it", "broken")["status"] == "failed"
    assert "status" not in made(text, "a@b.it", "fine")


def test_a_member_may_be_told_for_some_rows_only() -> None:
    text = only(
        '"details.a" = { value = 1, when = { x = ["one", "two"] } }\n"details.b" = { id = true, when = { x = "two" } }'
    )
    assert made(text, "a@b.it", "one")["details"] == {"a": 1}
    assert made(text, "a@b.it", "two")["details"] == {"a": 1, "b": "a@b.it|two"}
    assert "details" not in made(text, "a@b.it", "three")


def test_the_channel_may_depend_on_the_row() -> None:
    text = """
    source = "shop"
    [customer.user_id]
    column = "user"
    [fields]
    channel = { column = "event", map = { purchase = "purchase" }, default = "web" }
    "details.order_id" = { id = true, when = { event = "purchase" } }
    """
    columns = ("user", "event")
    assert made(text, "7", "home", columns=columns)["channel"] == "web"
    bought = made(text, "7", "purchase", columns=columns)
    assert (bought["channel"], bought["details"]) == ("purchase", {"order_id": bought["id"]})


def test_digits_in_a_name_are_places_in_a_list() -> None:
    text = only('"feedback.0.metric" = { value = "csat" }\n"feedback.0.score" = { column = "x", type = "integer" }\n'
                '"details.lines.0.a.1" = { column = "x" }\n"details.lines.2.b" = { column = "x" }')  # fmt: skip
    found = made(text, "a@b.it", "4")
    assert found["feedback"] == [{"metric": "csat", "score": 4}]
    assert found["details"] == {"lines": [{"a": ["4"]}, {"b": "4"}]}
    assert made(text, "a@b.it", "")["feedback"] == [{"metric": "csat"}]


def test_what_stands_nowhere_else_is_kept_unless_it_is_not_wanted() -> None:
    told = '"details.v" = { column = "x" }\nkind = { column = "y", type = "slug" }'
    columns = ("mail", "x", "y", "rest", "empty")
    cells = ("a@b.it", "1", "Big Thing", "more", "")
    assert made(only(told), *cells, columns=columns)["source_fields"] == {"y": "Big Thing", "rest": "more"}
    assert "source_fields" not in made(only(told, more="keep_rest = false"), *cells, columns=columns)


def test_equal_rows_have_ids_of_their_own_and_the_same_ones_every_time() -> None:
    told = mapping(only("", more='id = { columns = ["mail", "x"], occurrence = true }'))
    rows = [("a", "1"), ("a", "2"), ("a", "1"), ("a", "1"), ("a|1", ""), ("a", "1#2")]

    def ids() -> list[str]:
        one = Rows(told, ("mail", "x"))
        documents = [one.read(row) for row in rows]
        return [json.loads(document)["id"] for document in documents if isinstance(document, bytes)]

    assert ids() == ["a|1", "a|2", "a|1#2", "a|1#3", "a%7C1|", "a|1%232"]
    assert ids() == ids()


def test_without_an_id_the_whole_row_is_its_id() -> None:
    rows = Rows(mapping(only("")), ("mail", "x"))
    documents = [rows.read(("a@b.it", "1")) for _ in range(2)]
    assert [json.loads(each)["id"] for each in documents if isinstance(each, bytes)] == ["a@b.it|1", "a@b.it|1#2"]


def test_a_long_id_is_hashed_and_still_its_own() -> None:
    one, other = (made(only(""), "a@b.it", "x" * 300 + end)["id"] for end in "ab")
    assert one != other
    assert len(one) == len(other) == 32


def test_a_row_of_another_length_is_refused_with_all_its_cells() -> None:
    found = refused(only(""), "a@b.it", "1", "2")
    assert found.problems[0].detail == "has 3 cells, and the file 2 columns"
    assert json.loads(found.document)["source_fields"] == {"row": ["a@b.it", "1", "2"]}


def test_a_cell_in_another_encoding_is_refused() -> None:
    cell = b"caf\xe9".decode(errors="surrogateescape")
    found = refused(only('"details.v" = { column = "x" }'), "a@b.it", cell)
    assert found.problems[0].detail == "is not text in the encoding utf-8 (column x)"
    assert json.loads(found.document)["source_fields"] == {"row": ["a@b.it", "caf\ufffd"]}


def test_rows_are_numbered_by_the_line_they_begin_on() -> None:
    form = mapping(only("")).file
    lines = ["a,b\r\n", "\r\n", '1,"two\n', 'lines"\n', '"bad"x,2\n', "3,4"]
    assert list(delimited(lines, form)) == [
        (1, ["a", "b"]),
        (3, ["1", "two\nlines"]),
        (5, "is no row of a delimited file: ',' expected after '\"'"),
        (6, ["3", "4"]),
    ]


def test_cells_may_stand_apart_by_blanks() -> None:
    form = mapping(only("", more='file = { delimiter = "whitespace" }')).file
    assert list(delimited([" a  b\r\n", "\r\n", "1\t2\r\n"], form)) == [(1, ["a", "b"]), (3, ["1", "2"])]


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(StartupError) as caught:
        Rows(mapping(ORDERS), ("order", "when", "email", "summ"))
    assert "order, when, email, summ" in caught.value.detail
    found = {problem.pointer: problem.detail for problem in caught.value.problems}
    assert found["customer.email.column"] == "there is no column 'mail'; did you mean email?"
    assert found["fields.details.total.amount.column"] == "there is no column 'sum'; did you mean summ?"


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(StartupError, match="two columns named 'order'"):
        Rows(mapping(ORDERS), ("order", "order", "when", "mail", "sum"))


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        (ORDERS.replace("source =", "sorce ="), "sorce", "did you mean source?"),
        (ORDERS.replace("source =", "sorce ="), "source", "is required"),
        (ORDERS.replace('zone = "Europe/Rome"', 'zone = "Rome"'), "time.zone", "time zone of the IANA database"),
        (ORDERS.replace(', zone = "Europe/Rome"', ""), "time", "must have a `zone`"),
        (ORDERS.replace("%d.%m", "%d.%Q"), "time.format", "rfc3339, unix, unix_ms, or a format"),
        (ORDERS.replace("time = { column", "time = { colum"), "time.colum", "did you mean column?"),
        (ORDERS.replace('"purchase"', '"purchases"'), "constants.channel", "did you mean purchase?"),
        (ORDERS.replace('channel = "purchase", ', ""), "constants.channel", "is required, here or in [fields]"),
        (ORDERS.replace('"number"', '"money"'), "fields.details.total.amount.type", "'number'"),
        (ORDERS.replace('customer.email = { column = "mail" }', ""), "customer", "is required"),
        (ORDERS.replace("customer.email", "customer.E-Mail"), "customer.E-Mail", "lower-case letters"),
        (ORDERS.replace('columns = ["order"]', "columns = []"), "id.columns", "at least 1"),
        (ORDERS + 'id = { column = "order" }', "fields.id", "is told in the table [id]"),
        (ORDERS + 'touchpont = { column = "order" }', "fields.touchpont", "did you mean touchpoint?"),
        (ORDERS + 'details = { column = "order" }', "fields.details", "must name one value"),
        (ORDERS + 'details.device = { column = "order" }', "fields.details.device", "written in quotes"),
        (ORDERS + 'kind = { column = "order", value = "x" }', "fields.kind", "exactly one of"),
        (ORDERS + 'kind = { value = "x", type = "slug" }', "fields.kind", "`type` goes with `column` only"),
        (ORDERS + 'kind = { column = "order", zone = "UTC" }', "fields.kind", "goes with `type"),
        (ORDERS + 'kind = { column = "order", pattern = "x" }', "fields.kind.pattern", "one group"),
        (ORDERS + 'kind = { column = "order", pattern = "(" }', "fields.kind.pattern", "not a regular expression"),
        (ORDERS + 'status = { column = "order", map = { a = "done" } }', "fields.status", "completed"),
        (ORDERS + 'channel = { column = "order" }', "fields.channel", "in [constants] already"),
        (ORDERS + '[file]\ndelimiter = ",,"', "file.delimiter", "one character"),
        (ORDERS + '[file]\nencoding = "utf-9"', "file.encoding", "not an encoding"),
        (ORDERS + "[file]\nheader = false", "file", "`columns` where `header = false`"),
        (ORDERS.replace("constants =", "constants.details.device = 'x'\nconsts ="), "constants.details", "in quotes"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_mapping_is_named_by_its_key(text: str, key: str, says: str) -> None:
    found = problems_of(text)
    assert says in found[key], found


def test_text_that_is_not_toml_is_said_to_be_none() -> None:
    with pytest.raises(StartupError, match=r"test\.toml is not TOML"):
        mapping("source = ")
