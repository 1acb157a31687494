"""How long an answer may take: one deadline for all that is done for it, in the database and here."""

from time import monotonic
from typing import Final

from percorso.errors import TooMuch

_RETRY_AFTER: Final = 5
"""Seconds after which a call that was given up may be repeated."""


class Deadline:
    """Begins when it is made, and ends `seconds` later, or when it is told to `end`. Threads may share one."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = monotonic() + seconds

    def left(self) -> float:
        """Seconds left; 0 where there are none."""
        return max(self._until - monotonic(), 0.0)

    def check(self) -> None:
        """Raise TooMuch where the time is up. To be called between chunks of work, each of some milliseconds."""
        if not self.left():
            raise self.missed()

    def end(self) -> None:
        """Let the time be up now: no one waits for the answer any more."""
        self._until = monotonic()

    def missed(self) -> TooMuch:
        """The error that says that it took too long, and what to do."""
        return TooMuch(
            f"No answer was found within {self.seconds:g} s: narrow the range (`from`, `to`), or filter.",
            retry_after=_RETRY_AFTER,
        )

    def busy(self) -> TooMuch:
        """The error that says that others were before it all that time."""
        return TooMuch(
            "Other analytics are being worked on, as many as are allowed at once: repeat this later, and where it is "
            "large narrow the range (`from`, `to`), or filter.",
            retry_after=_RETRY_AFTER,
        )
