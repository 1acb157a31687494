"""A row of the bench: what is measured, what it is held against, and the ratio to reach."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from percorso.bench.place import Place
from percorso.bench.sides import Options, Pair

Of = Literal["rate", "p50", "p99", "tail", "memory"]
"""What a ratio is of: rates, to be at least so much; or, to be at most so much, median times, 99th percentiles, our own
99th percentile to our median, or memory held at the end to that held early on."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: `what` is held `against` what, and the ratio to reach.

    `reach_mib` bounds the service's memory, `reach_ms` our median time and `reach_p99_ms` our 99th percentile. A row
    that `grows` is begun when a
    twentieth is stored: what `measure` yields first, None, stands for that.
    """

    name: str
    what: str
    against: str
    reach: float
    measure: Callable[[Place, Options], Iterator[Pair | None]]
    of: Of = "rate"
    reach_mib: float | None = None
    reach_ms: float | None = None
    reach_p99_ms: float | None = None
    reads_journeys: bool = False
    reads_histories: bool = False
    reads_touchpoints: bool = False
    grows: bool = False
    cores: int = 1

    def ratio(self, pair: Pair) -> float:
        """The ratio of one round."""
        if self.of == "rate":
            return pair.ours.per_second / pair.limit.per_second
        if self.of == "tail":
            return pair.ours.latencies_ms["p99"] / pair.ours.latencies_ms["p50"]
        if self.of == "memory":
            return pair.growth or 1.0
        return pair.ours.latencies_ms[self.of] / pair.limit.latencies_ms[self.of]
