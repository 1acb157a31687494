"""The form of a run: short, so that every change can wait for it, or full."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """The short form makes every kind of fault, the full one makes it many times."""

    short: bool

    def rounds(self, *, short: int, full: int) -> int:
        """So many rounds."""
        return short if self.short else full

    def seconds(self, *, short: float, full: float) -> float:
        """So long."""
        return short if self.short else full
