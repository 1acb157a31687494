"""Figures as they stand in answers: in JSON nested by their names, in tables a column each."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
from fastapi import Request
from fastapi.responses import Response

from percorso.analytics import distinct, figures, histograms
from percorso.analytics.cells import Totals
from percorso.analytics.figures import Columns as Values
from percorso.analytics.histograms import Ragged
from percorso.http import answers
from percorso.http.ranges import Hours
from percorso.http.tables import JSON, Columns, Kind, form, table
from percorso.queries import words
from percorso.queries.freshness import Freshness
from percorso.storage.database import ReadSession

ERRORS: Final = {
    "customers": round(distinct.STANDARD_ERROR, 4),
    "response_times": round(histograms.RELATIVE_ERROR, 4),
}
"""What answers say of how exact they are: relative errors."""


def period(hours: Hours) -> dict[str, str]:
    """A range as it stands in answers."""
    return {"from": answers.moment(hours.start), "to": answers.moment(hours.end)}


def dated(hours: Hours, as_of: datetime | None) -> dict[str, Any]:
    """What every answer over a range says: of what it is, and as of when."""
    return period(hours) | {"as_of": moment(as_of)}


def moment(at: datetime | None) -> str | None:
    """A moment as it stands in answers, where there is one."""
    return None if at is None else answers.moment(at)


def said(hours: Hours, as_of: Freshness, **others: Any) -> dict[str, Any]:
    """What every answer says beside its figures."""
    contacts = moment(as_of.contacts)
    return period(hours) | others | {"as_of": moment(as_of.counts), "response_times_as_of": contacts, "errors": ERRORS}


async def currencies(session: ReadSession, *totals: Totals) -> dict[int, str]:
    """The currencies that costs are in, by the ids of their words."""
    ids = {number for each in totals for number in each.costs.keys.tolist()}
    return await words.texts(session, ids) if ids else {}


def costs(amounts: Ragged, named: Mapping[int, str]) -> list[dict[str, float]]:
    """The amounts of each group by currency."""
    found: list[dict[str, float]] = [{} for _ in amounts.counts]
    group = np.repeat(np.arange(len(amounts.counts)), amounts.counts).tolist()
    for of, currency, amount in zip(group, amounts.keys.tolist(), amounts.amounts.tolist(), strict=True):
        if currency in named:
            found[of][named[currency]] = round(amount, 6)
    return found


def documents(leading: Values, totals: Totals, before: Totals | None, named: Mapping[int, str]) -> list[dict[str, Any]]:
    """Groups as they stand in JSON: what leads, their figures, costs, and the change since the period before."""
    values = leading | figures.columns(totals) | {"costs": costs(totals.costs, named)}
    if before is not None:
        values["change"] = figures.documents(figures.compared(totals, before))
    return figures.documents(values)


def columns(leading: Columns, *, change: bool, currencies: Iterable[str] = ()) -> Columns:
    """The columns of a table of figures: what leads, each figure, costs by currency, and what changed."""
    numbers: dict[str, Kind] = {name: "integer" if name in figures.WHOLE else "number" for name in figures.NAMES}
    found: dict[str, Kind] = dict(leading) | numbers
    found |= {f"costs.{currency}": "number" for currency in currencies}
    if change:
        for name, number in numbers.items():
            found |= {f"change.{name}.before": number, f"change.{name}.difference": number}
            found |= {f"change.{name}.significant": "flag", f"change.{name}.test": "text"}
    return found


async def answer(
    request: Request,
    document: Mapping[str, Any],
    leading: Sequence[Mapping[str, Any]],
    kinds: Columns,
    *,
    change: bool,
) -> Response:
    """An answer whose items have figures, in the form that the request wants; a table begins with what is `leading`."""
    items = document["items"]
    if await form(request) == JSON:
        return await table(request, (), {}, document=document)
    named = columns(kinds, change=change, currencies=sorted({each for item in items for each in item["costs"]}))
    inner = [name.split(".") for name in named if name not in kinds]
    rows = [
        {name: first.get(name) for name in kinds} | {".".join(path): _at(item, path) for path in inner}
        for first, item in zip(leading, items, strict=True)
    ]
    return await table(request, rows, named, document=document)


def row(example: Mapping[str, Any], leading: Mapping[str, Any], kinds: Columns, *, change: bool) -> dict[str, Any]:
    """A row of a table, of the item of an example."""
    named = columns(kinds, change=change)
    return {name: leading[name] if name in kinds else _at(example, name.split(".")) for name in named}


def _at(item: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = item
    for step in path:
        value = value.get(step)
    return value
