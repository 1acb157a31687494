"""How customers move: transitions, paths, funnels, and what conversions are owed to."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from math import isnan
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from percorso import ids
from percorso.analytics import attribution, journeys, paths, transitions
from percorso.analytics.attribution import Attribution, Model
from percorso.analytics.funnel import Funnel
from percorso.analytics.histograms import RELATIVE_ERROR
from percorso.analytics.journeys import By, Journeys, Node, Nodes
from percorso.analytics.paths import LENGTHS, Paths, Wanted
from percorso.analytics.steps import Steps
from percorso.analytics.transitions import OUTSIDE, Transitions
from percorso.errors import InvalidRequest, Problem
from percorso.http.access import MayRead
from percorso.http.documents.analytics_sequences import (
    ATTRIBUTION,
    FUNNEL,
    PATHS,
    TRANSITIONS,
    AttributionAnswer,
    FunnelAnswer,
    PathsAnswer,
    TransitionsAnswer,
)
from percorso.http.figures import dated
from percorso.http.nodes import ANY_NODE, Length, SeenBy, ms, resolved
from percorso.http.ranges import TheHours
from percorso.http.services import Analysing
from percorso.http.tables import ANY_FORM, Columns, described, table
from percorso.queries import followers, nodes, recounting, steps, touchpoints
from percorso.storage.database import ReadSession

router = APIRouter(prefix="/v1/analytics", tags=["Analytics"], dependencies=[ANY_FORM])

_ENTRY: Final = "(entry)"
_EXIT: Final = "(exit)"
_NO_PATH: Final = "(no path)"
"""No slug, kind or channel begins with a bracket."""
_STEPS: Final = (2, 10)
_EDGES: Final[Columns] = {
    "from": "text",
    "to": "text",
    "count": "integer",
    "customers": "integer",
    "median_gap_seconds": "number",
}
_PATHS: Final[Columns] = {"nodes": "texts", "count": "integer", "customers": "integer", "share": "number"}
_FUNNEL: Final[Columns] = {
    "step": "text",
    "customers": "integer",
    "of_first": "number",
    "of_previous": "number",
    "drop_off": "integer",
    "median_seconds": "number",
}
_CREDITS: Final[Columns] = {
    "node": "text",
    "conversions": "number",
    "share": "number",
    "conversions_with": "integer",
    "interactions": "integer",
}

Top = Annotated[int, Query(ge=1, le=1000, description="Most rows, the commonest first.")]
_NodeName = Annotated[str | None, Query(max_length=150, description=f"{ANY_NODE} It must be of the sort of `by`.")]
PathLength = Annotated[int, Query(ge=LENGTHS[0], le=LENGTHS[1], description="How many interactions a path has.")]


@router.get(
    "/transitions",
    summary="How customers go on from one touchpoint to the next",
    response_class=Response,
    responses=described(
        TransitionsAnswer, says="The commonest transitions.", columns=_EDGES, row=TRANSITIONS["items"][0]
    ),
)
async def read_transitions(
    request: Request,
    _: MayRead,
    hours: TheHours,
    analysing: Analysing,
    within: Annotated[Length, Query(description="The longest pause within a transition.")] = "30d",
    by: SeenBy = "touchpoint",
    top: Top = 50,
) -> Response:
    """Read the edges of a flow diagram: from each interaction to the customer's next one, no more than `within` later.

    `(entry)` stands for where a customer comes from at the first interaction in the range, and after a longer pause;
    `(exit)` for where they go after the last in the range, and before a longer pause. So a customer may enter and leave
    several times. Edges beyond `top` are summed up in `other`. Customers are those of merged identities.
    """
    session = analysing.session
    as_of = await followers.as_of(session, recounting.FOLLOWER)
    seen = Nodes(by, most=transitions.MOST_NODES, groups=await touchpoints.groups(session))
    counter = Transitions(seen, within_ms=ms(within))
    counted = await _count(analysing, counter.add, hours.start, hours.end)
    edges = await analysing.run(counter.edges, top)
    called = await _names(session, seen, [*edges.source.tolist(), *edges.target.tolist()])
    rows = [
        {
            "from": called.get(source, _ENTRY),
            "to": called.get(target, _EXIT),
            "count": count,
            "customers": customers,
            "median_gap_seconds": _seconds(median),
        }
        for source, target, count, customers, median in zip(
            edges.source.tolist(),
            edges.target.tolist(),
            edges.counts.tolist(),
            edges.customers.tolist(),
            edges.median_seconds.tolist(),
            strict=True,
        )
    ]
    other = {"edges": edges.edges - len(rows), "count": edges.total - int(edges.counts.sum())}
    content = (
        dated(hours, as_of)
        | {"by": by, "within": within}
        | counted.said()
        | {"errors": {"median_gap_seconds": round(RELATIVE_ERROR, 4), "count": edges.missed}}
        | {"other": other, "items": rows}
    )
    return await table(request, rows, _EDGES, document=content)


@router.get(
    "/paths",
    summary="The commonest paths of customers",
    response_class=Response,
    responses=described(PathsAnswer, says="The commonest paths.", columns=_PATHS, row=PATHS["items"][0]),
)
async def read_paths(
    request: Request,
    _: MayRead,
    hours: TheHours,
    analysing: Analysing,
    starts_with: _NodeName = None,
    ends_with: _NodeName = None,
    through: _NodeName = None,
    length: PathLength = 3,
    within: Annotated[Length, Query(description="The longest pause within a path.")] = "30d",
    by: SeenBy = "touchpoint",
    top: Top = 50,
) -> Response:
    """Read which interactions most often follow one another: runs of `length` of them, by what they are seen as.

    Each is no more than `within` after the one before it. Every such run counts, so that one of five interactions has
    three paths of three. With `starts_with`, `ends_with` and `through` only paths that begin with it, end with it, come
    by it; `share` is of those. Paths of many are told apart by the nodes met first (by 509 in paths of seven); all
    others are `(other)`.
    """
    session = analysing.session
    as_of = await followers.as_of(session, recounting.FOLLOWER)
    seen = Nodes(by, most=paths.most_nodes(length), groups=await touchpoints.groups(session))
    asked = {"starts_with": starts_with, "ends_with": ends_with, "through": through}
    wanted = {
        parameter: seen.number((await _of_sort(session, given, by, parameter)).id)
        for parameter, given in asked.items()
        if given is not None
    }
    counter = Paths(seen, Wanted(length, **wanted), within_ms=ms(within))
    counted = await _count(analysing, counter.add, hours.start, hours.end)
    found = await analysing.run(counter.found, top)
    called = await _names(session, seen, found.nodes.reshape(-1).tolist())
    rows = [
        {
            "nodes": [called[number] for number in path],
            "count": count,
            "customers": customers,
            "share": _share(count, found.total),
        }
        for path, count, customers in zip(
            found.nodes.tolist(), found.counts.tolist(), found.customers.tolist(), strict=True
        )
    ]
    other = {"paths": found.paths - len(rows), "count": found.total - int(found.counts.sum())}
    content = (
        dated(hours, as_of)
        | {"by": by, "within": within, "length": length}
        | asked
        | counted.said()
        | {"paths": found.total, "errors": {"count": found.missed}, "other": other, "items": rows}
    )
    return await table(request, rows, _PATHS, document=content)


@router.get(
    "/funnel",
    summary="How many customers get how far",
    response_class=Response,
    responses=described(FunnelAnswer, says="The steps of the funnel.", columns=_FUNNEL, row=FUNNEL["items"][1]),
)
async def read_funnel(
    request: Request,
    _: MayRead,
    hours: TheHours,
    analysing: Analysing,
    given: Annotated[
        str,
        Query(
            alias="steps",
            max_length=2000,
            description=f"From {_STEPS[0]} to {_STEPS[1]} steps, separated by commas. {ANY_NODE}",
            examples=["channel:web,support-line,kind:order_placed"],
        ),
    ],
    within: Annotated[Length, Query(description="The longest time from the first step to the last.")] = "30d",
    by: SeenBy = "touchpoint",
    ordered: Annotated[bool, Query(description="`false`: the steps may be taken in any order.")] = True,  # noqa: FBT002
) -> Response:
    """Read how many customers take the first step, how many of them the second, and so on, all within the range.

    In order: a customer passes step k where they have an interaction at each of the first k steps, each after the one
    before it, the last no more than `within` after the first. Where there are several ways to begin, that counts which
    gets furthest, the earliest of those, and after it the earliest interaction that each step can be taken by.

    In any order (`ordered=false`): a customer passes step k where, no more than `within` after one of their
    interactions at any of the steps, there is one at each of the first k; one that is at several stands for each.
    """
    session = analysing.session
    named = [each.strip() for each in given.split(",")]
    if not _STEPS[0] <= len(named) <= _STEPS[1] or not all(named):
        raise _refused("steps", f"must be {_STEPS[0]} to {_STEPS[1]} steps, separated by commas")
    as_of = await followers.as_of(session, recounting.FOLLOWER)
    at = [await resolved(session, each, by, parameter="steps") for each in named]
    counter = Funnel(at, await touchpoints.groups(session), within_ms=ms(within), ordered=ordered)
    counted = await _count(analysing, counter.add, hours.start, hours.end)
    passed = counter.passed()
    customers = passed.customers.tolist()
    rows = [
        {
            "step": name,
            "customers": count,
            "of_first": _share(count, customers[0]),
            "of_previous": _share(count, before) if place else None,
            "drop_off": before - count if place else None,
            "median_seconds": _seconds(median),
        }
        for place, (name, count, before, median) in enumerate(
            zip(named, customers, [0, *customers[:-1]], passed.median_seconds.tolist(), strict=True)
        )
    ]
    content = (
        dated(hours, as_of)
        | {"by": by, "within": within, "ordered": ordered}
        | counted.said()
        | {"errors": {"median_seconds": round(RELATIVE_ERROR, 4)}, "items": rows}
    )
    return await table(request, rows, _FUNNEL, document=content)


@router.get(
    "/attribution",
    summary="What conversions are owed to",
    response_class=Response,
    responses=described(
        AttributionAnswer, says="The conversions owed to each.", columns=_CREDITS, row=ATTRIBUTION["items"][0]
    ),
)
async def read_attribution(
    request: Request,
    _: MayRead,
    hours: TheHours,
    analysing: Analysing,
    conversion: Annotated[
        str, Query(max_length=150, description=f"What is a conversion. {ANY_NODE}", examples=["kind:order_placed"])
    ],
    model: Annotated[
        Model, Query(description="How a conversion is shared among the interactions before it.")
    ] = "linear",
    lookback: Annotated[Length, Query(description="How long before its conversion an interaction counts.")] = "30d",
    half_life: Annotated[
        Length, Query(description="After how long an interaction counts half; of `time_decay`.")
    ] = "7d",
    by: SeenBy = "touchpoint",
) -> Response:
    """Read how many of the conversions in the range are owed to each touchpoint, kind or channel.

    The path to a conversion are the customer's interactions before it, no more than `lookback` earlier and after the
    conversion before it, also those before `from`. Each conversion is one, shared out among its path; those without a
    path are `(no path)`'s, so that all add up to `conversions`.

    `first` and `last`: all to the first or the last interaction. `linear`: the same to each. `position`: 40 % to the
    first, 40 % to the last, 20 % to those between. `time_decay`: by 2^(-t / `half_life`), t before the conversion.
    `markov`: by how much fewer would convert if one led nowhere (removal effects in a Markov chain of first order,
    Anderl et al. 2016); there interactions that are on no path make up paths that end without a conversion, where
    `lookback` passes without another one.
    """
    session = analysing.session
    as_of = await followers.as_of(session, recounting.FOLLOWER)
    of = await resolved(session, conversion, by, parameter="conversion")
    groups = await touchpoints.groups(session)
    seen = Nodes(by, most=attribution.MOST_NODES, groups=groups)
    lookback_ms = ms(lookback)
    counter = Attribution(
        seen, model, since_ms=ids.unix_ms(hours.start), lookback_ms=lookback_ms, half_life_ms=ms(half_life)
    )
    since = hours.start - timedelta(hours=-(-lookback_ms // 3_600_000))
    await _count(analysing, lambda some: counter.add(some, of.matches(some.steps, groups)), since, hours.end)
    owed = await analysing.run(counter.credits)
    numbers = owed.steps.nonzero()[0].tolist()
    called = await _names(session, seen, numbers)
    rows: list[dict[str, Any]] = [
        {
            "node": called[number],
            "conversions": round(float(owed.credits[number]), 6),
            "share": _share(owed.credits[number], owed.conversions),
            "conversions_with": int(owed.conversions_with[number]),
            "interactions": int(owed.steps[number]),
        }
        for number in numbers
    ]
    rows.sort(key=lambda row: (-row["conversions"], row["node"]))
    if owed.without:
        share = _share(owed.without, owed.conversions)
        without = {"conversions": owed.without, "share": share, "conversions_with": owed.without, "interactions": 0}
        rows.append({"node": _NO_PATH} | without)
    content = dated(hours, as_of) | {
        "by": by,
        "conversion": conversion,
        "model": model,
        "lookback": lookback,
        "half_life": half_life if model == "time_decay" else None,
        "conversions": owed.conversions,
        "customers": owed.customers,
        "items": rows,
    }
    return await table(request, rows, _CREDITS, document=content)


class _Counted:
    """Hands steps on as journeys, and knows how many there were and of how many customers."""

    def __init__(self, add: Callable[[Journeys], None]) -> None:
        self._add = add
        self._interactions = self._customers = 0

    def take(self, some: Steps) -> None:
        """Hand on the steps of some customers."""
        found = journeys.of(some)
        self._interactions += len(found)
        self._customers += found.customers
        self._add(found)

    def said(self) -> dict[str, int]:
        """What an answer says of it."""
        return {"interactions": self._interactions, "customers": self._customers}


async def _count(analysing: Analysing, add: Callable[[Journeys], None], since: datetime, until: datetime) -> _Counted:
    """Let all journeys within these hours be added."""
    counted = _Counted(add)
    await steps.each(analysing.session, analysing.run, counted.take, since, until)
    return counted


async def _of_sort(session: ReadSession, given: str, by: By, parameter: str) -> Node:
    """The node of this name, which must be of the sort that all are seen as."""
    found = await resolved(session, given, by, parameter=parameter)
    if found.by != by:
        raise _refused(parameter, f"must be a {by}, as `by` says, or `by` must be {found.by}")
    return found


async def _names(session: ReadSession, seen: Nodes, numbers: Sequence[int]) -> dict[int, str]:
    """What the nodes of these numbers are called; `OUTSIDE` is left out."""
    wanted = sorted({number for number in numbers if number != OUTSIDE})
    called: Mapping[int, str] = await nodes.names(session, seen.by, [seen.ids[number] for number in wanted])
    return {number: called.get(seen.ids[number], nodes.OTHER) for number in wanted}


def _share(part: float, whole: float) -> float | None:
    return round(float(part) / whole, 6) if whole else None


def _seconds(value: float) -> float | None:
    return None if isnan(value) else round(value, 3)


def _refused(name: str, detail: str) -> InvalidRequest:
    return InvalidRequest("A parameter is not as it must be.", problems=[Problem(f"/query/{name}", detail)])
