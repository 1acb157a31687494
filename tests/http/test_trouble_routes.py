"""Problems and contact quality: what goes wrong is found, shown by its newest examples, and said with its counts."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from exchanges import check_problem, pointers, store_all
from fastapi import FastAPI

from rolling import roll
from support import Make, running

END = datetime(2026, 3, 30, tzinfo=UTC)
PERIOD = timedelta(days=10)
RANGE = {"from": (END - PERIOD).isoformat(), "to": END.isoformat()}
PROBLEMS = "/v1/analytics/problems"


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    async with running(database_url) as (app, client):
        yield app, client


def at(periods_ago: int, number: int) -> str:
    """A moment in the period, or in one before, that is another one for each number."""
    return (END - PERIOD * (periods_ago + 1) + timedelta(minutes=7 * number)).isoformat()


def history(make: Make, *, billing_now: int = 40, periods: int = 5, **others: Any) -> list[dict[str, Any]]:
    """100 calls about delivery and 100 about billing in each period; of these 10 % are complaints, lately more."""
    return [
        make(
            occurred_at=at(period, number),
            customer={"crm_id": f"C-{period}-{number}"},
            topics=[topic],
            touchpoint=f"{topic}-line",
            kind="complaint" if number % 100 < complaints else "question",
            direction="inbound",
            **others,
        )
        for period in range(periods)
        for topic, first, complaints in (("delivery", 0, 10), ("Billing", 100, billing_now if period == 0 else 10))
        for number in range(first, first + 100)
    ]
