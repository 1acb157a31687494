"""What the feed tells of a row of the commit log: which events it comes to, and what each of them says.

Each kind of row has one entry in KINDS, by its `what`; a kind that is not there is told nothing of. To tell of another:
a `Kind` of the types of its events, of how many a row comes to (which must depend on nothing but the row, since a
cursor counts them), and of what reads them.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.queries import watching
from percorso.queries.interactions import Filters, Found
from percorso.storage.database import ReadSession

STORED: Final = "interaction.stored"
CHANGED: Final = "interaction.changed"
DELETED: Final = "interaction.deleted"
EXPIRED: Final = "interactions.expired"
IDENTITY_CHANGED: Final = "customer.identity_changed"
SAID: Final = "customer.said"
FIRED: Final = "watch.fired"


class Row(NamedTuple):
    """A row of the commit log, with how many it names; the ids are left out where nobody wants its events.

    `hour` is the first that it names, where it names no interaction.
    """

    generation: int
    xid8: int
    at: datetime
    what: str
    hour: datetime | None
    identities: int
    interactions: int
    identity_ids: Sequence[UUID]
    interaction_ids: Sequence[UUID]


class Made(NamedTuple):
    """An event, but for where it stands. `found` is what the interaction said after it; None where that is deleted.

    `identity_ids` are whom an event of customers is about. `members` are what else it says, as figures.
    """

    event: str
    interaction_id: UUID | None = None
    found: Found | None = None
    identity_ids: Sequence[UUID] = ()
    members: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader of the feed wants; an empty sequence does not narrow.

    `filters` and `sources` are about what an interaction says. `customers` are identities, each of which stands for
    all of its customer.
    """

    events: Sequence[str] = ()
    filters: Filters = field(default_factory=Filters)
    sources: Sequence[str] = ()
    customers: Sequence[UUID] = ()

    def wants(self, event: str) -> bool:
        """Whether events of this type are wanted."""
        return not self.events or event in self.events

    @property
    def narrow(self) -> bool:
        """Whether anything is left out, so that more has to be looked at than is given."""
        return bool(self.events or self.sources or self.customers or self.filters.where([]))


Among = frozenset[UUID] | None
"""The identities of the customers that are wanted; None: everyone's."""
Part = tuple[Row, range]
"""The events of these numbers of a row."""
Numbered = list[tuple[int, Made]]
"""Events that are wanted, each with its number in its row, in order."""
Read = Callable[[ReadSession, Sequence[Part], Wanted, Among], Awaitable[list[Numbered]]]
"""What is wanted of each of these parts."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of row: the types of its events, how many a row comes to, and what reads them."""

    events: Sequence[str]
    count: Callable[[Row], int]
    read: Read


_FIRST: Final = "0"
_AFTER: Final = (
    "(SELECT b.revision + 1 FROM interaction_revisions b WHERE b.identity_id = of.identity_id "
    "AND b.interaction_id = of.id AND b.replaced_at = of.at ORDER BY b.revision DESC LIMIT 1)"
)
"""The revision that an interaction had after it was stored, or after it was enriched at the moment of a commit."""


def _telling(event: str, revision: str) -> Read:
    """Reads what interactions said after they were stored or enriched; those that are gone since are told as deleted.

    Relies on the primary keys of interactions and of revisions; `LIMIT` keeps each look-up to its one partition.
    """

    async def read(session: ReadSession, parts: Sequence[Part], wanted: Wanted, among: Among) -> list[Numbered]:
        chosen = [
            (place, row, number)
            for place, (row, numbers) in enumerate(parts)
            for number in numbers
            if among is None or row.identity_ids[number] in among
        ]
        made: list[Numbered] = [[] for _ in parts]
        if not chosen:
            return made
        arguments: list[Any] = [
            [row.identity_ids[number] for _, row, number in chosen],
            [row.interaction_ids[number] for _, row, number in chosen],
            [row.at for _, row, _ in chosen],
        ]
        fits = f"true{wanted.filters.where(arguments)}"
        if wanted.sources:
            arguments.append(list(wanted.sources))
            fits += f" AND document->>'source' = ANY(${len(arguments)})"
        rows = await session.fetch(
            "SELECT i.id, i.identity_id, i.received_at, coalesce(r.document, i.document)::text, "
            "coalesce(r.revision, i.revision), i.traceparent, coalesce(i.fits, false) "
            "FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS of (identity_id, id, at, n) "
            "LEFT JOIN LATERAL ("
            f"SELECT id, identity_id, received_at, revision, document, traceparent, {fits} AS fits FROM interactions "
            "WHERE identity_id = of.identity_id AND id = of.id LIMIT 1) AS i ON true LEFT JOIN LATERAL ("
            "SELECT revision, document FROM interaction_revisions WHERE i.fits AND i.revision > 0 "
            f"AND identity_id = of.identity_id AND interaction_id = of.id AND revision = {revision} LIMIT 1"
            ") AS r ON true ORDER BY of.n",
            *arguments,
        )
        for (place, row, number), (interaction_id, *others, fitting) in zip(chosen, rows, strict=True):
            if interaction_id is None:
                if wanted.wants(DELETED):
                    made[place].append((number, Made(DELETED, row.interaction_ids[number])))
            elif fitting:
                made[place].append((number, Made(event, interaction_id, Found(interaction_id, *others))))
        return made

    return read


def _each(read_one: Callable[[Row, range, Wanted, Among], Numbered]) -> Read:
    """Reads what the rows themselves say."""

    async def read(session: ReadSession, parts: Sequence[Part], wanted: Wanted, among: Among) -> list[Numbered]:  # noqa: ARG001 - there is nothing to ask the database
        return [read_one(row, numbers, wanted, among) for row, numbers in parts]

    return read


def _deleted(row: Row, numbers: range, wanted: Wanted, among: Among) -> Numbered:
    """Of what is deleted nothing is left to filter by."""
    if row.interactions:
        wants = wanted.wants(DELETED)
        return [
            (number, Made(DELETED, row.interaction_ids[number]))
            for number in numbers
            if wants and (among is None or row.identity_ids[number] in among)
        ]
    if row.hour is None or not wanted.wants(EXPIRED):
        return []
    month = row.hour.replace(day=1, hour=0)
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    return [(number, Made(EXPIRED, members={"from": month, "to": following})) for number in numbers]


def _identity(row: Row, numbers: range, _: Wanted, among: Among) -> Numbered:
    if among is not None and among.isdisjoint(row.identity_ids):
        return []
    return [(number, Made(IDENTITY_CHANGED, identity_ids=row.identity_ids)) for number in numbers]


def _said(row: Row, numbers: range, _: Wanted, among: Among) -> Numbered:
    return [
        (number, Made(SAID, identity_ids=(row.identity_ids[number],)))
        for number in numbers
        if among is None or row.identity_ids[number] in among
    ]


async def _fired(session: ReadSession, parts: Sequence[Part], _: Wanted, among: Among) -> list[Numbered]:
    """What fired is named by its place in the row: what is gone since leaves a gap there."""
    numbers_of = {(row.generation, row.xid8): numbers for row, numbers in parts}
    made: dict[tuple[int, int], Numbered] = {commit: [] for commit in numbers_of}
    for each in await watching.firings_of(session, list(numbers_of)):
        commit = each.generation, each.xid8
        if each.number in numbers_of[commit] and (among is None or each.identity_id in among):
            members = {
                "firing_id": each.firing_id,
                "watch": each.name,
                "version": each.version,
                "interactions": list(each.interaction_ids),
                "happened_at": each.at,
            }
            made[commit].append((each.number, Made(FIRED, identity_ids=(each.identity_id,), members=members)))
    return list(made.values())


def _deletions(row: Row) -> int:
    """Retention drops whole months: then one row names the month, and others whom it was with."""
    return row.interactions or int(row.hour is not None)


KINDS: Final[Mapping[str, Kind]] = {
    "stored": Kind((STORED,), lambda row: row.interactions, _telling(STORED, _FIRST)),
    "changed": Kind((CHANGED,), lambda row: row.interactions, _telling(CHANGED, _AFTER)),
    "deleted": Kind((DELETED, EXPIRED), _deletions, _each(_deleted)),
    "identity": Kind((IDENTITY_CHANGED,), lambda row: min(row.identities, 1), _each(_identity)),
    "said": Kind((SAID,), lambda row: row.identities, _each(_said)),
    "watch": Kind((FIRED,), lambda row: row.identities, _fired),
}

EVENTS: Final[Sequence[str]] = tuple(event for kind in KINDS.values() for event in kind.events)
"""Every type of event there is."""


def wanted_kinds(wanted: Wanted) -> Iterator[str]:
    """The kinds of rows that may come to an event that is wanted."""
    return (what for what, kind in KINDS.items() if any(map(wanted.wants, kind.events)))
