"""Parameters that every question about touchpoints and channels has: the range of whole hours, and the time zone."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import Depends, Query

from percorso.errors import InvalidRequest, Problem
from percorso.http.parameters import QueryMoment
from percorso.measures import zones

_HOUR: Final = timedelta(hours=1)
_USUAL: Final = timedelta(days=30)
_LONGEST: Final = timedelta(days=3653)
_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Hours:
    """From a whole hour, inclusive, to another, exclusive; both in UTC, and the second later than the first."""

    start: datetime
    end: datetime

    @property
    def before(self) -> "Hours":
        """The range of the same length that ends where this one begins."""
        return Hours(self.start - (self.end - self.start), self.start)


_From = Annotated[
    QueryMoment | None,
    Query(
        alias="from",
        description="Only what occurred at this moment or later (RFC 3339), rounded down to a whole hour of UTC. "
        "Without it: 30 days before `to`.",
    ),
]
_To = Annotated[
    QueryMoment | None,
    Query(
        alias="to",
        description="Only what occurred before this moment (RFC 3339), rounded down to a whole hour of UTC; at most "
        "10 years after `from`. Without it: the end of the hour that is running.",
    ),
]


async def hours(since: _From = None, until: _To = None) -> Hours:
    """A range of whole hours; InvalidRequest where nothing can be in it, or where it is longer than 10 years."""
    for name, given in (("from", since), ("to", until)):
        if given is not None and not _EARLIEST <= given <= _LATEST:
            raise _refused(name, f"must be in the years {_EARLIEST.year} to {_LATEST.year - 1}")
    end = _whole(datetime.now(UTC)) + _HOUR if until is None else _whole(until)
    start = end - _USUAL if since is None else _whole(since)
    if start >= end:
        name = "from" if until is None else "to"
        detail = "must be before now" if until is None else "must be at least one whole hour of UTC later than `from`"
        raise _refused(name, detail)
    if end - start > _LONGEST:
        raise _refused("from", f"must be at most 10 years ({_LONGEST.days} days) before `to`")
    return Hours(start, end)


TheHours = Annotated[Hours, Depends(hours)]


async def time_zone(
    tz: Annotated[
        str,
        Query(
            max_length=64,
            description="A time zone by its name in the IANA time zone database.",
            examples=["Europe/Rome"],
        ),
    ] = "UTC",
) -> ZoneInfo:
    """The time zone in which days begin; InvalidRequest where there is none of this name."""
    found = zones.zone(tz)
    if found is None:
        raise _refused("tz", "must be a name of the IANA time zone database, such as UTC, Europe/Rome or Asia/Kolkata")
    return found


TheZone = Annotated[ZoneInfo, Depends(time_zone)]


def _whole(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _refused(name: str, detail: str) -> InvalidRequest:
    return InvalidRequest("A parameter is not as it must be.", problems=[Problem(f"/query/{name}", detail)])
