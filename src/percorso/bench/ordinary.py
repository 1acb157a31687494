"""An ordinary service for comparison: FastAPI, models, an ORM session and one transaction a request.

Written as one is usually written, and fairly: the same body, the same tables, the same guarantee (`(source, id)` once,
acknowledged after the commit), a pool of a sensible size. What percorso does beside that, it leaves: identities, links,
the commit log.
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
from sqlalchemy import JSON, DateTime, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from percorso import ids
from percorso.storage.database import parse_url

POOL = 20


class Base(DeclarativeBase):
    """The ordinary service's tables."""


class StoredKey(Base):
    """What makes an interaction stored once."""

    __tablename__ = "interaction_keys"

    key: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    identity_id: Mapped[uuid.UUID]
    interaction_id: Mapped[uuid.UUID]


class StoredInteraction(Base):
    """An interaction in the table."""

    __tablename__ = "interactions"

    identity_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    touchpoint_id: Mapped[int]
    channel: Mapped[str]
    kind: Mapped[str | None]
    function: Mapped[str | None]
    direction: Mapped[str]
    document: Mapped[dict[str, Any]] = mapped_column(JSON)


class Touchpoint(Base):
    """A touchpoint in the registry."""

    __tablename__ = "touchpoints"

    touchpoint_id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str]
    channel: Mapped[str]
    discovered: Mapped[bool]


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
    """Own the pool."""
    engine = create_async_engine(parse_url(os.environ["PERCORSO_DATABASE_URL"]), pool_size=POOL, max_overflow=0)
    async with engine.connect() as connection:
        app.state.salt = (await connection.execute(text("SELECT salt FROM deployment"))).scalar_one()
    app.state.touchpoints = {}
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
    key = ids.dedup_key(app.state.salt, interaction.source, interaction.id)
    identity = ids.identity_id(app.state.salt, kind, str(value))
    occurred_ms = ids.unix_ms(interaction.occurred_at)
    stored = StoredInteraction(
        identity_id=uuid.UUID(bytes=identity),
        id=uuid.UUID(bytes=ids.interaction_id(occurred_ms, identity, key)),
        received_at=datetime.now(UTC),
        touchpoint_id=await touchpoint_id(opened, interaction),
        channel=interaction.channel,
        kind=interaction.kind,
        function=interaction.function,
        direction=interaction.direction or "none",
        document=interaction.model_dump(mode="json", exclude_unset=True),
    )
    opened.add(StoredKey(key=uuid.UUID(bytes=key), identity_id=stored.identity_id, interaction_id=stored.id))
    opened.add(stored)
    try:
        await opened.commit()
    except IntegrityError:
        response.status_code = 200
        return Receipt(status="duplicate", interaction_id=None, received_at=None)
    return Receipt(status="stored", interaction_id=stored.id, received_at=stored.received_at)


async def touchpoint_id(opened: AsyncSession, interaction: Interaction) -> int:
    """The id of the interaction's touchpoint, which is registered where it is new."""
    known: dict[str, int] = app.state.touchpoints
    if interaction.touchpoint not in known:
        new = insert(Touchpoint).values(slug=interaction.touchpoint, channel=interaction.channel, discovered=True)
        await opened.execute(new.on_conflict_do_nothing())
        await opened.commit()
        query = select(Touchpoint.touchpoint_id).where(Touchpoint.slug == interaction.touchpoint)
        known[interaction.touchpoint] = (await opened.execute(query)).scalar_one()
    return known[interaction.touchpoint]
