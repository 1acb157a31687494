"""What stored cells are counted by, and over what time: numbers that stand in stored data."""

from enum import IntEnum
from typing import Final

EVERYWHERE: Final = 0
"""The scope of all touchpoints; any other is the id of one."""
NO_WORD: Final = 0
"""The key of interactions that do not say a kind, a location …: no word has this id."""


class Dimension(IntEnum):
    """What cells are counted by; each is named with what a cell's `key` is.

    Of all touchpoints there are `ALL`, `TOUCHPOINT`, `CHANNEL`, `KIND` and `TOPIC` at every level, and `VOLUME` by the
    hour; of a single one there are `ALL`, `CHANNEL`, `FUNCTION`, `KIND`, `LOCATION`, `AGENT` and `CAMPAIGN` by the
    hour. A new one goes to the end.
    """

    ALL = 0  # always 0
    TOUCHPOINT = 1  # the touchpoint's id
    CHANNEL = 2  # of `steps.CHANNEL_CODES`
    FUNCTION = 3  # of `steps.FUNCTION_CODES`; 0: none
    KIND = 4  # the id of a word, as are all of those that follow; 0: none
    LOCATION = 5
    AGENT = 6
    CAMPAIGN = 7
    TOPIC = 8  # an interaction counts in each of its topics; one without any counts in none
    VOLUME = 9  # no cells, but interactions by hour of the day and channel: see `volumes.py`


class Level(IntEnum):
    """How long a cell is; named with where a row begins, and what a cell's `slot` is."""

    HOUR = 0  # a UTC day; 0 to 23
    DAY = 1  # the first of a month; 1 to 31
    MONTH = 2  # the first of January; 1 to 12


WORDED: Final = frozenset((
    Dimension.KIND, Dimension.LOCATION, Dimension.AGENT, Dimension.CAMPAIGN, Dimension.TOPIC
))  # fmt: skip
"""Those whose keys are ids of words."""
OF_ALL: Final = (Dimension.ALL, Dimension.TOUCHPOINT, Dimension.CHANNEL, Dimension.KIND, Dimension.TOPIC)
"""Those of all touchpoints."""
OF_ONE: Final = (
    Dimension.ALL, Dimension.CHANNEL, Dimension.FUNCTION, Dimension.KIND, Dimension.LOCATION, Dimension.AGENT,
    Dimension.CAMPAIGN,
)  # fmt: skip
"""Those of a single touchpoint."""
