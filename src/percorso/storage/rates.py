"""What a key may still send, as all processes of the service share it: a token bucket a key."""

from dataclasses import dataclass

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession

_LEASE = """
    INSERT INTO key_rates AS r (key_id, tokens, granted, at)
    SELECT $1::uuid, $3::float8 - g, g, now()
    FROM (SELECT greatest($4::float8, least($4::float8 + $5::float8, floor($3::float8))) AS g) AS first
    ON CONFLICT (key_id) DO UPDATE SET (tokens, granted, at) = (
        SELECT a - g, g, greatest(r.at, now())
        FROM (
            SELECT least(
                $3::float8, r.tokens + $2::float8 * greatest(0::float8, extract(epoch FROM now() - r.at)::float8)
            ) AS a
        ) AS available,
        LATERAL (
            SELECT CASE
                WHEN a < 1 THEN 0::float8
                ELSE greatest($4::float8, least($4::float8 + $5::float8, floor(a)))
            END AS g
        ) AS grants
    )
    RETURNING granted::integer, tokens
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """What was given, and what is left for all who ask next; below 0 where more was given than there was."""

    granted: int
    left: float


def given(available: float, *, need: int, more: int) -> int:
    """How many are given out of those there are: none of less than one; else the need, and more as far as it goes."""
    return 0 if available < 1 else max(need, min(need + more, int(available)))


async def forget(session: WriteSession) -> None:
    """Forget who came with a token and is not seen any more: what they may send has long gathered again.

    Reads all there are: one a key, and one for each of those.
    """
    await session.execute(
        "DELETE FROM key_rates r WHERE r.at < now() - interval '7 days' "
        "AND NOT EXISTS (SELECT FROM api_keys k WHERE k.key_id = r.key_id)"
    )


async def lease(session: WriteSession, key_id: UUID, *, rate: float, burst: int, need: int, more: int) -> Lease:
    """Take `need` of what a key may send, which may be more than there is, and `more` where there is enough.

    There are `burst` at most, and `rate` a second are added. What is given is what `given` says. Relies on the primary
    key of `key_rates`; the table is unlogged, so that nothing waits for a disk.
    """
    row = await session.fetchrow(_LEASE, key_id, rate, float(burst), float(need), float(more))
    assert row is not None  # noqa: S101 - the statement inserts or updates one row
    return Lease(*row)
