"""What the routes work with: made once at start, found on the application."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.analytics.deadline import Deadline
from percorso.http.access import Keys
from percorso.http.analysing import Analysis, Places
from percorso.http.news import News
from percorso.http.rates import Rates
from percorso.http.recorder import Recorder
from percorso.http.tokens import Tokens
from percorso.ingest.erase import Eraser
from percorso.ingest.event_schemas import EventSchemas
from percorso.ingest.identity import Identifiers
from percorso.ingest.pipeline import Pipeline
from percorso.ingest.schema_counts import SchemaCounts
from percorso.ingest.writer import Writer
from percorso.queries.retention import Policy
from percorso.queries.rollups import Kept
from percorso.settings import Settings
from percorso.storage.database import ReadSession, reading
from percorso.storage.deployment import Deployment

_MEASURED_TOGETHER: Final = 2
"""Histories in memory at once: one may take 70 MB, and Python computes on one core, however many wait."""

_KEPT_BYTES: Final = 128 * 1024 * 1024
"""Of rollups, in memory: those of 300 busy touchpoints over two years."""


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running service.

    `tokens` is None where no issuer of them is configured. `kept` are rollups that were read before; `measuring` is
    held while a customer's whole history is in memory.
    """

    settings: Settings
    engine: AsyncEngine
    analytics: Places
    deployment: Deployment
    identifiers: Identifiers
    writer: Writer
    pipeline: Pipeline
    schemas: EventSchemas
    schema_counts: SchemaCounts
    keys: Keys
    tokens: Tokens | None
    rates: Rates
    recorder: Recorder
    news: News
    eraser: Eraser
    exports: asyncio.Semaphore
    policy: Policy
    schema: str
    kept: Kept = field(default_factory=lambda: Kept(_KEPT_BYTES))
    measuring: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MEASURED_TOGETHER))


async def services(request: Request) -> Services:
    """The services of the application that handles this request."""
    found: Services = request.app.state.services
    return found


async def read_session(request: Request) -> AsyncIterator[ReadSession]:
    """A read session for the length of the request."""
    async with reading((await services(request)).engine) as session:
        yield session


async def analysis(request: Request) -> AsyncIterator[Analysis]:
    """A call of analytics for the length of the request; nothing is lent to it before it asks."""
    async with (await services(request)).analytics.call() as call:
        yield call


Analysing = Annotated[Analysis, Depends(analysis, scope="function")]


async def analytics_session(analysing: Analysing) -> ReadSession:
    """The read session of a call of analytics."""
    return analysing.session


async def deadline(analysing: Analysing) -> Deadline:
    """The deadline of a call of analytics."""
    return analysing.deadline


Use = Annotated[Services, Depends(services)]
Reads = Annotated[ReadSession, Depends(read_session, scope="function")]
Analytics = Annotated[ReadSession, Depends(analytics_session, scope="function")]
Within = Annotated[Deadline, Depends(deadline, scope="function")]
