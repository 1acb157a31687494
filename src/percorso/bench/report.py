"""What came of a bench, for people as a table and for machines as JSON."""

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from percorso.bench.row import Row
from percorso.bench.sides import Figure, Pair
from percorso.bench.verify import Verified

_PERCENTILES = ("p50", "p95", "p99")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    cores: int
    postgres: str
    embedded: bool
    python: str
    system: str
    stored_before: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A row and its rounds."""

    row: Row
    rounds: Sequence[Pair]

    @property
    def ratios(self) -> list[float]:
        """The ratio of each round."""
        return [self.row.ratio(pair) for pair in self.rounds]

    @property
    def peak_mib(self) -> float | None:
        """The most memory the service held, where the row asks for it and the system says."""
        return max((pair.peak_mib for pair in self.rounds if pair.peak_mib is not None), default=None)

    def time(self, percentile: str) -> float | None:
        """A percentile of our times in ms, by its name."""
        return middle([pair.ours for pair in self.rounds]).latencies_ms.get(percentile)

    @property
    def reached(self) -> bool:
        """Whether the median ratio, the memory and the median time are within reach."""
        ratio = median(self.ratios)
        within = ratio >= self.row.reach if self.row.of == "rate" else ratio <= self.row.reach
        bounds = (
            (self.row.reach_mib, self.peak_mib),
            (self.row.reach_ms, self.time("p50")),
            (self.row.reach_p99_ms, self.time("p99")),
        )
        return within and all(most is None or ours is None or ours <= most for most, ours in bounds)


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(postgres: str, *, embedded: bool, stored_before: int) -> Machine:
    """This machine."""
    version = f"{sys.implementation.name} {platform.python_version()}"
    return Machine(cores(), postgres, embedded, version, f"{platform.system()} {platform.machine()}", stored_before)


def as_json(where: Machine, measured: Iterable[Measured], verified: Verified | None) -> dict[str, Any]:
    """The report for machines; rates are events or pages per second."""
    return {
        "machine": asdict(where),
        "rows": [_row(each) for each in measured],
        "verified": None if verified is None else asdict(verified) | {"good": verified.good},
    }


def _row(measured: Measured) -> dict[str, Any]:
    row, ratios = measured.row, measured.ratios
    return {
        "name": row.name,
        "what": row.what,
        "against": row.against,
        "ratio": {"median": median(ratios), "min": min(ratios), "max": max(ratios)},
        "of": row.of,
        "reach": {"at_least" if row.of == "rate" else "at_most": row.reach},
        "reached": measured.reached,
        "peak_mib": measured.peak_mib,
        "ours": asdict(middle([pair.ours for pair in measured.rounds])),
        "limit": asdict(middle([pair.limit for pair in measured.rounds])),
        "cpu": _cpu(measured.rounds),
        "refused": sum(pair.refused for pair in measured.rounds),
        "rounds": [asdict(pair) | {"ratio": ratio} for pair, ratio in zip(measured.rounds, ratios, strict=True)],
    }


def middle(figures: Sequence[Figure]) -> Figure:
    """The medians of figures over rounds."""
    names = [name for name in _PERCENTILES if all(name in figure.latencies_ms for figure in figures)]
    return Figure(
        median(figure.per_second for figure in figures),
        {name: median(figure.latencies_ms[name] for figure in figures) for name in names},
    )


def _cpu(rounds: Sequence[Pair]) -> dict[str, float | None]:
    """The share of one core that load generator and server used while our side was measured."""
    seconds = sum(pair.seconds for pair in rounds)
    used = [pair.server_cpu for pair in rounds if pair.server_cpu is not None]
    return {
        "load_generator": sum(pair.load_cpu for pair in rounds) / seconds,
        "server": sum(used) / seconds if len(used) == len(rounds) else None,
    }


def render(console: Console, where: Machine, measured: Sequence[Measured], verified: Verified | None) -> None:
    """The report for people."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("row")
    table.add_column("measured, held against")
    for heading in ("ratio (min–max)", "reach", "per second", "its limit", "p50/p95/p99 ms", "its limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in measured:
        table.add_row(*_cells(each))
    console.print(table)
    console.print()
    for line in _notes(where, measured, verified):
        console.print(line, highlight=False, soft_wrap=True)


def _cells(measured: Measured) -> list[str]:
    row, ratios = measured.row, measured.ratios
    ours, limit = (middle([getattr(pair, side) for pair in measured.rounds]) for side in ("ours", "limit"))
    colour = "green" if measured.reached else "red"
    return [
        row.name,
        f"{row.what}\nagainst {row.against}",
        f"[{colour}]{median(ratios):.2f}[/] ({min(ratios):.2f}–{max(ratios):.2f})",
        f"{'≥' if row.of == 'rate' else '≤'} {row.reach:g}",
        f"{ours.per_second:,.0f}",
        f"{limit.per_second:,.0f}",
        _latencies(ours),
        _latencies(limit),
    ]


def _latencies(figure: Figure) -> str:
    return " / ".join(f"{figure.latencies_ms[name]:.1f}" for name in _PERCENTILES if name in figure.latencies_ms)


def _notes(where: Machine, measured: Sequence[Measured], verified: Verified | None) -> Iterable[str]:
    kind = "embedded" if where.embedded else "configured"
    yield (
        f"{where.cores} cores, PostgreSQL {where.postgres} ({kind}), {where.python}, {where.system}; "
        f"{where.stored_before:,} interactions stored before. Figures are medians over rounds."
    )
    for each in measured:
        if each.peak_mib is not None:
            reach = "" if each.row.reach_mib is None else f"; reach ≤ {each.row.reach_mib:g}"
            yield f"{each.row.name}: the service held {each.peak_mib:.0f} MiB at most{reach}."
        for percentile, most in (("p50", each.row.reach_ms), ("p99", each.row.reach_p99_ms)):
            if most is not None and (took := each.time(percentile)) is not None:
                yield f"{each.row.name}: {percentile} {took:.0f} ms; reach ≤ {most:g}."
        refused = sum(pair.refused for pair in each.rounds)
        if refused:
            yield f"[red]{each.row.name}: {refused} requests were refused or not answered.[/]"
    shares = [
        f"{each.row.name} {cpu['load_generator']:.0%} / {cpu['server']:.0%}"
        for each in measured
        if (cpu := _cpu(each.rounds))["server"] is not None
    ]
    if shares:
        yield f"Of one core, load generator / service: {', '.join(shares)}."
    if verified is not None:
        colour = "green" if verified.good else "red"
        yield (
            f"[{colour}]Acknowledged {verified.acknowledged:,}, stored {verified.stored:,}: lost {verified.lost}, "
            f"doubled {verified.doubled}, never sent {verified.unsent}, unpaired keys {verified.unpaired}.[/]"
        )
