"""What an import or export says of itself: a bar while it runs on a terminal, one line at the end."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from percorso.cli.sources import Item
from percorso.formats.rows import Refused
from percorso.ingest.verdict import Verdict

_NAMED: Final = 5
"""How many items that were not stored are named, with what is wrong with them."""


class Tally:
    """Counts verdicts, and keeps what is to be said of the first items that were not stored."""

    def __init__(self, *, dry: bool = False) -> None:
        self._counts = dict.fromkeys(("stored", "duplicate", "conflict", "rejected"), 0)
        self._dry = dry
        self._began = monotonic()
        self.named: list[str] = []

    @property
    def sound(self) -> bool:
        """Whether nothing was rejected or in conflict."""
        return not self._counts["rejected"] and not self._counts["conflict"]

    @property
    def read(self) -> int:
        """How many items have a verdict."""
        return sum(self._counts.values())

    def add(self, name: str, items: Sequence[Item], verdicts: Sequence[Verdict]) -> None:
        """Count the verdicts on these items of the file of this name."""
        for item, verdict in zip(items, verdicts, strict=True):
            self._counts[verdict.status] += 1
            if verdict.status in {"conflict", "rejected"} and len(self.named) < _NAMED:
                self.named.append(f"{name}:{item.line}: {_said(item, verdict)}")

    def line(self) -> str:
        """The summary: `read 5, stored 4, duplicate 0, conflict 0, rejected 1 in 0.1 s (50/s)`."""
        counts = self._counts
        if self._dry:
            counts = {"valid": counts["stored"], "rejected": counts["rejected"]}
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        return (
            f"read {self.read}, {said} in {rate(self.read, self._began)}{'; nothing was stored' if self._dry else ''}"
        )

    def brief(self) -> str:
        """What there is to say while it runs: `5,650/s, stored 4000, rejected 1`."""
        said = [f"{name} {count}" for name, count in self._counts.items() if count and not self._dry]
        return ", ".join([f"{_a_second(self.read, self._began):,.0f}/s", *said])


def rate(count: int, began: float) -> str:
    """How long it took since `began`, and how many that makes in a second: `12.3 s (5,650/s)`."""
    return f"{monotonic() - began:.1f} s ({_a_second(count, began):,.0f}/s)"


def _a_second(count: int, began: float) -> float:
    return count / max(monotonic() - began, 0.001)


@contextmanager
def bars() -> Iterator[Progress]:
    """Room for bars of bytes, with words in the field `said`, on standard error where that is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(20),
        DownloadColumn(),
        TextColumn("{task.fields[said]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        yield progress


def _said(item: Item, verdict: Verdict) -> str:
    if verdict.status == "conflict":
        return f"the same source and id is stored with other content, as {verdict.interaction_id}"
    problems = item.content.problems if isinstance(item.content, Refused) else verdict.problems
    return "; ".join(f"{problem.pointer} {problem.detail}".strip() for problem in problems)
