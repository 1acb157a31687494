"""Profiles of customers, and the bounds of the fifths that buyers are classed by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession


@dataclass(frozen=True, slots=True)
class Profile:
    """What a customer's summary said at `computed_at`, as far as customers are found by it.

    `traits` is JSON, `labels` what of it can be searched for, as `name:value`.
    """

    customer_id: UUID
    computed_at: datetime
    identity_ids: Sequence[UUID]
    first_at: datetime | None
    last_at: datetime | None
    interactions: int
    channels: Sequence[str]
    relationship: str
    score: int
    open_complaints: int
    purchases: int
    last_purchase_at: datetime | None
    spent: float | None
    currency: str | None
    overdue: bool | None
    traits: str
    labels: Sequence[str]


class Bounds(NamedTuple):
    """The highest values of the four lower fifths of `buyers`; `currency` is empty where the measure is not money."""

    measure: str
    currency: str
    bounds: Sequence[float]
    buyers: int


_TYPES: Final = {
    "customer_id": "uuid",
    "computed_at": "timestamptz",
    "identity_ids": "uuid[]",
    "first_at": "timestamptz",
    "last_at": "timestamptz",
    "interactions": "integer",
    "channels": "text[]",
    "relationship": "text",
    "score": "integer",
    "open_complaints": "integer",
    "purchases": "integer",
    "last_purchase_at": "timestamptz",
    "spent": "double precision",
    "currency": "text",
    "overdue": "boolean",
    "traits": "jsonb",
    "labels": "text[]",
}
_NAMES: Final = ", ".join(_TYPES)
_SCORES: Final = ("recency_score", "frequency_score", "monetary_score", "rfm")
_SCORE_NAMES: Final = ", ".join(_SCORES)


def _score(measure: str, value: str, currency: str = "''") -> str:
    """SQL: the fifth that a value falls in, 1 to 5; null where it is, or where too few bought.

    Those of one value fall in the same fifth, the lowest of those that they reach into.
    """
    return (
        "(SELECT 1 + (SELECT count(*) FROM unnest(b.bounds) AS bound WHERE bound < v.value)::integer "
        f"FROM (SELECT ({value})::double precision AS value) AS v JOIN rfm_bounds b ON b.measure = '{measure}' "
        f"AND b.currency = {currency} WHERE v.value IS NOT NULL AND p.purchases > 0)"
    )


def _of(alias: str) -> str:
    """SQL: the scores of this alias."""
    return ", ".join(f"{alias}.{name}" for name in _SCORES)


_SCORED: Final = (
    "CROSS JOIN LATERAL (SELECT "
    f"{_score('recency', 'extract(epoch FROM p.last_purchase_at)')} AS recency_score, "
    f"{_score('frequency', 'p.purchases')} AS frequency_score, "
    f"{_score('monetary', 'p.spent', 'p.currency')} AS monetary_score) AS f "
    # The mean of the two scores, rounded half up.
    "CROSS JOIN LATERAL (SELECT f.*, ($1::text[])"
    "[f.recency_score][(f.frequency_score + coalesce(f.monetary_score, f.frequency_score) + 1) / 2] AS rfm) AS s"
)
"""SQL: the scores of profiles `p` by the present bounds, and the class that follows; $1 is the table of classes."""


async def put(session: WriteSession, profiles: Sequence[Profile], classes: Sequence[Sequence[str]]) -> set[UUID]:
    """Store profiles, each in the place of the customer's older one, and class those who bought.

    `classes` has the class by the score of recency and by the mean of the other two. A profile whose customer is none
    any more is left out; who erases a customer waits until this transaction ends. Locks are taken in order. Gives
    the customers whose profiles were stored.
    """
    rows = [
        {name: getattr(profile, name) for name in _TYPES}
        | {"last_at": profile.last_at or "-infinity", "traits": msgspec.Raw(profile.traits.encode())}
        for profile in sorted(profiles, key=lambda each: each.customer_id)
    ]
    updates = ", ".join(f"{name} = excluded.{name}" for name in (*_TYPES, *_SCORES) if name != "customer_id")
    stored = await session.fetch(
        "WITH held AS MATERIALIZED (SELECT p.* FROM jsonb_to_recordset($2::text::jsonb) "
        f"AS p({', '.join(f'{name} {type_}' for name, type_ in _TYPES.items())}) "
        "JOIN identities i ON i.identity_id = p.customer_id AND i.customer_id = p.customer_id FOR KEY SHARE OF i) "
        f"INSERT INTO customer_profiles ({_NAMES}, {_SCORE_NAMES}) "
        f"SELECT {_NAMES}, s.* FROM held p {_SCORED} "
        f"ON CONFLICT (customer_id) DO UPDATE SET {updates} "
        "WHERE customer_profiles.computed_at <= excluded.computed_at RETURNING customer_id",
        # To asyncpg a tuple within a list is a record.
        [list(row) for row in classes],
        msgspec.json.encode(rows, enc_hook=str).decode(),
    )
    return {row["customer_id"] for row in stored}


async def forget(session: WriteSession, customer_ids: Sequence[UUID]) -> None:
    """Delete the profiles of those that are no customers any more. Relies on the primary keys."""
    await session.execute(
        "DELETE FROM customer_profiles p WHERE p.customer_id = ANY($1) AND NOT EXISTS ("
        "SELECT FROM identities i WHERE i.identity_id = p.customer_id AND i.customer_id = p.customer_id)",
        customer_ids,
    )


async def put_bounds(session: WriteSession, bounds: Sequence[Bounds], *, at: datetime) -> None:
    """Put these bounds in the place of all others."""
    await session.execute("DELETE FROM rfm_bounds")
    await session.executemany(
        "INSERT INTO rfm_bounds (measure, currency, bounds, buyers, computed_at) VALUES ($1, $2, $3, $4, $5)",
        [(*each, at) for each in bounds],
    )


async def classify(session: WriteSession, after: UUID, classes: Sequence[Sequence[str]], *, limit: int) -> UUID | None:
    """Class the next `limit` buyers by the present bounds; the last of them, None where there are no more.

    Relies on `customer_profiles_buying_idx`.
    """
    last: UUID | None = await session.fetchval(
        "WITH slice AS MATERIALIZED (SELECT customer_id FROM customer_profiles "
        "WHERE purchases > 0 AND customer_id > $2 ORDER BY customer_id LIMIT $3 FOR NO KEY UPDATE), "
        f"scored AS (SELECT p.customer_id, s.* FROM slice JOIN customer_profiles p USING (customer_id) {_SCORED}), "
        f"changed AS (UPDATE customer_profiles p SET ({_SCORE_NAMES}) = ROW ({_of('s')}) FROM scored s "
        f"WHERE p.customer_id = s.customer_id AND ({_of('p')}) IS DISTINCT FROM ({_of('s')})) "
        "SELECT customer_id FROM slice ORDER BY customer_id DESC LIMIT 1",
        [list(row) for row in classes],
        after,
        limit,
    )
    return last
