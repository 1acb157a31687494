"""What may happen to customers and their interactions, at random."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncpg.pgproto.pgproto import UUID

from percorso.http.services import Services
from percorso.ingest import enrich, reconcile
from percorso.ingest.reconcile import Act
from percorso.storage.database import writing
from percorso.storage.erasures import Asked, Mode
from percorso.storage.linking import Guards
from retaining import NOW
from support import Make
from writing import Database, take


class Happenings:
    """What may happen to customers and their interactions, at random."""

    def __init__(self, services: Services, database: Database, make: Make, seed: int) -> None:
        self._services, self._database, self._make = services, database, make
        self.dice = random.Random(seed)

    async def one_of(self, sql: str) -> UUID | None:
        """One of the ids that a query finds in order."""
        rows = await self._database.fetch(sql)
        return self.dice.choice(rows)[0] if rows else None

    def item(self) -> dict[str, Any]:
        """An interaction of one of some customers, in 120 days, with one of some matters."""
        choice = self.dice.choice
        strong = [("email", f"{name}@example.com") for name in "abcdefghij"]
        whom = [choice(strong), choice([("device_id", "d"), ("cookie_id", "c"), ("crm_id", "1"), *[strong[0]] * 40])]
        return self._make(
            occurred_at=(NOW - timedelta(minutes=self.dice.randrange(0, 120 * 1440, 20))).isoformat(),
            customer=dict(whom[: choice((1, 1, 2))]),
            channel=choice(("phone", "email", "email", "chat", "web")),
            direction=choice(("inbound", "inbound", "outbound")),
            conversation=choice((None, "a", "b", "c")),
            case=choice((None, None, "1", "2")),
            agent=choice((None, "x", "y")),
            topics=choice((None, ["billing"], ["delivery"])),
            resolution=choice((None, "resolved", "unresolved")),
        )

    async def turn(self, number: int) -> None:
        """Something of everything, most of it often."""
        await self.stored()
        await self.corrected()
        if number % 2:
            await self.reconciled()
        if number in {6, 12}:
            await self.erased()

    async def stored(self) -> None:
        """Some come, late and early."""
        await take(self._services, *(self.item() for _ in range(self.dice.randint(5, 15))))

    async def corrected(self) -> None:
        """One is enriched, one is deleted."""
        for deed in ("enrich", "delete"):
            one = await self.one_of("SELECT id FROM interactions WHERE document->>'source' <> 'erased' ORDER BY id")
            assert one is not None
            async with writing(self._services.engine) as session:
                if deed == "delete":
                    await enrich.delete(session, one, generation=1)
                else:
                    patch = b'{"resolution": "%s"}' % self.dice.choice((b"resolved", b"unresolved"))
                    await enrich.enrich(session, one, patch, by="t", generation=1, max_bytes=9999)

    async def reconciled(self) -> None:
        """Two customers become one, or two identities of one are parted."""
        one, other = [await self.one_of("SELECT identity_id FROM identities WHERE strong ORDER BY 1") for _ in "ab"]
        assert one is not None
        assert other is not None
        act = Act("desk", "because", 1, Guards.of(self._services.settings))
        owners = await self._database.fetch(
            "SELECT customer_id FROM identities WHERE identity_id IN ($1, $2)", one, other
        )
        async with writing(self._services.engine) as session:
            if len({row[0] for row in owners}) == 2:
                await reconcile.merge(session, one, other, act)
            elif one != other:
                await reconcile.split(session, one, [other], act)

    async def erased(self) -> None:
        """One customer is erased."""
        one = await self.one_of("SELECT identity_id FROM identities WHERE strong ORDER BY 1")
        assert one is not None
        modes: tuple[Mode, ...] = ("delete", "anonymise")
        await self._services.eraser.erase(
            one, Asked(datetime.now(UTC), "t", UUID(bytes(16)), None, self.dice.choice(modes))
        )
