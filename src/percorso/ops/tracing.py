"""Traces of requests, by OpenTelemetry, from the request to the commit that serves it. Off, nothing of it is loaded.

| span | of what | within |
| --- | --- | --- |
| `GET /v1/…` | a request; named for its route, never its path | the caller's, as `traceparent` says |
| `validate` | items made ready to be stored | the request |
| `store` | from the queue to the verdict | the request |
| `wait` | what of that was spent in the queue | `store` |
| `group commit` | one transaction that serves many requests | `store` of the first, with links to that of each |
| `commit` | the same, in the trace of each of the others | `store`, with a link to the group's |
| `query` | a statement of the database, without its values | whatever asked |

Where spans go is said by OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`,
`OTEL_TRACES_SAMPLER` …). They name routes, statements and kinds of error; nothing that a caller sent.
"""

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.errors import StartupError
from percorso.ops import current

if TYPE_CHECKING:
    import asyncpg
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, SpanContext, Tracer

_STOP_SECONDS: Final = 3.0
"""How long a stop waits for spans to be taken by whoever collects them."""
_LONGEST_STATEMENT: Final = 500
_SERVER_ERROR: Final = 500
_NOTHING: Final = nullcontext()

_provider: "TracerProvider | None" = None
_tracer: "Tracer | None" = None


class Waiting(NamedTuple):
    """A traced request that waits for the writer: its span, and since when, in ns of Unix time."""

    span: "SpanContext"
    since: int


def on() -> bool:
    """Whether anything is traced."""
    return _tracer is not None


def start() -> None:
    """Trace from now on. StartupError where that was not installed."""
    global _provider, _tracer  # noqa: PLW0603 - one a process, as is what it traces
    try:
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the extra need not be there
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
    except ImportError as error:
        raise StartupError("PERCORSO_TRACING needs OpenTelemetry: install the extra tracing.") from error
    os.environ.setdefault("OTEL_SERVICE_NAME", "percorso")
    _provider = TracerProvider(shutdown_on_exit=False)
    if (to := exporter()) is not None:
        _provider.add_span_processor(BatchSpanProcessor(to))
    _tracer = _provider.get_tracer("percorso", version("percorso"))


async def stop() -> None:
    """Trace no more; what is not sent within a moment is lost."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        # A thread of its own: one that a collector keeps waiting must not keep the process.
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, _STOP_SECONDS)


def exporter() -> "SpanExporter | None":
    """What sends spans, as `OTEL_TRACES_EXPORTER` names it: `otlp` over HTTP, `console`, or `none`."""
    kind = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() or "otlp"
    if kind == "none":
        return None
    if kind == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415 - the extra need not be there

        return ConsoleSpanExporter()
    if kind != "otlp":
        raise StartupError(f"OTEL_TRACES_EXPORTER is {kind!r}; it can be otlp, console or none.")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - as above

    return OTLPSpanExporter()


def span(name: str, **attributes: str | int) -> AbstractContextManager[object]:
    """A span of what is done within the block, where that belongs to something that is traced."""
    if _tracer is None or not _current().is_recording():
        return _NOTHING
    return _within(_tracer, name, attributes)


@contextmanager
def request(scope: current.Scope, method: str) -> Iterator["Span"]:
    """The span of a request, within its caller's where `traceparent` names one; `answered` says how it ended."""
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - the extra need not be there
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - as above

    assert _tracer is not None  # noqa: S101 - requests are traced while tracing is on
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    carrier["traceparent"] = current.traceparent_of(scope) or ""
    parent = TraceContextTextMapPropagator().extract(carrier)
    attributes = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
    with _tracer.start_as_current_span(
        method,
        parent,
        SpanKind.SERVER,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        if (own := made.get_span_context()).trace_flags.sampled:
            current.traced_as(scope, f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}")
        yield made


def answered(made: "Span", scope: current.Scope, method: str, status: int) -> None:
    """Say of the span of a request which route it took and how it was answered."""
    from opentelemetry.trace import StatusCode  # noqa: PLC0415 - the extra need not be there

    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        made.update_name(f"{method} {route}")
        made.set_attribute("http.route", route)
    made.set_attribute("http.response.status_code", status)
    made.set_attribute("percorso.request_id", scope.get("percorso.request_id", ""))
    if status >= _SERVER_ERROR:
        made.set_status(StatusCode.ERROR)


def waiting() -> Waiting | None:
    """What the writer is to know of a request that waits for it; None where it is not traced."""
    if _tracer is None or not (here := _current()).is_recording():
        return None
    return Waiting(here.get_span_context(), time_ns())


def commit(served: Sequence[Waiting], *, rows: int) -> AbstractContextManager[object]:
    """The span of a group commit that serves these requests; what is done within the block belongs to it."""
    if _tracer is None or not served:
        return _NOTHING
    return _commit(_tracer, served, rows)


@contextmanager
def _commit(tracer: "Tracer", served: Sequence[Waiting], rows: int) -> Iterator[None]:
    from opentelemetry.trace import Link, NonRecordingSpan, set_span_in_context  # noqa: PLC0415 - may not be there

    begun = time_ns()
    of = [set_span_in_context(NonRecordingSpan(each.span)) for each in served]
    for each, parent in zip(served, of, strict=True):
        tracer.start_span("wait", parent, start_time=each.since).end(begun)
    links = [Link(each.span) for each in served]
    attributes = {"percorso.rows": rows, "percorso.requests": len(served)}
    try:
        with _within(tracer, "group commit", attributes, parent=of[0], links=links) as made:
            group = Link(made.get_span_context())
            yield
    finally:
        # So that each trace shows how long its commit took, and leads to what was done in it.
        for parent in of[1:]:
            tracer.start_span("commit", parent, start_time=begun, links=[group]).end()


@contextmanager
def _within(
    tracer: "Tracer", name: str, attributes: Mapping[str, str | int], *, parent: Any = None, links: Any = None
) -> Iterator["Span"]:
    """A span that says of an error what it is, and not what it says, which may be personal."""
    from opentelemetry.trace import StatusCode  # noqa: PLC0415 - the extra need not be there

    with tracer.start_as_current_span(
        name, parent, attributes=attributes, links=links, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except BaseException as error:
            made.set_attribute("error.type", type(error).__qualname__)
            made.set_status(StatusCode.ERROR)
            raise


def observe(engine: AsyncEngine) -> None:
    """Trace the statements of a pool's connections, where anything is traced."""
    if _tracer is not None:
        event.listen(engine.sync_engine, "connect", lambda connection, _: watch(connection.driver_connection))


def watch(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Trace the statements of a connection, where anything is traced. Those that copy rows are not told of."""
    if _tracer is not None:
        connection.add_query_logger(_queried)


def _queried(query: "asyncpg.connection.LoggedQuery") -> None:
    """A span of a statement that has ended, within whatever asked for it."""
    # What asked may have ended by now: it is told a moment later.
    if _tracer is None or not _current().get_span_context().trace_flags.sampled:
        return
    ended = time_ns()
    statement = " ".join(query.query.split())[:_LONGEST_STATEMENT]
    attributes = {"db.system.name": "postgresql", "db.query.text": statement}
    if query.exception is not None:
        attributes["error.type"] = type(query.exception).__qualname__
    made = _tracer.start_span("query", attributes=attributes, start_time=ended - round(query.elapsed * 1e9))
    made.end(ended)


def _current() -> "Span":
    from opentelemetry.trace import get_current_span  # noqa: PLC0415 - the extra need not be there

    return get_current_span()
