"""How each channel performs, when it is used, and how many of them customers use."""

from collections.abc import Sequence
from math import isnan
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from percorso.analytics import intervals, volumes
from percorso.analytics.arrays import Ints
from percorso.analytics.cells import Totals
from percorso.analytics.dimensions import Dimension
from percorso.analytics.steps import CHANNEL_CODES
from percorso.http import figures
from percorso.http.access import MayRead
from percorso.http.documents.analytics_figures import CHANNELS, ChannelFigures
from percorso.http.ranges import Hours, TheHours, TheZone
from percorso.http.services import Analysing, Use
from percorso.http.tables import ANY_FORM, Columns, described
from percorso.queries import rollups
from percorso.queries.freshness import freshness
from percorso.queries.rollups import MixRows, Parts

router = APIRouter(prefix="/v1/analytics/channels", tags=["Analytics"])

_NAMES: Final = {code: channel for channel, code in CHANNEL_CODES.items()}
_ALL: Final = 0
"""The key of all channels together."""
_WEEK: Final = 7
_COLUMNS: Final[Columns] = {"channel": "text"}
_USED: Final = ("one", "two", "three_or_more")


@router.get(
    "",
    summary="How each channel performs",
    response_class=Response,
    responses=described(
        ChannelFigures,
        says="The figures of every channel that was used; a table has no heat maps.",
        columns=figures.columns(_COLUMNS, change=True),
        row=figures.row(CHANNELS["items"][0], {"channel": "phone"}, _COLUMNS, change=True),
    ),
    dependencies=[ANY_FORM],
)
async def read_channels(
    request: Request, _: MayRead, hours: TheHours, zone: TheZone, use: Use, analysing: Analysing
) -> Response:
    """Read the figures of each channel in a period, and how they differ from the period before; most used first.

    `heat_map` says when each is used, by the weekday and the hour of the day in the time zone `tz`; `channels_used` how
    many of the customers use one, two, or more channels within the period.
    """
    session = analysing.session
    as_of = await freshness(session)
    periods = [hours, hours.before]
    ranges = [(each.start, each.end) for each in periods]
    by_channel = await rollups.everywhere(session, Dimension.CHANNEL, ranges, use.kept)
    together = await rollups.everywhere(session, Dimension.ALL, ranges, use.kept)
    at, counts = await rollups.volume(session, hours.start, hours.end)
    samples = await rollups.mix(session, hours.start, hours.end)
    codes, now, before = await analysing.run(_figures, by_channel, periods)
    [_all], all_now, all_before = await analysing.run(_figures, together, periods, [_ALL])
    named = await figures.currencies(session, now, before, all_now, all_before)
    heat = await analysing.run(_heat, at, counts, zone)
    [total] = figures.documents({}, all_now, all_before, named)
    items = figures.documents({"channel": [_NAMES.get(code) for code in codes]}, now, before, named)
    content = figures.said(hours, as_of, before=figures.period(hours.before), tz=zone.key) | {
        "total": total | {"heat_map": heat.sum(axis=2).tolist()},
        "channels_used": await analysing.run(_used, samples),
        "items": [item | {"heat_map": heat[:, :, code].tolist()} for item, code in zip(items, codes, strict=True)],
    }
    return await figures.answer(request, content, items, _COLUMNS, change=True)


def _figures(parts: Parts, periods: Sequence[Hours], codes: Sequence[int] = ()) -> tuple[list[int], Totals, Totals]:
    """The channels of the first period by their codes, most used first, or those given; their figures in both."""
    if not codes:
        found, interactions = parts.counts(periods[0].start, periods[0].end, "interactions")
        codes = found[np.lexsort((found, -interactions))].tolist()
    keys, group = np.array(codes, np.int64), np.arange(len(codes))
    now, before = (parts.totals(period.start, period.end, keys, group, len(codes)) for period in periods)
    return list(codes), now, before


def _heat(hours: Ints, counts: Ints, zone: ZoneInfo) -> Ints:
    """Interactions by weekday, hour of the day and channel's code, in the zone."""
    weekday, hour = intervals.of_week(hours, zone)
    heat = np.zeros((_WEEK, volumes.HOURS, volumes.WIDTH), np.int64)
    np.add.at(heat, (weekday, hour), counts)
    return heat


def _used(samples: MixRows) -> dict[str, Any]:
    """The shares of customers who use one, two, three or more channels, and of how many that was found out."""
    sample = samples.sample()
    shares = zip(_USED, sample.shares().tolist(), strict=True)
    return {"sampled": len(sample.customers)} | {
        name: None if isnan(share) else round(share, 6) for name, share in shares
    }
