"""Figures as they stand in answers: in JSON nested by their names, in tables a column each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np

from percorso.analytics import figures, sketches
from percorso.analytics.cells import Totals
from percorso.analytics.figures import Columns
from percorso.analytics.sketches import Ragged
from percorso.http import answers
from percorso.http.ranges import Hours
from percorso.queries import words
from percorso.storage.database import ReadSession

ERRORS: Final = {
    "customers": round(sketches.STANDARD_ERROR, 4),
    "response_times": round(sketches.RELATIVE_ERROR, 4),
}
"""What answers say of how exact they are: relative errors."""

Kinds = dict[str, str]
"""Of each column of a table: what its values are."""


def period(hours: Hours) -> dict[str, str]:
    """A range as it stands in answers."""
    return {"from": answers.moment(hours.start), "to": answers.moment(hours.end)}


def said(hours: Hours, as_of: datetime | None, **others: Any) -> dict[str, Any]:
    """What every answer says beside its figures."""
    return {**period(hours), **others, "as_of": None if as_of is None else answers.moment(as_of), "errors": ERRORS}


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


def documents(
    leading: Columns, totals: Totals, before: Totals | None, named: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Groups as they stand in JSON: what leads, their figures, costs, and the change since the period before."""
    columns = leading | figures.columns(totals) | {"costs": costs(totals.costs, named)}
    if before is not None:
        columns["change"] = figures.documents(figures.compared(totals, before))
    return figures.documents(columns)


def flat(items: Sequence[Mapping[str, Any]], leading: Kinds, *, change: bool) -> tuple[list[dict[str, Any]], Kinds]:
    """The same as rows of a table, and the kind of each of its columns; costs have a column for each currency."""
    money = sorted({currency for item in items for currency in item["costs"]})
    kinds = leading | {name: "integer" if name in figures.WHOLE else "number" for name in figures.NAMES}
    kinds |= {f"costs.{currency}": "number" for currency in money}
    if change:
        for name in figures.NAMES:
            number = "integer" if name in figures.WHOLE else "number"
            kinds |= {f"change.{name}.before": number, f"change.{name}.difference": number}
            kinds |= {f"change.{name}.significant": "flag", f"change.{name}.test": "text"}
    return [{name: _at(item, name) for name in kinds} for item in items], kinds


def _at(item: Mapping[str, Any], name: str) -> Any:
    value: Any = item
    for step in name.split("."):
        value = value.get(step)
    return value
