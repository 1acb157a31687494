"""Rollups and steps: always what the facts say, whatever happens to them and to processes."""

from datetime import timedelta
from typing import Any

import pytest

from following import follow
from happenings import Happenings
from percorso.http.services import Services
from percorso.workers import hours, rollups
from retaining import NOW, retain
from rolling import check_rollups, roll
from support import Make
from writing import Database


class Rich(Happenings):
    """Interactions that say all that is counted."""

    def item(self) -> dict[str, Any]:
        """One of them, in 70 days."""
        choice = self.dice.choice
        channel, details = choice(self._channels())
        low, high = choice(((None, None), (0, 10), (1, 5)))
        score = choice((None, self.dice.uniform(-1, 1)))
        at = NOW - timedelta(minutes=self.dice.randrange(0, 70 * 1440, 20))
        said = {
            "channel": channel,
            "details": details,
            "occurred_at": at.isoformat(),
            "ended_at": choice((None, (at + timedelta(seconds=choice((-5, 90)))).isoformat())),
            "touchpoint": choice((None, "desk", "line")),
            "kind": choice((None, "question", "complaint")),
            "function": choice((None, "sales", "service")),
            "direction": choice((None, "inbound", "outbound", "internal")),
            "directness": choice((None, "direct", "indirect")),
            "location": choice((None, "", "roma", "milano")),
            "agent": choice((None, "x", "y")),
            "campaign": choice((None, "spring")),
            "outcome": choice((None, "abandoned", "answered", "complained", "purchased")),
            "resolution": choice((None, "resolved", "unresolved", "escalated", "not_applicable")),
            "sentiment": choice((None, {"score": score, "label": choice((None, "negative", "positive"))})),
            "feedback": choice((
                None,
                [{"metric": choice(("nps", "csat", "ces", "stars")), "score": self.dice.randint(0, 10)}],
                [{"metric": choice(("nps", "csat", "ces")), "score": 4, "min": low, "max": high} for _ in "ab"],
            )),
            "topics": choice((None, [], ["Billing", "billing"], ["delivery", "billing"])),
        }  # fmt: skip
        return {name: value for name, value in (super().item() | said).items() if value is not None}

    def _channels(self) -> list[tuple[str, dict[str, Any] | None]]:
        """Channels with details that they may have."""
        dice = self.dice
        money = {"amount": round(dice.uniform(0, 9), 2), "currency": dice.choice(("EUR", None))}
        return [
            ("phone", {"wait_seconds": dice.randint(0, 99), "duration_seconds": dice.choice((None, 60.5))}),
            ("phone", None),
            ("chat", {"duration_seconds": 30}),
            ("chat", {"wait_seconds": "not one that is counted"}),
            ("email", {"event": dice.choice(("opened", "replied", None))}),
            ("social", {"network": "n", "action": dice.choice(("post", "follow"))}),
            ("review", {"site": "s", "rating": {"value": dice.randint(1, 5)}}),
            ("ad", {"cost": money}),
            ("mail", {"cost": dice.choice((None, money))}),
            ("store_visit", {"location_id": "1", "purpose": dice.choice(("browse", "purchase", "return"))}),
            ("store_visit", {"location_id": "1", "basket": money}),
            ("field_visit", None),
            ("purchase", {"order_id": "1", "status": dice.choice((None, "placed", "returned"))}),
            ("web", {"path": "/"}),
        ]


@pytest.mark.parametrize("seed", range(4))
async def test_rollups_say_what_the_facts_say_after_any_mix_of_what_happens(
    services: Services,
    database_url: str,
    database: Database,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    # Where many hours are named, a month is gone through once; where it is long, in parts.
    monkeypatch.setattr(hours, "_FEW_HOURS", (48, 0)[seed % 2])
    monkeypatch.setattr(rollups, "_TOGETHER", (500_000, 3)[seed // 2])
    monkeypatch.setattr(rollups, "_COMMITS", (200, 3)[seed // 2])
    happenings, checked = Rich(services, database, make, seed), 0
    for turn in range(14):
        await happenings.stored()
        await happenings.corrected()
        if turn % 2:
            await happenings.reconciled()
        if turn in {6, 12}:
            await happenings.erased()
        if turn == 9:
            await retain(database_url, retention_days=40, retention_channel_days={"email": 20})
        if happenings.dice.random() < 0.7:
            if happenings.dice.random() < 0.7:
                await follow(services)
            await roll(services)
            checked += await check_rollups(database)
    assert checked > 1000
