"""Traces: from a request to the commit that serves it, by OpenTelemetry's own SDK."""

import asyncio
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import told
from exchanges import items_at, journey_of
from percorso.errors import StartupError
from percorso.http.services import Services
from percorso.ops import current, logs, tracing
from support import Make, ndjson, running
from writing import queued, until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
ANNA = journey_of("email:anna@example.com")


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Where spans go; they are there once the service has stopped."""
    kept = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "exporter", lambda: kept)
    yield kept
    for span in kept.get_finished_spans():
        told.tell("span", f"{span.name} {dict(span.attributes or {})} {span.events} {span.status.description}")


def by_id(spans: Sequence[ReadableSpan]) -> Mapping[int, ReadableSpan]:
    return {context(span).span_id: span for span in spans}


def context(span: ReadableSpan) -> Any:
    made = span.get_span_context()
    assert made is not None
    return made


def named(spans: Sequence[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def ancestry(span: ReadableSpan, spans: Sequence[ReadableSpan]) -> list[str]:
    """The names of what a span is within, itself first."""
    all_ = by_id(spans)
    names = [span.name]
    while span.parent is not None and span.parent.span_id in all_:
        span = all_[span.parent.span_id]
        names.append(span.name)
    return names


async def test_a_request_to_store_is_one_trace_down_to_the_statement(
    database_url: str, make: Make, spans: InMemorySpanExporter
) -> None:
    async with running(database_url, tracing=True) as (_, client):
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "r-1"}
        await client.post("/v1/interactions", json=make(), headers=headers)
        [item] = await items_at(client, ANNA)
        assert item["traceparent"] == headers["traceparent"]
    own = [span for span in spans.get_finished_spans() if f"{context(span).trace_id:032x}" == TRACE]
    [request] = named(own, "POST /v1/interactions")
    assert request.kind is SpanKind.SERVER
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT
    attributes = dict(request.attributes or {})
    assert attributes["http.route"] == "/v1/interactions"
    assert attributes["http.response.status_code"] == 201
    assert attributes["percorso.request_id"] == "r-1"
    for name, path in {
        "validate": ["POST /v1/interactions"],
        "wait": ["store", "POST /v1/interactions"],
        "group commit": ["store", "POST /v1/interactions"],
    }.items():
        [span] = named(own, name)
        assert ancestry(span, own) == [name, *path]
    stored = [span for span in named(own, "query") if "percorso_store" in str((span.attributes or {})["db.query.text"])]
    assert [ancestry(span, own)[:2] for span in stored] == [["query", "group commit"]]
    for span in own:
        assert span.start_time is not None
        assert span.end_time is not None
        assert request.start_time is not None
        assert request.start_time <= span.start_time <= span.end_time


async def test_a_group_commit_links_to_every_request_it_serves(
    database_url: str, make: Make, spans: InMemorySpanExporter
) -> None:
    async with running(database_url, tracing=True, commit_connections=1) as (app, client):
        services: Services = app.state.services
        held = await services.engine.raw_connection()
        session = held.driver_connection
        assert session is not None
        await session.execute("BEGIN; LOCK TABLE interaction_keys IN EXCLUSIVE MODE")
        # The first waits for the lock; the others come meanwhile, and are one group.
        posts = [asyncio.create_task(client.post("/v1/interactions", json=make())) for _ in range(6)]
        await until(lambda: queued() == 6)
        await session.execute("ROLLBACK")
        held.close()
        assert [answer.status_code for answer in await asyncio.gather(*posts)] == [201] * 6
    done = spans.get_finished_spans()
    stores = {context(span).span_id: span for span in named(done, "store")}
    groups = named(done, "group commit")
    assert max(len(group.links or ()) for group in groups) > 1
    linked = [link.context.span_id for group in groups for link in group.links]
    assert sorted(linked) == sorted(stores)
    commits = named(done, "commit")
    assert len(commits) == 6 - len(groups)
    ids = {context(group).span_id for group in groups}
    assert all(link.context.span_id in ids for commit in commits for link in commit.links)
    # Each request's own trace says how long it waited, and how long its commit took.
    for span in stores.values():
        trace = [each.name for each in done if context(each).trace_id == context(span).trace_id]
        assert trace.count("wait") == 1
        assert trace.count("commit") + trace.count("group commit") == 1


async def test_reads_say_which_statements_they_asked_and_not_with_what(
    database_url: str, make: Make, spans: InMemorySpanExporter
) -> None:
    async with running(database_url, tracing=True) as (_, client):
        await client.post("/v1/interactions", json=make(text="secret words"))
        assert (await client.get(ANNA)).status_code == 200
        assert (await client.get(journey_of("email:beppe@example.com"))).status_code == 404
        assert (await client.get("/v1/customers/email:anna@example.com/summary")).status_code == 200
        assert (await client.post("/v1/interactions", json=make(channel="anna"))).status_code == 422
        await client.request("ANNA", "/v1/interactions")
        assert (await client.get("/anna@example.com")).status_code == 404
    done = spans.get_finished_spans()
    routes = [span for span in done if span.kind is SpanKind.SERVER]
    assert {span.name for span in routes} >= {
        "GET /v1/customers/{customer:name}/journey",
        "GET /v1/customers/{customer:name}/summary",
    }
    assert all(span.status.status_code is StatusCode.UNSET for span in routes)
    assert [span.name for span in routes].count("_OTHER /v1/interactions") == 1
    assert [span.name for span in routes].count("GET") == 1
    asked = [ancestry(span, done)[1] for span in named(done, "query") if "FROM identities" in str(span.attributes)]
    assert "GET /v1/customers/{customer:name}/journey" in asked
    for span in done:
        assert told.personal(f"{span.name} {dict(span.attributes or {})} {span.events}") is None


async def test_an_answer_that_no_one_foresaw_is_an_error_without_its_words(
    database_url: str, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("anna@example.com")

    monkeypatch.setattr("percorso.queries.journey.page", fails)
    async with running(database_url, tracing=True) as (_, client):
        assert (await client.get(ANNA)).status_code == 500
    [span] = [span for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert span.status.status_code is StatusCode.ERROR
    assert told.personal(f"{span.events} {span.status.description} {dict(span.attributes or {})}") is None


async def test_a_request_without_a_caller_is_kept_as_its_own_trace(
    database_url: str, make: Make, spans: InMemorySpanExporter
) -> None:
    async with running(database_url, tracing=True) as (_, client):
        await client.post(
            "/v1/interactions/batch", content=ndjson(make(), make()), headers={"content-type": "application/x-ndjson"}
        )
        kept = {item["traceparent"] for item in await items_at(client, ANNA)}
    [span] = named(spans.get_finished_spans(), "POST /v1/interactions/batch")
    made = context(span)
    assert kept == {f"00-{made.trace_id:032x}-{made.span_id:016x}-{made.trace_flags:02x}"}


async def test_a_caller_that_does_not_record_is_not_traced(
    database_url: str, make: Make, spans: InMemorySpanExporter
) -> None:
    async with running(database_url, tracing=True) as (_, client):
        trace = f"00-{TRACE}-{PARENT}-00"
        await client.post("/v1/interactions", json=make(), headers={"traceparent": trace})
        done = [span.name for span in spans.get_finished_spans()]
        [item] = await items_at(client, ANNA)
    assert done == []
    assert all(f"{context(span).trace_id:032x}" != TRACE for span in spans.get_finished_spans())
    assert item["traceparent"] == trace


async def test_off_nothing_is_traced_and_health_never_is(
    database_url: str, make: Make, spans: InMemorySpanExporter
) -> None:
    async with running(database_url) as (_, client):
        await client.post("/v1/interactions", json=make())
    async with running(database_url, tracing=True) as (_, client):
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert (await client.get(path)).status_code == 200
    assert spans.get_finished_spans() == ()
    assert not tracing.on()


def test_without_opentelemetry_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(StartupError, match="extra tracing"):
        tracing.start()
    assert not tracing.on()


def test_where_spans_go_is_said_by_opentelemetrys_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert tracing.exporter() is None
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    assert type(tracing.exporter()).__name__ == "ConsoleSpanExporter"
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.test:4318")
    assert type(tracing.exporter()).__name__ == "OTLPSpanExporter"
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(StartupError, match="otlp, console or none"):
        tracing.exporter()


def test_a_log_line_says_to_which_request_and_trace_it_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    headers = [(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())]
    answering = current.REQUEST.set({"headers": headers, "percorso.request_id": "r-9"})
    try:
        logs.configure("info", "json")
        logging.getLogger("library").warning("something")
    finally:
        current.REQUEST.reset(answering)
        root.handlers[:] = handlers
        root.setLevel(level)
    line = capsys.readouterr().err
    assert f'"trace_id": "{TRACE}"' in line
    assert '"request_id": "r-9"' in line
