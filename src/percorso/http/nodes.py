"""Parameters of questions about the order of events: nodes of journeys, and lengths of time."""

import re
from datetime import timedelta
from typing import Annotated, Any, Final, get_args

from fastapi import Query
from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from percorso.analytics.journeys import By, Node
from percorso.errors import InvalidRequest, Problem
from percorso.interaction import CHANNELS
from percorso.queries import nodes
from percorso.storage.database import ReadSession

_LENGTH: Final = re.compile(r"[1-9][0-9]{0,3}[dhm]")
_UNITS: Final = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
_BYS: Final[tuple[By, ...]] = get_args(By)

ANY_NODE: Final = (
    "A touchpoint's slug, a kind or a channel: `touchpoint:…`, `kind:…` or `channel:…`; without that, by `by`."
)


def _length(given: Any) -> Any:
    if not isinstance(given, str) or not _LENGTH.fullmatch(given):
        raise PydanticCustomError(
            "length", "must be a number of days, hours or minutes from 1 to 9999, such as 30d, 12h or 90m"
        )
    return given


Length = Annotated[
    str,
    BeforeValidator(_length),
    WithJsonSchema({"type": "string", "pattern": f"^{_LENGTH.pattern}$", "examples": ["30d", "12h", "90m"]}),
]
"""A length of time, as it is given."""

SeenBy = Annotated[By, Query(description="What interactions are seen as: their touchpoint, kind or channel.")]


def ms(length: str) -> int:
    """A length of time in ms."""
    return int(length[:-1]) * _UNITS[length[-1]] // timedelta(milliseconds=1)


async def resolved(session: ReadSession, given: str, by: By, *, parameter: str) -> Node:
    """The node that this names; InvalidRequest where there is none such."""
    kind, colon, name = given.partition(":")
    which = next((each for each in _BYS if colon and each == kind), None)
    if which is None:
        which, name = by, given
    found = await nodes.ids(session, which, [name])
    if name not in found:
        raise _unknown(which, name, parameter)
    return Node(which, found[name])


def _unknown(by: By, name: str, parameter: str) -> InvalidRequest:
    said = {
        "touchpoint": f"no touchpoint has the slug {name!r}: `GET /v1/touchpoints` lists those that there are",
        "kind": f"no interaction has the kind {name!r}",
        "channel": f"{name!r} is not a channel; channels are: {', '.join(CHANNELS)}",
    }
    return InvalidRequest("Something unknown is asked for.", problems=[Problem(f"/query/{parameter}", said[by])])
