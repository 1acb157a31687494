"""What a schema would make of interactions that are stored already."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import jiter
from asyncpg.pgproto.pgproto import UUID

from percorso.analytics.deadline import Deadline
from percorso.ingest import faults
from percorso.ingest.erase import ANONYMOUS
from percorso.ingest.json_schema import JsonSchema

MOST_EXAMPLES: Final = 3
"""Interactions that are named of each place in the schema."""
MOST_PLACES: Final = 100
"""Places in the schema that are told of."""

_BETWEEN: Final = 50
"""Interactions between two looks at the clock."""


@dataclass(slots=True)
class Place:
    """A place in a schema where interactions fail: what it asks, how many there are, and some of them."""

    detail: str
    interactions: int = 0
    examples: list[UUID] = field(default_factory=list)


@dataclass(slots=True)
class Check:
    """What came of it: how many were seen and checked, how many failed, and where.

    What is left of erased interactions, as counts of nobody's, is seen and not checked.
    """

    seen: int = 0
    checked: int = 0
    failed: int = 0
    places: dict[str, Place] = field(default_factory=dict)

    def look(self, schema: JsonSchema, stored: Iterable[tuple[UUID, str]], deadline: Deadline) -> None:
        """Check these, given by id and document, of up to some thousand; TooMuch where the time is up."""
        for number, (interaction_id, text) in enumerate(stored):
            if not number % _BETWEEN:
                deadline.check()
            self.seen += 1
            raw = text.encode()
            document = jiter.from_json(raw)
            if document["source"] == ANONYMOUS:
                continue
            self.checked += 1
            if schema.validator.is_valid(document):
                continue
            self.failed += 1
            for name, detail in {each.place: each.detail for each in faults.find(schema, document, len(raw))}.items():
                if name not in self.places and len(self.places) >= MOST_PLACES:
                    continue
                place = self.places.setdefault(name, Place(detail))
                place.interactions += 1
                if len(place.examples) < MOST_EXAMPLES:
                    place.examples.append(interaction_id)

    def worst(self) -> list[tuple[str, Place]]:
        """The places, those where most fail first."""
        return sorted(self.places.items(), key=lambda item: (-item[1].interactions, item[0]))
