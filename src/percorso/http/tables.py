"""Answers that are tables: as JSON, and row by row as CSV, an Arrow stream or a Parquet file, by `Accept`.

A table is a list of flat rows. In CSV, by RFC 4180, a missing value is an empty field, a list is a JSON array, and a
text that a spreadsheet would take for a formula begins with `'`. In Arrow and Parquet every column has its type, and
the schema's metadata say `as_of`, `from` and `to`, where the answer has them.
"""

import asyncio
import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import Depends, Request
from fastapi.responses import Response

from percorso.http import answers
from percorso.http.documents.base import answers as documented
from percorso.http.negotiation import chosen

Kind = Literal["text", "integer", "number", "moment", "flag", "texts"]
"""What a column holds: `number` is a float, `moment` a datetime with its zone, `texts` a list of texts."""

Columns = Mapping[str, Kind]
"""The columns in their order. Nested figures have dotted names, such as `nps.score`."""

Row = Mapping[str, Any]
"""The values of a row by column; what is not there is missing, like None."""

JSON: Final = "application/json"
CSV: Final = "text/csv"
ARROW: Final = "application/vnd.apache.arrow.stream"
PARQUET: Final = "application/vnd.apache.parquet"
OFFERED: Final = (JSON, CSV, ARROW, PARQUET)

_MEMBERS: Final = ("as_of", "from", "to")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


async def form(request: Request) -> str:
    """The media type that this request wants of `OFFERED`; NotAcceptable where it wants none."""
    return chosen(request.headers.getlist("accept"), OFFERED)


ANY_FORM: Final = Depends(form)
"""Among a route's `dependencies`: a form that is not offered is refused before anything is computed."""

Form = Annotated[str, ANY_FORM]


async def table(request: Request, rows: Sequence[Row], columns: Columns, *, document: Mapping[str, Any]) -> Response:
    """An answer in the form that the request wants: `document` as JSON, or else its `rows`.

    The rest is the same whatever the form: an ETag, a Link where the document has a `next_cursor`, and the header
    `Percorso-As-Of` where it says `as_of`.
    """
    media_type = await form(request)
    if media_type == JSON:
        answer = answers.json_response(document)
    else:
        said = answers.figures({name: document[name] for name in _MEMBERS if document.get(name) is not None})
        # To load what writes Arrow and Parquet takes a good tenth of a second, once.
        body = await asyncio.to_thread(_WRITERS[media_type], rows, columns, said)
        of = f"{CSV}; charset=utf-8; header=present" if media_type == CSV else media_type
        answer = Response(body, media_type=of)
    answer = answers.tagged(request, answers.linked(request, answer, document.get("next_cursor")))
    answer.headers["Vary"] = "Accept"
    if document.get("as_of") is not None:
        answer.headers["Percorso-As-Of"] = answers.figures(document["as_of"])
    return answer


def described(
    model: type, *errors: int, says: str, columns: Columns, row: Row, conflict: str | None = None
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with a table: as `documents.base.answers`, in all four forms.

    `row` is an example of a row.
    """
    responses = documented(model, 406, *errors, says=says, conflict=conflict)
    sample = _csv([row], columns, {}).decode()
    responses[200]["content"] = {
        CSV: {"schema": {"type": "string"}, "example": sample},
        ARROW: {"schema": {"type": "string", "format": "binary"}},
        PARQUET: {"schema": {"type": "string", "format": "binary"}},
    }
    responses[200]["headers"] = {
        "Percorso-As-Of": {
            "description": "The moment that the figures are of, where they are kept ready.",
            "schema": {"type": "string", "format": "date-time"},
        }
    }
    return responses


def _csv(rows: Sequence[Row], columns: Columns, _: Mapping[str, str]) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(columns)
    cells = [(name, _CELLS[kind]) for name, kind in columns.items()]
    for row in rows:
        values = ((row.get(name), cell) for name, cell in cells)
        writer.writerow(["" if value is None else cell(value) for value, cell in values])
    return written.getvalue().encode()


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def _number(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""


_CELLS: Final[Mapping[Kind, Callable[[Any], str]]] = {
    "text": _text,
    "integer": str,
    "number": _number,
    "moment": answers.moment,
    "flag": lambda value: "true" if value else "false",
    "texts": lambda value: msgspec.json.encode(list(value)).decode(),
}


def _arrow_table(rows: Sequence[Row], columns: Columns, said: Mapping[str, str]) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - 40 MB of memory that a process which only takes interactions in does without

    types: dict[Kind, pa.DataType] = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "moment": pa.timestamp("ms", "UTC"),
        "flag": pa.bool_(),
        "texts": pa.list_(pa.string()),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()], metadata=dict(said))
    values = [pa.array(_values(rows, name, kind), types[kind]) for name, kind in columns.items()]
    return pa.Table.from_arrays(values, schema=schema)


def _values(rows: Sequence[Row], name: str, kind: Kind) -> list[Any]:
    """A column, to the millisecond where it is of moments, and with None for numbers that are none."""
    found = [row.get(name) for row in rows]
    if kind == "moment":
        return [None if value is None else _to_ms(value) for value in found]
    if kind == "number":
        return [None if value is None or not math.isfinite(value) else float(value) for value in found]
    return found


def _to_ms(value: datetime) -> datetime:
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def _arrow(rows: Sequence[Row], columns: Columns, said: Mapping[str, str]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - as above

    made = _arrow_table(rows, columns, said)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made.schema) as stream:
        stream.write_table(made)
    return bytes(sink.getvalue())


def _parquet(rows: Sequence[Row], columns: Columns, said: Mapping[str, str]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - as above
    from pyarrow import parquet  # noqa: PLC0415 - as above

    sink = pa.BufferOutputStream()
    parquet.write_table(_arrow_table(rows, columns, said), sink, compression="zstd")
    return bytes(sink.getvalue())


_WRITERS: Final[Mapping[str, Callable[[Sequence[Row], Columns, Mapping[str, str]], bytes]]] = {
    CSV: _csv,
    ARROW: _arrow,
    PARQUET: _parquet,
}
