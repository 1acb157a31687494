"""What can be said of a customer from their contacts: pure functions, no I/O; one kind of figure a file.

`summarise` makes all of them at once, and `outcomes` says by the same definitions what came of each contact; each is
defined in the docstring of the function that makes it.
"""

from percorso.measures.contacts import Contact, read
from percorso.measures.episodes import GAP, Episode, episodes
from percorso.measures.findings import Findings, find
from percorso.measures.outcomes import Outcome, outcomes
from percorso.measures.summary import Summary, sum_up, summarise
from percorso.measures.zones import zone

__all__ = [
    "GAP",
    "Contact",
    "Episode",
    "Findings",
    "Outcome",
    "Summary",
    "episodes",
    "find",
    "outcomes",
    "read",
    "sum_up",
    "summarise",
    "zone",
]
