"""Where the fifths of all buyers lie."""

from typing import Final

from percorso.measures.rfm import FIFTHS
from percorso.storage.database import ReadSession
from percorso.storage.profiles import Bounds

_SHARES: Final = [share / FIFTHS for share in range(1, FIFTHS)]


async def measured(session: ReadSession) -> list[Bounds]:
    """The bounds by the profiles there are: of recency, of frequency, and in each currency of money.

    Recency is measured as the Unix time of the last purchase, so that its bounds hold whenever one looks. There are
    none where fewer than five bought. It reads all profiles once, which takes a while where there are millions.
    """
    async with session.transaction(readonly=True):
        await session.execute("SET LOCAL statement_timeout = 0")
        rows = await session.fetch(
            "SELECT v.measure, v.currency, "
            "percentile_disc($1::double precision[]) WITHIN GROUP (ORDER BY v.value), count(*) "
            "FROM customer_profiles p CROSS JOIN LATERAL (VALUES "
            "('recency', '', extract(epoch FROM p.last_purchase_at)::double precision), "
            "('frequency', '', p.purchases::double precision), "
            "('monetary', p.currency, p.spent)) AS v(measure, currency, value) "
            "WHERE p.purchases > 0 AND v.value IS NOT NULL GROUP BY v.measure, v.currency HAVING count(*) >= $2 "
            "ORDER BY v.measure, v.currency",
            _SHARES,
            FIFTHS,
        )
    return [Bounds(*row) for row in rows]
