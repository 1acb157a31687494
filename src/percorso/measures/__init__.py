"""What can be said of a customer from their contacts: pure functions, no I/O; one kind of figure a file.

`summarise` makes all of them at once; each is defined in the docstring of the function that makes it.
"""

from percorso.measures.contacts import Contact, read
from percorso.measures.episodes import GAP, Episode, episodes
from percorso.measures.summary import Summary, summarise
from percorso.measures.zones import zone

__all__ = ["GAP", "Contact", "Episode", "Summary", "episodes", "read", "summarise", "zone"]
