"""Answers that are tables, in each form: read back they say the same."""

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow as pa
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from exchanges import check_problem, store_all
from percorso.errors import NotAcceptable
from percorso.http import problems
from percorso.http.middleware import Observed
from percorso.http.negotiation import chosen
from percorso.http.tables import ANY_FORM, ARROW, CSV, JSON, OFFERED, PARQUET, Columns, table
from percorso.http.touchpoints import COLUMNS as REGISTRY
from support import Make

PATH = "/v1/touchpoints"
COLUMNS: Columns = {
    "name": "text",
    "count": "integer",
    "nps.score": "number",
    "at": "moment",
    "rising": "flag",
    "topics": "texts",
}
AT_TEXT = "2026-03-01T12:30:15.123Z"
AT = datetime(2026, 3, 1, 12, 30, 15, 123000, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {"name": "=1+1", "count": -3, "nps.score": -0.1, "at": AT, "rising": True, "topics": ["a,b", "=c", "ü"]},
    {"name": 'say "hi",\nthere', "count": 2**40, "nps.score": 1e300, "at": None, "rising": False, "topics": []},
    {"name": "@x", "nps.score": float("nan"), "topics": None},
    {"name": "-", "count": 0, "nps.score": 2, "at": AT, "rising": None, "topics": ["-"]},
    {"name": "plain - text", "count": None, "nps.score": None},
]
AS_OF = "2026-03-02T00:00:00.000Z"
DOCUMENT = {"items": [{"name": row["name"]} for row in ROWS], "as_of": AS_OF, "from": AT_TEXT, "to": None}


async def answered(accept: str | None, rows: list[dict[str, Any]] = ROWS) -> httpx.Response:
    """The answer of a service whose one route is a table."""
    app = FastAPI()
    problems.install(app)

    @app.get("/", dependencies=[ANY_FORM])
    async def read(request: Request) -> Response:
        return await table(request, rows, COLUMNS, document=DOCUMENT)

    transport = httpx.ASGITransport(Observed(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://percorso.test") as client:
        del client.headers["accept"]
        return await client.get("/", headers={} if accept is None else {"Accept": accept})


def arrow_of(answer: httpx.Response) -> pa.Table:
    if answer.headers["content-type"] == PARQUET:
        return parquet.read_table(io.BytesIO(answer.content))
    return pa.ipc.open_stream(answer.content).read_all()


async def test_csv_is_read_back_with_its_header_and_no_formulae() -> None:
    answer = await answered(CSV)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.content.count(b"\r\n") == 1 + len(ROWS)
    header, *rows = csv.reader(io.StringIO(answer.content.decode(), newline=""))
    assert header == list(COLUMNS)
    assert rows == [
        ["'=1+1", "-3", "-0.1", AT_TEXT, "true", '["a,b","=c","ü"]'],
        ['say "hi",\nthere', str(2**40), "1e+300", "", "false", "[]"],
        ["'@x", "", "", "", "", ""],
        ["'-", "0", "2.0", AT_TEXT, "", '["-"]'],
        ["plain - text", "", "", "", "", ""],
    ]


@pytest.mark.parametrize("form", [ARROW, PARQUET])
async def test_arrow_and_parquet_are_read_back_with_types_and_what_the_figures_are_of(form: str) -> None:
    answer = await answered(form)
    assert answer.headers["content-type"] == form
    read = arrow_of(answer)
    assert read.schema.types == [
        pa.string(),
        pa.int64(),
        pa.float64(),
        pa.timestamp("ms", "UTC"),
        pa.bool_(),
        pa.list_(pa.string()),
    ]
    known = [{name: row.get(name) for name in COLUMNS} for row in ROWS]
    known[2]["nps.score"] = None
    assert read.to_pylist() == known
    metadata = {name: value for name, value in read.schema.metadata.items() if name in {b"as_of", b"from", b"to"}}
    assert metadata == {b"as_of": AS_OF.encode(), b"from": AT_TEXT.encode()}


@pytest.mark.parametrize("form", OFFERED)
async def test_a_table_without_rows_still_has_its_columns(form: str) -> None:
    answer = await answered(form, rows=[])
    if form == CSV:
        assert answer.text == ",".join(COLUMNS) + "\r\n"
    elif form != JSON:
        assert arrow_of(answer).column_names == list(COLUMNS)


@pytest.mark.parametrize("form", OFFERED)
async def test_every_form_says_what_it_varies_by_what_it_is_of_and_its_tag(form: str) -> None:
    answer = await answered(form)
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["percorso-as-of"] == AS_OF
    assert answer.headers["etag"] == (await answered(form)).headers["etag"]
    others = [await answered(other) for other in OFFERED if other != form]
    assert answer.headers["etag"] not in {other.headers["etag"] for other in others}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/*", CSV),
        ("TEXT/CSV", CSV),
        ("text/csv; charset=utf-8", CSV),
        ("text/csv, */*", CSV),
        ("text/csv, application/json", JSON),
        ("text/csv;q=0.5, application/json;q=0.4", CSV),
        ("text/csv;q=0.5, */*;q=0.8", JSON),
        ("application/json;q=0, */*", CSV),
        ("application/*;q=0, */*;q=0.1", CSV),
        ("application/json;q=0, text/csv;q=0.1, application/*", ARROW),
        (f"{PARQUET}, {ARROW};q=0.9", PARQUET),
        (f"{JSON};q=0.001, {ARROW};Q=1.000", ARROW),
        ('text/html;x="a, application/json, \\" b", text/csv;q=0.1', CSV),
        ('text/csv;x=";q=0"', CSV),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("nonsense", JSON),
        ("text/csv;q=2", JSON),
        ("text/csv;q=2, application/vnd.apache.arrow.stream;q=0.1", ARROW),
    ],
)
async def test_the_form_is_the_one_most_wanted_of_those_offered(accept: str | None, form: str) -> None:
    answer = await answered(accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == form


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*, text/csv;q=0", "*/*;q=0"])
async def test_a_form_that_is_not_offered_is_refused_with_those_that_are(accept: str) -> None:
    document = check_problem(await answered(accept), 406, "not_acceptable")
    assert document["offered"] == list(OFFERED)
    assert all(form in document["detail"] for form in OFFERED)


@given(st.lists(st.text(alphabet='*/,;=q"\\ .01ajson', max_size=60), max_size=3))
def test_whatever_accept_says_it_is_read(accept: list[str]) -> None:
    try:
        assert chosen(accept, OFFERED) in OFFERED
    except NotAcceptable:
        assert any(accept)


async def test_the_registry_is_a_table_in_every_form_page_by_page(client: httpx.AsyncClient, make: Make) -> None:
    await client.put(f"{PATH}/line", json={"name": "=Line", "stage": "service"})
    await store_all(
        client,
        [
            make(touchpoint="hotline"),
            make(touchpoint="shop", channel="store_visit", details={"location_id": "milano-01"}),
        ],
    )
    merge = {"into": "line", "reason": "One line under two names."}
    assert (await client.post(f"{PATH}/hotline/merge", json=merge)).status_code == 200
    items = (await client.get(PATH)).json()["items"]
    assert [item["slug"] for item in items] == ["line", "shop"]
    said = [{name: item[name] for name in REGISTRY} for item in items]
    for form in (CSV, ARROW, PARQUET):
        rows: list[dict[str, Any]] = []
        url: str | None = f"{PATH}?limit=1"
        while url is not None:
            answer = await client.get(url, headers={"Accept": form})
            assert answer.status_code == 200
            again = await client.get(url, headers={"Accept": form, "If-None-Match": answer.headers["etag"]})
            assert (again.status_code, again.headers["vary"]) == (304, "Accept")
            if form == CSV:
                rows += csv.DictReader(io.StringIO(answer.text, newline=""))
            else:
                rows += arrow_of(answer).to_pylist()
            url = answer.links.get("next", {}).get("url")
        if form == CSV:
            assert {name: rows[0][name] for name in REGISTRY} == {
                name: value or "" for name, value in said[0].items()
            } | {
                "name": "'=Line",
                "discovered": "false",
                "merged": '["hotline"]',
            }
        else:
            moments = {
                name: [datetime.fromisoformat(item[name]) for item in items] for name in ("created_at", "updated_at")
            }
            assert [{name: row[name] for name in REGISTRY} for row in rows] == [
                item | {name: moments[name][number] for name in moments} for number, item in enumerate(said)
            ]
    check_problem(await client.get(PATH, headers={"Accept": "text/html"}), 406, "not_acceptable")


def test_a_process_that_writes_no_table_does_not_load_what_writes_them() -> None:
    says = "import sys, json, percorso.app; print(json.dumps('pyarrow' in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", says], capture_output=True, check=True, text=True).stdout
    assert json.loads(loaded) is False
