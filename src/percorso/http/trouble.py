"""Where things go wrong: the problems of a period, and the quality of contacts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, get_args
from zoneinfo import ZoneInfo

import numpy as np
from fastapi import APIRouter, Query
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
from percorso.http import answers
from percorso.http.access import MayRead
from percorso.http.documents.base import answers as documented
from percorso.http.documents.trouble import ContactQuality, ProblemsDocument
from percorso.http.ranges import Hours, TheHours, TheZone
from percorso.http.services import Reads
from percorso.queries import followers, profiles, rollups
from percorso.queries import problems as found_problems
from percorso.queries import quality as found_quality
from percorso.queries.examples import Example
from percorso.storage.database import ReadSession

router = APIRouter(prefix="/v1/analytics", tags=["Analytics"])

_BY: Final = get_args(found_problems.By)
_EVERY: Final = ",".join(_BY)
_MOST_POINTS: Final = 20_000
"""In all series of an answer."""


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
    responses=documented(ProblemsDocument, says="The problems, the worst first."),
)
async def read_problems(
    _: MayRead,
    hours: TheHours,
    session: Reads,
    by: _Dimensions = _EVERY,
    top: Annotated[int, Query(ge=1, le=100, description="Most problems in the answer.")] = 20,
) -> Response:
    """Find the topics, kinds and touchpoints where complaints, negative sentiment, repeats or unresolved ones abound.

    Each share is compared with the item's own history, the four periods of the same length before (`rising`), and with
    all other items of its dimension (`high`). It must be at least a tenth above, by more than chance: p-values are
    adjusted for how many comparisons are made. Problems are ranked by how many interactions are in excess of what the
    history or the others would give. Each is shown by its newest examples.
    """
    found = await found_problems.find(session, hours.start, hours.end, by=by.split(","), top=top)  # type: ignore[arg-type] # they are, by _dimensions
    as_of = await _as_of(session)
    entries = np.array([item.entry for item in found.items], np.int64)
    columns: Columns = {
        "rank": list(range(1, len(found.items) + 1)),
        "by": [item.by for item in found.items],
        "name": [item.name for item in found.items],
        "interactions": found.counts[entries, COUNT["interactions"]].tolist(),
        **problems.columns(found.judged, entries),
        "examples": [[_example(example) for example in item.examples] for item in found.items],
    }
    everything = {
        name: int(found.everything[COUNT[name]]) for name in ("interactions", *(each.part for each in SIGNALS))
    }
    trouble = int(problems.trouble(found.everything[None])[0])
    columns["share_of_trouble"] = [round(each / trouble, 6) if trouble else None for each in columns["trouble"]]
    return answers.json_response(
        _range(hours, as_of)
        | {
            "history_from": answers.moment(found.history_from),
            "method": {
                "test": TWO_PROPORTIONS,
                "test_of_few": EXACT,
                "correction": "Benjamini–Hochberg",
                "level": LEVEL,
                "comparisons": found.judged.comparisons,
            },
            "all": everything | {"trouble": trouble},
            "found": found.number,
            "items": figures.documents(columns),
        }
    )


@router.get(
    "/contact-quality",
    summary="How contacts went",
    response_class=Response,
    responses=documented(ContactQuality, says="Contact quality, of those with the most contacts first."),
)
async def read_contact_quality(
    _: MayRead,
    hours: TheHours,
    zone: TheZone,
    session: Reads,
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
    found = await found_quality.find(session, hours.start, hours.end, by=by, top=top, begins=begins)
    as_of = await _as_of(session)
    at = (as_of or datetime.now(UTC)).timestamp()
    everything = quality.columns(found.everything[0][0], found.everything[1][0], as_of=at)
    everything |= quality.compared(*found.everything[0])
    columns: Columns = {
        "name": list(found.names),
        "contacts": found.counts[0, :, COUNT["reached_out"]].tolist(),
        **quality.columns(found.counts[0], found.sums[0], as_of=at),
        **quality.compared(*found.counts),
        "series": [None] * len(found.names) if begins is None else _series(found, begins, at),
    }
    return answers.json_response(
        _range(hours, as_of)
        | {
            "before_from": answers.moment(found.before_from),
            "by": by,
            "interval": interval,
            "tz": zone.key,
            "all": figures.documents(everything)[0],
            "found": found.number,
            "items": figures.documents(columns),
        }
    )


def _begins(hours: Hours, interval: Interval, zone: ZoneInfo, top: int) -> Sequence[datetime]:
    """The beginnings of the intervals; InvalidRequest where all series together would have too many points."""
    most = _MOST_POINTS // top
    if intervals.about(hours.start, hours.end, interval) > most:
        detail = (
            f"would give more than {most:,} points to each of the {top} series: take a longer one, or a smaller `top`"
        )
        raise InvalidRequest("The series would be too long.", problems=[Problem("/query/interval", detail)])
    return intervals.begins(hours.start, hours.end, interval, zone)


def _series(found: found_quality.Found, begins: Sequence[datetime], as_of: float) -> list[list[dict[str, Any]]]:
    """For each item its points, in order of time."""
    assert found.series is not None  # noqa: S101 - it was asked for
    counts, sums = found.series
    starts = [answers.moment(moment) for moment in begins]
    return [
        figures.documents({"start": starts} | quality.columns(counts[:, item], sums[:, item], as_of=as_of))
        for item in range(len(found.names))
    ]


def _range(hours: Hours, as_of: datetime | None) -> dict[str, Any]:
    return {
        "from": answers.moment(hours.start),
        "to": answers.moment(hours.end),
        "as_of": None if as_of is None else answers.moment(as_of),
    }


async def _as_of(session: ReadSession) -> datetime | None:
    """The moment up to which both rollups and what came of contacts have taken everything; None: not yet complete."""
    counted = await followers.as_of(session, rollups.FOLLOWER)
    told = await followers.as_of(session, profiles.FOLLOWER)
    return None if counted is None or told is None else min(counted, told)


def _example(example: Example) -> dict[str, Any]:
    return {
        "interaction_id": str(example.interaction_id),
        "href": f"/v1/interactions/{example.interaction_id}",
        "occurred_at": answers.moment(ids.from_unix_ms(ids.occurred_ms(example.interaction_id.bytes))),
        "signals": example.signals,
    }
