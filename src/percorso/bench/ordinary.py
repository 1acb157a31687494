"""An ordinary service for comparison: FastAPI, models, an ORM session and one transaction a request.

Written as one is usually written, and fairly: the same body, the same guarantee (`(source, id)` once, acknowledged
after the commit), a pool of a sensible size, no more indexes than the answers need.
"""

import os
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel
from sqlalchemy import DateTime, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from percorso.storage.database import parse_url

POOL = 20


class Base(DeclarativeBase):
    """The ordinary service's tables."""


class StoredInteraction(Base):
    """An interaction in the table."""

    __tablename__ = "ordinary_interactions"
    __table_args__ = (
        UniqueConstraint("source", "sender_id"),
        Index("ordinary_journey", "customer", "occurred_at"),
        Index("ordinary_touchpoint", "touchpoint", "occurred_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    source: Mapped[str]
    sender_id: Mapped[str]
    customer: Mapped[str]
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    touchpoint: Mapped[str]
    channel: Mapped[str]
    kind: Mapped[str | None]
    function: Mapped[str | None]
    direction: Mapped[str | None]
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)


class Sentiment(BaseModel):
    """How the customer felt."""

    score: float | None = None
    label: str | None = None
    source: str | None = None


class Feedback(BaseModel):
    """What the customer thought of it."""

    metric: str
    score: float
    min: float | None = None
    max: float | None = None


class Interaction(BaseModel):
    """An interaction as it is posted."""

    source: str
    id: str
    occurred_at: datetime
    channel: str
    kind: str | None = None
    touchpoint: str
    direction: str | None = None
    directness: str | None = None
    function: str | None = None
    customer: dict[str, str | list[str]]
    agent: str | None = None
    location: str | None = None
    campaign: str | None = None
    conversation: str | None = None
    language: str | None = None
    status: str | None = None
    outcome: str | None = None
    resolution: str | None = None
    sentiment: Sentiment | None = None
    feedback: list[Feedback] = []
    topics: list[str] = []
    text: str | None = None
    details: dict[str, Any] = {}
    attributes: dict[str, Any] = {}


class Receipt(BaseModel):
    """The answer."""

    status: str
    interaction_id: uuid.UUID | None
    received_at: datetime | None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Own the pool; make the table where it is missing."""
    engine = create_async_engine(parse_url(os.environ["PERCORSO_DATABASE_URL"]), pool_size=POOL, max_overflow=0)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def session(request: Request) -> AsyncIterator[AsyncSession]:
    """A session for the length of the request."""
    async with request.app.state.sessions() as opened:
        yield opened


async def authorized(authorization: Annotated[str, Header()]) -> None:
    """Let in whoever has the key."""
    if not secrets.compare_digest(authorization, f"Bearer {os.environ['PERCORSO_BOOTSTRAP_KEY']}"):
        raise HTTPException(401)


@app.post("/v1/interactions", status_code=201, dependencies=[Depends(authorized)])
async def store(
    interaction: Interaction, response: Response, opened: Annotated[AsyncSession, Depends(session)]
) -> Receipt:
    """Store one interaction, and answer after the commit."""
    kind, value = next(iter(interaction.customer.items()))
    stored = StoredInteraction(
        source=interaction.source,
        sender_id=interaction.id,
        customer=f"{kind}:{value}",
        occurred_at=interaction.occurred_at,
        received_at=datetime.now(UTC),
        touchpoint=interaction.touchpoint,
        channel=interaction.channel,
        kind=interaction.kind,
        function=interaction.function,
        direction=interaction.direction,
        document=interaction.model_dump(mode="json"),
    )
    opened.add(stored)
    try:
        await opened.commit()
    except IntegrityError:
        response.status_code = 200
        return Receipt(status="duplicate", interaction_id=None, received_at=None)
    return Receipt(status="stored", interaction_id=stored.id, received_at=stored.received_at)
