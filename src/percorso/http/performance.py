"""How each touchpoint performs: all of them over a period, and one over time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from percorso.analytics import intervals, series
from percorso.analytics.cells import Totals
from percorso.analytics.dimensions import WORDED, Dimension
from percorso.analytics.intervals import Interval
from percorso.analytics.series import Series
from percorso.analytics.steps import CHANNEL_CODES, FUNCTION_CODES
from percorso.errors import InvalidRequest, Problem
from percorso.http import figures
from percorso.http.access import MayRead
from percorso.http.documents import analytics_figures, examples
from percorso.http.documents.analytics_figures import TouchpointFigures, TouchpointStats
from percorso.http.parameters import Cursor, Limit, Slug
from percorso.http.ranges import Hours, TheHours, TheZone
from percorso.http.services import Analysing, Use
from percorso.http.tables import ANY_FORM, Columns, described
from percorso.http.touchpoints import COLUMNS, item
from percorso.queries import rollups, touchpoints, words
from percorso.queries.freshness import freshness
from percorso.queries.rollups import HourRows, Parts
from percorso.storage.database import ReadSession

router = APIRouter(prefix="/v1/touchpoints", tags=["Touchpoints"])

Sort = Literal["interactions", "negative", "complaints", "unresolved", "abandoned", "registered"]
By = Literal["channel", "function", "kind", "location", "agent", "campaign"]

_DIMENSIONS: Final[dict[By, Dimension]] = {
    "channel": Dimension.CHANNEL,
    "function": Dimension.FUNCTION,
    "kind": Dimension.KIND,
    "location": Dimension.LOCATION,
    "agent": Dimension.AGENT,
    "campaign": Dimension.CAMPAIGN,
}
_CODED: Final[dict[Dimension, dict[int, str]]] = {
    Dimension.CHANNEL: {code: channel for channel, code in CHANNEL_CODES.items()},
    Dimension.FUNCTION: {code: function for function, code in FUNCTION_CODES.items()},
}
_POINT: Final[Columns] = {"start": "moment", "value": "text", "other": "flag"}
_EXAMPLE: Final = examples.TOUCHPOINT | {
    name: datetime.fromisoformat(examples.TOUCHPOINT[name]) for name in ("created_at", "updated_at")
}
_EXAMPLE_POINT: Final = analytics_figures.STATS["items"][0] | {"start": datetime(2026, 10, 31, 23, tzinfo=UTC)}
_MOST_POINTS: Final = 2000
_MOST_ROWS: Final = 20_000


@router.get(
    "",
    summary="The touchpoints, and how each performs",
    response_class=Response,
    responses=described(
        TouchpointFigures,
        says="A page of touchpoints with their figures.",
        columns=figures.columns(COLUMNS, change=True),
        row=figures.row(
            analytics_figures.TOUCHPOINTS["items"][0],
            {name: _EXAMPLE[name] for name in COLUMNS},
            COLUMNS,
            change=True,
        ),
    ),
    dependencies=[ANY_FORM],
)
async def read_touchpoints(
    request: Request,
    _: MayRead,
    hours: TheHours,
    use: Use,
    analysing: Analysing,
    discovered: Annotated[
        bool | None,
        Query(
            description="Only those that interactions named and nobody has described (`true`), or only the others "
            "(`false`)."
        ),
    ] = None,
    sort: Annotated[
        Sort,
        Query(description="By what: those with most of it first, or in the order in which they were `registered`."),
    ] = "interactions",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read the registry, with what happened at each touchpoint in a period, and how that differs from the one before.

    Touchpoints are described by hand, or were named by interactions (`discovered`). One that was merged into another is
    no item of its own: the other one names it under `merged`, and its interactions count there. The period before is of
    the same length and ends where this one begins.
    """
    session = analysing.session
    as_of = await freshness(session)
    ranges = [(each.start, each.end) for each in (hours, hours.before)]
    parts = await rollups.everywhere(session, Dimension.TOUCHPOINT, ranges, use.kept)
    merged = await touchpoints.groups(session)
    if sort == "registered":
        after = touchpoints.FIRST if cursor is None else touchpoints.position(cursor)
        page = await touchpoints.page(session, limit=limit, after=after, discovered=discovered)
    else:
        counts: dict[int, int] = defaultdict(int)
        for touchpoint_id, count in zip(*await analysing.run(parts.counts, *ranges[0], sort), strict=True):
            counts[merged.get(int(touchpoint_id), int(touchpoint_id))] += int(count)
        place = None if cursor is None else touchpoints.rank(cursor, by=sort)
        page = await touchpoints.ranked(session, counts, limit=limit, after=place, by=sort, discovered=discovered)
    ids = {row["touchpoint_id"]: number for number, row in enumerate(page.items)}
    members = ids | {each: ids[into] for each, into in merged.items() if into in ids}
    now, before = await analysing.run(_totals, parts, ranges, members, len(ids))
    named = await figures.currencies(session, now, before)
    known = [item(row) for row in page.items]
    leading = {name: [each[name] for each in known] for name in COLUMNS}
    items = await analysing.run(figures.documents, leading, now, before, named)
    document = figures.said(hours, as_of, before=figures.period(hours.before))
    document |= {"items": items, "next_cursor": page.next_cursor}
    return await figures.answer(request, document, [dict(row) for row in page.items], COLUMNS, change=True)


def _totals(
    parts: Parts, ranges: Sequence[tuple[datetime, datetime]], members: Mapping[int, int], groups: int
) -> list[Totals]:
    """The figures in each of the ranges of groups of touchpoints: of `members` each is in the group it is mapped to."""
    ids, group = (np.array(list(each), np.int64) for each in (members, members.values()))
    return [parts.totals(*each, ids, group, groups) for each in ranges]


@router.get(
    "/{slug:name}/stats",
    summary="How a touchpoint performs over time",
    response_class=Response,
    responses=described(
        TouchpointStats,
        404,
        says="The figures of each interval.",
        columns=figures.columns(_POINT, change=False),
        row=figures.row(analytics_figures.STATS["items"][0], _EXAMPLE_POINT, _POINT, change=False),
    ),
    dependencies=[ANY_FORM],
)
async def read_touchpoint_stats(
    request: Request,
    slug: Slug,
    _: MayRead,
    hours: TheHours,
    zone: TheZone,
    analysing: Analysing,
    interval: Annotated[
        Interval, Query(description="How long each point is, in the time zone; weeks begin on Monday.")
    ] = "day",
    by: Annotated[
        By | None, Query(description="Figures of each value of this member, those with most interactions first.")
    ] = None,
    top: Annotated[int, Query(ge=1, le=50, description="Most values of `by`; all others are summed as one.")] = 20,
) -> Response:
    """Read the figures of a touchpoint in each hour, day, week or month of a period, without gaps.

    Days are those of the time zone `tz`, also where clocks change: they may have 23 or 25 hours, and an hour that is
    there twice is two points. What is kept is kept by hours of UTC, and each counts where it begins: exactly where the
    zone is whole hours away from UTC; elsewhere, as in India, an hour that midnight cuts is in the day before. The
    first and the last point may be cut by `from` and `to`.
    """
    begun = _begun(hours, interval, zone, 1 if by is None else top + 1)
    session = analysing.session
    touchpoint = await touchpoints.counted_as(session, slug)
    ids = await touchpoints.ids_of(session, slug)
    dimension = Dimension.ALL if by is None else _DIMENSIONS[by]
    as_of = await freshness(session)
    rows = await rollups.at_one(session, ids, dimension, hours.start, hours.end)
    found = await analysing.run(_series, rows, begun, None if by is None else top)
    named = await figures.currencies(session, found.all)
    values = await _values(session, dimension, found)
    document = figures.said(hours, as_of, slug=touchpoint["slug"], interval=interval, tz=zone.key, by=by)
    document |= await analysing.run(_content, found, begun, None if by is None else values, named)
    leading = [item | {"start": datetime.fromisoformat(item["start"])} for item in document["items"]]
    kinds = _POINT if by is not None else {"start": _POINT["start"]}
    return await figures.answer(request, document, leading, kinds, change=False)


def _begun(hours: Hours, interval: Interval, zone: ZoneInfo, groups: int) -> list[datetime]:
    """When the intervals begin; InvalidRequest where there are too many."""
    most = min(_MOST_POINTS, _MOST_ROWS // groups)
    points = intervals.about(hours.start, hours.end, interval)
    begun = intervals.begins(hours.start, hours.end, interval, zone) if points <= most else []
    points = max(points, len(begun))
    if points <= most:
        return begun
    of_each = "" if groups == 1 else f" of each of {groups} groups"
    longer = intervals.INTERVALS[intervals.INTERVALS.index(interval) + 1 :]
    mend = f"take a longer interval ({', '.join(longer)}) or a shorter range" if longer else "take a shorter range"
    if groups > 1:
        mend += ", or a lower `top`"
    detail = f"makes {points} points{of_each}, and {most} are given at most: {mend}"
    raise InvalidRequest("There are too many points.", problems=[Problem("/query/interval", detail)])


def _series(rows: HourRows, begun: list[datetime], top: int | None) -> Series:
    found, hours = rows.hours()
    return series.of(found, hours, begun, top)


async def _values(session: ReadSession, dimension: Dimension, found: Series) -> list[str | None]:
    """The words of the groups; None for what does not say any, and for the others together."""
    named = await words.texts(session, found.keys) if dimension in WORDED else _CODED.get(dimension, {})
    return [*(named.get(key) for key in found.keys), *[None] * (found.groups - len(found.keys))]


def _content(
    found: Series, begun: list[datetime], values: Sequence[str | None] | None, named: Mapping[int, str]
) -> dict[str, Any]:
    """The figures of all, of the groups where there are any, and of each point."""
    starts: list[Any] = [moment.isoformat() for moment in begun]
    [all_] = figures.documents({}, found.all, None, named)
    if values is None:
        return {"total": all_, "items": figures.documents({"start": starts}, found.points, None, named)}
    others: list[Any] = [number >= len(found.keys) for number in range(found.groups)]
    points = {
        "value": [value for value in values for _ in starts],
        "other": [other for other in others for _ in starts],
        "start": starts * found.groups,
    }
    return {
        "total": all_,
        "groups": figures.documents({"value": list(values), "other": others}, found.each, None, named),
        "items": figures.documents(points, found.points, None, named),
    }
