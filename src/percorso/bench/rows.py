"""What is measured: each row is a generator that yields one pair of figures a round, our side's and its limit's.

Within a round the two sides follow each other, so that whatever else the machine does over time meets both.
"""

from functools import partial
from typing import Final

from percorso.bench import touchpoints
from percorso.bench.ingesting import batch, duplicates, memory, ndjson, schemas, segment, single, tail, workers
from percorso.bench.journeys import ingest_grown, journey, journey_grown, journey_long, journey_many, merge, summary
from percorso.bench.preload import TOUCHPOINT_DAYS
from percorso.bench.row import Row

_ALL: Final = (
    Row("single", "single POSTs", "the same, validated and not stored", 0.80, partial(single, against="accepted")),
    Row("tail", "single POSTs, p99", "their own p50", 5, tail, of="tail"),
    Row("ordinary", "single POSTs", "an ordinary service", 5, partial(single, against="ordinary")),
    Row("batch", "batches of 1,000", "bare COPY", 0.50, batch),
    Row("ndjson", "one NDJSON stream", "bare COPY", 0.50, ndjson, reach_mib=300),
    Row("segment", "batches of 100 Segment calls", "as many interactions in batches of 100", 0.60, segment),
    Row("schemas", "batches of 1,000, a schema enforced", "the same without a schema", 0.90, schemas),
    Row("duplicates", "the same batches again", "their first sending", 0.5, duplicates),
    Row(
        "journey",
        "a journey's page of 50, p50",
        "bare SQL + an empty route",
        1.5,
        journey,
        of="p50",
        reads_journeys=True,
    ),
    Row(
        "journey_many",
        "10 identities, 10 years, p50",
        "one identity, one month",
        2,
        journey_many,
        of="p50",
        reads_journeys=True,
    ),
    Row(
        "journey_long",
        "the same, 10,000 interactions, p50",
        "one identity, one month",
        2,
        journey_long,
        of="p50",
        reads_journeys=True,
        reads_histories=True,
    ),
    Row(
        "summary",
        "summary of 10,000 interactions, p50",
        "a page of that journey",
        130,
        summary,
        of="p50",
        reach_ms=150,
        reads_histories=True,
    ),
    Row(
        "merge",
        "merge and split, 10,000 interactions, p50",
        "with 60 interactions",
        1.5,
        merge,
        of="p50",
        reads_journeys=True,
        reads_histories=True,
    ),
    Row(
        "journey_grown",
        "a journey's page with all stored, p99",
        "with a twentieth stored",
        1.5,
        journey_grown,
        of="p99",
        reads_journeys=True,
        grows=True,
    ),
    Row(
        "ingest_grown",
        "batches with all stored",
        "with a twentieth stored",
        0.85,
        ingest_grown,
        grows=True,
    ),
    *(
        Row(
            name,
            f"{what}, any range, p99",
            "the same asked of the facts",
            50,
            measure,
            reach_p99_ms=50,
            reads_touchpoints=True,
        )
        for name, what, measure in (
            ("touchpoints", "the list of touchpoints", touchpoints.listed),
            ("touchpoint_stats", "a touchpoint's days in a zone", touchpoints.stats),
            ("channels", "the channels", touchpoints.channels),
        )
    ),
    *(
        Row(
            f"{name}_{days}d",
            f"{name} over {days} days, p50",
            "transitions asked of the facts",
            1,
            partial(measure, days=days),
            reach_ms=most,
            reads_touchpoints=True,
        )
        for name, measure in (
            ("transitions", touchpoints.transitions),
            ("paths", touchpoints.paths),
            ("funnel", touchpoints.funnel),
        )
        for days, most in ((30, 2_000), (TOUCHPOINT_DAYS, 10_000))
    ),
    Row(
        "ingest_rollups",
        "batches while rollups are kept",
        "while they are not",
        0.90,
        touchpoints.ingest,
        reads_touchpoints=True,
    ),
    Row("memory", "memory after all posts", "after a fifth of them", 1.1, memory, of="memory"),
    Row("workers", "single POSTs, two workers", "one worker", 1.5, workers, cores=4),
)
ROWS: Final = {row.name: row for row in _ALL}
"""Every row, by name, in the order of the table."""
