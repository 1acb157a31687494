"""Steps: those of an hour and a bucket of customers in one row."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from percorso.storage.database import WriteSession


class Row(NamedTuple):
    """`steps` is an array of `analytics.steps.STEP` as bytes."""

    bucket: int
    hour: datetime
    steps: bytes


async def put(session: WriteSession, hours: Sequence[datetime], rows: Sequence[Row], *, buckets: int) -> None:
    """Let these rows, in buckets from 0 to below `buckets`, be all there is of these hours.

    Relies on the primary key.
    """
    await session.execute(
        "DELETE FROM steps WHERE bucket = ANY(ARRAY(SELECT generate_series(0, $1 - 1))) AND hour = ANY($2)",
        buckets,
        hours,
    )
    if rows:
        await session.execute(
            "INSERT INTO steps (bucket, hour, steps) "
            "SELECT * FROM unnest($1::integer[], $2::timestamptz[], $3::bytea[])",
            *zip(*rows, strict=True),
        )
