"""Who an interaction is with: its identifiers, normalised and hashed, strongest first.

Nothing is looked up: the identity id is a keyed hash, so every process comes to the same one by itself.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import Problem, RejectedInteraction
from percorso.ingest.known import trim
from percorso.ingest.normalise import normalise
from percorso.interaction import IDENTIFIER_KINDS_STRONG, IDENTIFIER_RANK, WEAKEST_RANK
from percorso.storage.identities import Identifier

_STRONG = frozenset(IDENTIFIER_KINDS_STRONG)


class Identifiers:
    """Turns what a sender says of a customer into identifiers; remembers the latest `size` of them."""

    def __init__(self, salt: bytes, region: str | None, size: int) -> None:
        self._salt = salt
        self._region = region
        self._size = size
        self._known: dict[str | tuple[str, str], Identifier] = {}
        """By what was given: the value alone or, where it is remembered as of another kind, kind and value."""

    def one(self, kind: str, value: str) -> Identifier:
        """The identifier of this kind and value; ValueError with a sentence where the value is not of its kind."""
        known = self._known.get(value)
        if known is not None and known.kind == kind:
            return known
        key = value if known is None else (kind, value)
        known = self._known.get(key)
        if known is not None:
            return known
        normal = normalise(kind, value, self._region)
        # Most values are in normal form: one string then serves as key and as value.
        made = Identifier(
            UUID(ids.identity_id(self._salt, kind, normal)),
            sys.intern(kind),
            value if normal == value else normal,
            kind in _STRONG,
        )
        self._known[key] = made
        trim(self._known, self._size)
        return made

    def fits(self, kind: str, value: str) -> bool:
        """Whether a value is one of this kind."""
        try:
            self.one(kind, value)
        except ValueError:
            return False
        return True

    def recall(self, identities: Iterable[tuple[UUID, str, str]]) -> None:
        """Remember identities that are stored, with their kind and normalised value."""
        for identity, kind, value in identities:
            known = self._known.get(value)
            key = value if known is None or known.kind == kind else (kind, value)
            self._known[key] = Identifier(identity, sys.intern(kind), value, kind in _STRONG)
        trim(self._known, self._size)

    def of(self, customer: Mapping[str, str | Sequence[str]]) -> list[Identifier]:
        """All identifiers of a customer, each once, strongest first; RejectedInteraction where one is not valid."""
        if len(customer) == 1:
            # As most are: nothing is to be ranked.
            [(kind, given)] = customer.items()
            if type(given) is str and (known := self._known.get(given)) and known.kind == kind:
                return [known]
        ranked: list[tuple[int, Identifier]] = []
        problems: list[Problem] = []
        for kind, given in customer.items():
            rank = IDENTIFIER_RANK.get(kind, WEAKEST_RANK)
            for index, value in enumerate((given,) if isinstance(given, str) else given):
                try:
                    known = self._known.get(value)
                    ranked.append((rank, known if known and known.kind == kind else self.one(kind, value)))
                except ValueError as error:
                    pointer = f"/customer/{kind}" if isinstance(given, str) else f"/customer/{kind}/{index}"
                    problems.append(Problem(pointer, str(error)))
        if problems:
            raise RejectedInteraction("An identifier is not valid.", problems=problems)
        if len(ranked) == 1:
            return [ranked[0][1]]
        ranked.sort(key=itemgetter(0))
        return list({identifier.id: identifier for _, identifier in ranked}.values())

    def normalised(self, customer: Mapping[str, str | Sequence[str]]) -> dict[str, str | list[str]]:
        """What was said of a customer, in normal form and in the same shape; what cannot be normalised stays."""
        return {
            kind: self._normal(kind, given)
            if isinstance(given, str)
            else [self._normal(kind, value) for value in given]
            for kind, given in customer.items()
        }

    def _normal(self, kind: str, value: str) -> str:
        try:
            return self.one(kind, value).value
        except ValueError:
            # Stored under other settings, such as another default region.
            return value
