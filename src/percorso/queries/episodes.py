"""Pages of a customer's episodes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from asyncpg.pgproto.pgproto import UUID

from percorso import ids, measures
from percorso.measures import Contact, Episode
from percorso.queries import cursor
from percorso.queries.cursor import Page

_UNITS: Final = {"d": timedelta(days=1), "h": timedelta(hours=1)}


def list_name(gap: str, order: str) -> str:
    """The name of the list whose cursors these are: another gap makes other episodes."""
    return f"episodes-{gap}-{order}"


def page(
    contacts: Sequence[Contact],
    *,
    gap: str,
    order: Literal["asc", "desc"],
    limit: int,
    after: UUID | None,
    now: datetime,
) -> Page[Episode]:
    """One keyset page of the episodes of contacts in order of time; `gap` is a number of days or hours, such as 30d.

    All are made and some are given: where a case closes is only known from what followed. The page begins after the
    episode whose first interaction is `after`, or where it would be.
    """
    pause = int(gap[:-1]) * _UNITS[gap[-1]]
    found = measures.episodes(contacts, gap=pause, now_ms=ids.unix_ms(now))
    if order == "desc":
        found.reverse()
    if after is not None:
        newest_first = order == "desc"
        found = [
            each
            for each in found
            if each.first_interaction_id != after and (each.first_interaction_id < after) is newest_first
        ]
    if len(found) <= limit:
        return Page(found, None)
    last = found[limit - 1].first_interaction_id
    return Page(found[:limit], cursor.encode(last.bytes, list_=list_name(gap, order)))
