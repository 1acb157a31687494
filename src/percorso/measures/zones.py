"""Time zones by name."""

from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones


def zone(name: object) -> ZoneInfo | None:
    """The zone of a name of the IANA time zone database, such as Europe/Rome; None where there is none of this name."""
    return ZoneInfo(name) if isinstance(name, str) and name in _names() else None


@lru_cache(1)
def _names() -> frozenset[str]:
    """Every name there is: to look for one among the files would mean to open a path that a caller made up."""
    return frozenset(available_timezones())
