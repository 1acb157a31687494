"""Where things go wrong: the problems of a period, and the quality of contacts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, get_args
from zoneinfo import ZoneInfo

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from percorso import ids
from percorso.analytics import figures, intervals, problems, quality
from percorso.analytics.cells import COUNT
from percorso.analytics.figures import Columns
from percorso.analytics.intervals import Interval
from percorso.analytics.problems import SIGNALS
from percorso.analytics.significance import EXACT, LEVEL, TWO_PROPORTIONS
from percorso.errors import InvalidRequest, Problem
from percorso.http import answers, tables
from percorso.http.access import MayRead
from percorso.http.documents import trouble as documents
from percorso.http.documents.trouble import ContactQuality, ProblemsDocument
from percorso.http.figures import dated, period
from percorso.http.ranges import Hours, TheHours, TheZone
from percorso.http.services import Analysing
from percorso.queries import problems as found_problems
from percorso.queries import quality as found_quality
from percorso.queries.examples import Example
from percorso.queries.freshness import freshness

router = APIRouter(prefix="/v1/analytics", tags=["Analytics"])

_BY: Final = get_args(found_problems.By)
_EVERY: Final = ",".join(_BY)
_MOST_POINTS: Final = 20_000
"""In all series of an answer."""

_JUDGED: Final[tables.Columns] = {
    "count": "integer",
    "of": "integer",
    "share": "number",
    "history": "number",
    "history_p_value": "number",
    "rising": "flag",
    "others": "number",
    "others_p_value": "number",
    "high": "flag",
    "excess": "number",
}
_PROBLEMS: Final[tables.Columns] = {
    "rank": "integer",
    "by": "text",
    "name": "text",
    "score": "number",
    "interactions": "integer",
    "trouble": "integer",
    "share_of_trouble": "number",
    **{f"{signal.part}.{name}": kind for signal in SIGNALS for name, kind in _JUDGED.items()},
    "examples": "texts",
}
_MEASURED: Final[tables.Columns] = {"count": "integer", "of": "integer", "value": "number"}
_FIGURES: Final[tables.Columns] = {
    **{f"{name}.{each}": kind for name in quality.MEASURES for each, kind in _MEASURED.items()},
    quality.WAITING: "number",
}
_CHANGED: Final[tables.Columns] = {
    "before": "number",
    "difference": "number",
    "p_value": "number",
    "significant": "flag",
    "test": "text",
}
_ITEMS: Final[tables.Columns] = {
    "name": "text",
    "contacts": "integer",
    **_FIGURES,
    **{f"{name}.change.{each}": kind for name in quality.MEASURES for each, kind in _CHANGED.items()},
}
_POINTS: Final[tables.Columns] = {"name": "text", "start": "moment", **_FIGURES}


def _dimensions(given: Any) -> Any:
    """Names with commas between them, each once."""
    names = given.split(",") if isinstance(given, str) else []
    if not names or not set(names) <= set(_BY) or len(set(names)) < len(names):
        raise PydanticCustomError("by", f"must be one or more of {', '.join(_BY)}, each once, with commas between them")
    return given


_Dimensions = Annotated[
    str,
    BeforeValidator(_dimensions),
    WithJsonSchema({"type": "string", "examples": ["topic,touchpoint"]}),
    Query(description="Among what to look: `topic`, `kind` or `touchpoint`, or some of them with commas between."),
]


@router.get(
    "/problems",
    summary="What goes wrong more than it did, or than elsewhere",
    response_class=Response,
    responses=tables.described(
        ProblemsDocument, says="The problems, the worst first.", columns=_PROBLEMS, row=documents.PROBLEM_ROW
    ),
    dependencies=[tables.ANY_FORM],
)
async def read_problems(
    request: Request,
    _: MayRead,
    hours: TheHours,
    analysing: Analysing,
    by: _Dimensions = _EVERY,
    top: Annotated[int, Query(ge=1, le=100, description="Most problems in the answer.")] = 20,
) -> Response:
    """Find the topics, kinds and touchpoints where complaints, negative sentiment, repeats or unresolved ones abound.

    Each share is compared with the item's own history, the four periods of the same length before (`rising`), and with
    all other items of its dimension (`high`). It must be at least a tenth above, by more than chance: p-values are
    adjusted for how many comparisons are made. Problems are ranked by how many interactions are in excess of what the
    history or the others would give. Each is shown by its newest examples, which the table has by their ids.
    """
    among = [each for each in _BY if each in by.split(",")]
    as_of = (await freshness(analysing.session)).contacts
    found = await found_problems.find(analysing.session, hours.start, hours.end, by=among, top=top, run=analysing.run)
    entries = np.array([item.entry for item in found.items], np.int64)
    of_all = int(problems.trouble(found.everything[None])[0])
    judged = problems.columns(found.judged, entries)
    columns: Columns = {
        "rank": list(range(1, len(found.items) + 1)),
        "by": [item.by for item in found.items],
        "name": [item.name for item in found.items],
        "score": judged.pop("score"),
        "interactions": found.counts[entries, COUNT["interactions"]].tolist(),
        "trouble": judged["trouble"],
        "share_of_trouble": [round(each / of_all, 6) for each in judged.pop("trouble")],
        **judged,
    }
    shown = {"examples": [[_example(example) for example in item.examples] for item in found.items]}
    document = dated(hours, as_of) | {
        "history": period(Hours(found.history_from, hours.start)),
        "method": {
            "test": TWO_PROPORTIONS,
            "test_of_few": EXACT,
            "correction": "Benjamini–Hochberg",
            "level": LEVEL,
            "comparisons": found.judged.comparisons,
        },
        "total": {
            name: int(found.everything[COUNT[name]]) for name in ("interactions", *(signal.part for signal in SIGNALS))
        }
        | {"trouble": of_all},
        "found": found.number,
        "items": figures.documents(columns | shown),
    }
    ids_shown = {"examples": [[str(example.interaction_id) for example in item.examples] for item in found.items]}
    return await tables.table(request, _rows(columns | ids_shown), _PROBLEMS, document=document)


@router.get(
    "/contact-quality",
    summary="How contacts went",
    response_class=Response,
    responses=tables.described(
        ContactQuality,
        says="Contact quality, of those with the most contacts first. As a table: a row for each, or with `interval` "
        "for each point of each series, with the figures alone.",
        columns=_ITEMS,
        row=documents.QUALITY_ROW,
    ),
    dependencies=[tables.ANY_FORM],
)
async def read_contact_quality(
    request: Request,
    _: MayRead,
    hours: TheHours,
    zone: TheZone,
    analysing: Analysing,
    by: Annotated[found_quality.By, Query(description="What to tell apart.")] = "touchpoint",
    interval: Annotated[
        Interval | None, Query(description="Also a series by the hour, day, week or month of the time zone.")
    ] = None,
    top: Annotated[int, Query(ge=1, le=500, description="Most touchpoints, channels or kinds in the answer.")] = 20,
) -> Response:
    """Read how contacts went: first-contact resolution, repeats, hand-offs, channel switches, and who still waits.

    Each figure has its counts, and how it changed against the period of the same length before. With `interval` there
    is a series too, in which no hour, day, week or month is left out.
    """
    begins = None if interval is None else _begins(hours, interval, zone, top)
    session = analysing.session
    as_of = (await freshness(session)).contacts
    found = await found_quality.find(session, hours.start, hours.end, by=by, top=top, begins=begins, run=analysing.run)
    at = (as_of or datetime.now(UTC)).timestamp()
    columns: Columns = {
        "name": list(found.names),
        "contacts": found.counts[0, :, COUNT["reached_out"]].tolist(),
        **quality.columns(found.counts[0], found.sums[0], as_of=at),
        **quality.compared(*found.counts),
    }
    points = await analysing.run(_points, found, begins, at)
    total = quality.columns(found.everything[0][0], found.everything[1][0], as_of=at)
    document = dated(hours, as_of) | {
        "before": period(Hours(found.before_from, hours.start)),
        "by": by,
        "interval": interval,
        "tz": zone.key,
        "total": figures.documents(total | quality.compared(*found.everything[0]))[0],
        "found": found.number,
        "items": figures.documents(columns | {"series": await analysing.run(_series, points, begins)}),
    }
    if begins is None:
        return await tables.table(request, _rows(columns), _ITEMS, document=document)
    rows = await analysing.run(_point_rows, found.names, points, begins)
    return await tables.table(request, rows, _POINTS, document=document)


def _begins(hours: Hours, interval: Interval, zone: ZoneInfo, top: int) -> Sequence[datetime]:
    """The beginnings of the intervals; InvalidRequest where all series together would have too many points."""
    most = _MOST_POINTS // top
    if intervals.about(hours.start, hours.end, interval) > most:
        detail = f"gives more than {most:,} points to each of {top} series: take a longer one, or a smaller `top`"
        raise InvalidRequest("The series would be too long.", problems=[Problem("/query/interval", detail)])
    return intervals.begins(hours.start, hours.end, interval, zone)


def _points(found: found_quality.Found, begins: Sequence[datetime] | None, as_of: float) -> list[Columns]:
    """For each item the figures of its points, in order of time; none where no series was asked for."""
    if begins is None or found.series is None:
        return [{} for _ in found.names]
    counts, sums = found.series
    return [quality.columns(counts[:, item], sums[:, item], as_of=as_of) for item in range(len(found.names))]


def _series(points: Sequence[Columns], begins: Sequence[datetime] | None) -> list[list[dict[str, Any]] | None]:
    """For each item its series as it stands in JSON; None where none was asked for."""
    if begins is None:
        return [None] * len(points)
    starts: list[Any] = [moment.isoformat() for moment in begins]
    return [figures.documents({"start": starts} | each) for each in points]


def _point_rows(
    names: Sequence[str | None], points: Sequence[Columns], begins: Sequence[datetime]
) -> list[Mapping[str, Any]]:
    """The points of all series as rows of a table."""
    return [
        {"name": name, **row}
        for name, of_one in zip(names, points, strict=True)
        for row in _rows({"start": list(begins)} | of_one)
    ]


def _rows(columns: Columns) -> list[Mapping[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _example(example: Example) -> dict[str, Any]:
    return {
        "interaction_id": str(example.interaction_id),
        "href": f"/v1/interactions/{example.interaction_id}",
        "occurred_at": answers.moment(ids.from_unix_ms(ids.occurred_ms(example.interaction_id.bytes))),
        "signals": example.signals,
    }
