"""Classes of buyers by recency, frequency and monetary value, among all buyers.

Each measure is scored 1 to 5 by the fifth of all buyers that a customer falls in, 5 being the latest purchase, the most
purchases, the most money (A. M. Hughes, *Strategic Database Marketing*, 1994). The names of the classes are those in
common use in marketing software. Those are defined on recency and on the mean of the other two, with gaps and overlaps
that differ from one to the next; here one table gives each pair of scores one name.
"""

from typing import Final, Literal

RfmClass = Literal[
    "champions", "loyal", "potential_loyal", "new", "promising", "needs_attention", "about_to_sleep", "at_risk",
    "cannot_lose", "hibernating", "lost",
]  # fmt: skip

FIFTHS: Final = 5

CLASSES: Final[tuple[tuple[RfmClass, ...], ...]] = (
    ("lost", "lost", "at_risk", "cannot_lose", "cannot_lose"),
    ("hibernating", "hibernating", "at_risk", "at_risk", "at_risk"),
    ("about_to_sleep", "about_to_sleep", "needs_attention", "loyal", "loyal"),
    ("promising", "potential_loyal", "potential_loyal", "loyal", "champions"),
    ("new", "potential_loyal", "potential_loyal", "champions", "champions"),
)
"""The class by the score of recency, 1 first, and by the mean of the scores of frequency and monetary value.

The mean is rounded half up. Where nothing is known of the money it is the score of frequency alone.
"""
