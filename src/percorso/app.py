"""The application: settings in, a FastAPI application out, whose lifespan owns the pool and the writer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from percorso.http import exports, interactions, openapi, problems, routers, subscriptions
from percorso.http.access import SCOPES, Keys
from percorso.http.analysing import Places
from percorso.http.budgets import Budgets
from percorso.http.guarding import Guarded
from percorso.http.issuer import IssuerKeys
from percorso.http.last_used import LastUsed
from percorso.http.middleware import Bounded, EncodedSlashes, Observed
from percorso.http.news import News
from percorso.http.parameters import only_known
from percorso.http.pressure import Pressure
from percorso.http.rates import Rates
from percorso.http.recorder import Recorder
from percorso.http.routing import Direct
from percorso.http.services import Services
from percorso.http.tokens import Tokens
from percorso.http.traced import Traced
from percorso.ingest.erase import Eraser
from percorso.ingest.event_schemas import EventSchemas
from percorso.ingest.identity import Identifiers
from percorso.ingest.pipeline import Pipeline
from percorso.ingest.schema_counts import SchemaCounts
from percorso.ingest.writer import Writer
from percorso.ops import tracing
from percorso.queries import event_schemas
from percorso.queries.retention import Policy
from percorso.settings import Settings
from percorso.storage import api_keys, database, deployment, schema
from percorso.storage.database import WriteSession
from percorso.workers import (
    announcing,
    delivering,
    partitions,
    profiles,
    retention,
    rollups,
    sampling,
    subscribing,
    watching,
)
from percorso.workers import erasures as erasures_worker
from percorso.workers.runtime import Runtime, Worker
from percorso.workers.vitals import felt

_log = structlog.get_logger("percorso.app")

_DESCRIPTION = """
Takes in every interaction between an organisation and its customers, and gives back each customer's journey.

- **Acknowledged means committed.** A 2xx is sent after the database has committed.
- **Once means for ever.** The same `source` and `id` is stored once, however often it is sent.
- **Identity is reversible.** Deciding that two identifiers are one person rewrites no interaction.

Errors are `application/problem+json`: a 4xx says what to mend, a 5xx is safe to repeat.
"""


class _Application(FastAPI):
    """FastAPI within percorso's own layers, with a short way past it for the hot path."""

    def __init__(self, *, settings: Settings, pressure: Pressure, **given: Any) -> None:
        super().__init__(**given)
        self._settings = settings
        self._pressure = pressure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the lifespan."""
        await self.guarded(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """The framework's layers, but for its answer to what no one foresaw: `Observed` gives that, and counts it."""
        stack = super().build_middleware_stack()
        return stack.app if isinstance(stack, ServerErrorMiddleware) else stack

    @cached_property
    def budgets(self) -> Budgets:
        """What requests may use; made when all routes are there."""
        return Budgets(self, self._settings, self._pressure)

    @cached_property
    def guarded(self) -> ASGIApp:
        """The outermost layer, which every answer passes."""
        secure = (self._settings.public_url or "").startswith("https://")
        return Guarded(self.layers, origins=self._settings.cors_origins, secure=secure)

    @cached_property
    def layers(self) -> ASGIApp:
        """What a request passes through."""
        direct = Direct(super().__call__, self.routes, of=self)
        observed = Observed(EncodedSlashes(direct))
        return Bounded(Traced(observed) if self._settings.tracing else observed, self.budgets)


def create_app(
    settings: Settings | None = None,
    *,
    writer_class: type[Writer] = Writer,
    workers: Callable[[Services], Sequence[Worker]] | None = None,
) -> FastAPI:
    """Make the application. It needs `database_url`, and a schema of this release's version (StartupError).

    `writer_class` is for measuring what storing costs, by a writer that does not store; `workers`, to measure what
    they cost, says which there are in the place of `workers_of`.
    """
    settings = settings or Settings()
    pressure = Pressure(settings.shed_lag_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with (
            serving(settings, writer_class=writer_class) as services,
            felt(pools_of(services), services.recorder.waiting, schema=services.schema),
            working(services, workers or workers_of),
            pressure.watching(fill=lambda: services.writer.fill, held=lambda: app.budgets.held),
        ):
            app.state.services = services
            yield

    app = _Application(
        title="percorso",
        version=version("percorso"),
        summary="Interactions in, journeys out.",
        description=_DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(only_known)],
        separate_input_output_schemas=False,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        settings=settings,
        pressure=pressure,
        docs_url=None,
        redoc_url=None,
    )
    interactions.add_storing(app.router)
    for router in routers.ALL:
        app.include_router(router)
    problems.install(app)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def serving(settings: Settings, *, writer_class: type[Writer] = Writer) -> AsyncIterator[Services]:
    """Everything a process needs to take and give interactions; at the end what was taken is committed."""
    url = database.url_of(settings)
    policy = Policy.of(settings)
    engine = database.create_engine(url, settings)
    analytics = Places(url, settings)
    # Keys and schemas are asked for on a connection of their own: reads that take all others must not hold up ingest.
    asking = database.create_engine(url, settings.model_copy(update={"pool_size": 1}))
    if settings.tracing:
        tracing.start()
        tracing.observe(engine)
        tracing.observe(analytics.engine)
    try:
        await schema.require(engine)
        async with database.writing(engine) as session:
            this = await deployment.ensure(session)
            if settings.bootstrap_key is not None:
                key = settings.bootstrap_key.get_secret_value()
                await api_keys.create(session, name="bootstrap", scopes=SCOPES, key=key)
        identifiers = Identifiers(this.salt, settings.default_region, settings.seen_identities)

        async def connect() -> WriteSession:
            connection = await database.connect(url, settings, name="percorso-writer")
            tracing.watch(connection)
            return WriteSession(connection)

        schemas = EventSchemas(partial(event_schemas.load, asking), settings.schema_cache_seconds)
        counts = SchemaCounts(engine, schemas)
        recorder = Recorder(engine, settings.audit_reads)
        news = News(engine, most=settings.feed_readers)
        writer = writer_class(connect, settings, identifiers, generation=this.generation)
        await writer.start()
        await recorder.start()
        await counts.start()
        try:
            async with _access(url, settings, engine, asking, identifiers, salt=this.salt) as (keys, tokens, rates):
                yield Services(
                    settings=settings,
                    engine=engine,
                    analytics=analytics,
                    deployment=this,
                    identifiers=identifiers,
                    writer=writer,
                    pipeline=Pipeline(settings, this, identifiers, writer, schemas),
                    schemas=schemas,
                    schema_counts=counts,
                    keys=keys,
                    tokens=tokens,
                    rates=rates,
                    recorder=recorder,
                    news=news,
                    eraser=Eraser(engine, this, identifiers),
                    exports=asyncio.Semaphore(exports.AT_ONCE),
                    policy=policy,
                    schema=schema.newest(),
                )
        finally:
            await news.stop()
            await writer.stop()
            await recorder.stop()
            await counts.stop()
            _log.info("stopped; everything taken is committed")
    finally:
        await analytics.close()
        await asking.dispose()
        await engine.dispose()
        await tracing.stop()


@asynccontextmanager
async def _access(
    url: str, settings: Settings, engine: AsyncEngine, asking: AsyncEngine, identifiers: Identifiers, *, salt: bytes
) -> AsyncIterator[tuple[Keys, Tokens | None, Rates]]:
    """Who may call, and how much."""

    async def connect() -> WriteSession:
        return WriteSession(await database.connect(url, settings, name="percorso-rates"))

    keys, rates = Keys(asking, settings.key_cache_seconds), Rates(connect, settings)
    last_used = LastUsed(engine, keys)
    issuer = None if settings.jwt_issuer is None else IssuerKeys(settings)
    await last_used.start()
    try:
        yield keys, None if issuer is None else Tokens(settings, issuer, identifiers, salt=salt), rates
    finally:
        if issuer is not None:
            await issuer.close()
        await last_used.stop()
        await rates.close()


def workers_of(services: Services) -> Sequence[Worker]:
    """What is to be done beside requests."""
    settings, engine = services.settings, services.engine
    max_age = timedelta(hours=settings.profile_max_age_hours)
    return (
        partitions.worker(engine),
        profiles.worker(engine, generation=services.deployment.generation, max_age=max_age),
        rollups.worker(engine, generation=services.deployment.generation),
        retention.worker(database.url_of(settings), settings, services.policy),
        erasures_worker.worker(services.eraser),
        announcing.worker(engine, generation=services.deployment.generation),
        delivering.worker(engine, settings, {announcing.PROTOCOL: announcing.payload(settings)}),
        sampling.worker(engine),
        watching.worker(engine, settings, generation=services.deployment.generation),
        subscribing.worker(engine, settings, subscriptions.reader(services)),
    )


def pools_of(services: Services) -> Mapping[str, AsyncEngine]:
    """The pools of a process, by what they are for."""
    return {"reading": services.engine, "analytics": services.analytics.engine}


@asynccontextmanager
async def working(services: Services, workers: Callable[[Services], Sequence[Worker]]) -> AsyncIterator[None]:
    """Within this block the process does its share of what is done beside requests, unless the settings say no."""
    if not services.settings.background_workers:
        yield
        return
    runtime = Runtime(database.url_of(services.settings), services.settings, workers(services))
    await runtime.start()
    try:
        yield
    finally:
        await runtime.stop()
