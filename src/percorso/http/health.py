"""Whether the service is well, and what it counts."""

import os
from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from percorso.http import answers
from percorso.http.documents import examples
from percorso.http.documents.operations import Health
from percorso.http.services import Services, Use
from percorso.queries import health
from percorso.storage import schema
from percorso.storage.database import is_away, reading

router = APIRouter(tags=["Operations"])


@router.get(
    "/health/live",
    summary="Whether the process runs",
    response_class=Response,
    responses={200: {"model": Health, "description": "It does."}},
)
async def check_live() -> Response:
    """Answer, if nothing else: a process that does not should be started anew."""
    return answers.json_response({"status": "ok", "checks": {}})


@router.get(
    "/health/ready",
    summary="Whether the service can do its work",
    response_class=Response,
    responses={
        200: {"model": Health, "description": "It can."},
        503: {"model": Health, "description": "It cannot; `checks` says why."},
    },
)
async def check_ready(use: Use) -> Response:
    """Check that the database answers, that its schema suits this release, and that the writer is not stuck."""
    checks = {"writer": "ok" if use.writer.healthy else "stopped, stuck, or without its database"}
    checks |= await _database(use)
    good = all(check == "ok" for check in checks.values())
    return answers.json_response(
        {"status": "ok" if good else "unavailable", "checks": checks},
        status=HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE,
        headers={} if good else {"Retry-After": "2"},
    )


async def _database(use: Services) -> dict[str, str]:
    try:
        async with reading(use.engine, seconds=use.settings.connect_timeout_seconds) as session:
            version = await health.schema_version(session)
    except Exception as error:
        if not is_away(error):
            raise
        return {"database": "cannot be reached"}
    good = schema.suits(version, use.schema)
    return {"database": "ok", "schema": "ok" if good else f"is at {version}, needs {use.schema}"}


@router.get(
    "/metrics",
    summary="What the service counts, for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Metrics.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": examples.METRICS}},
        }
    },
)
async def read_metrics() -> Response:
    """Count, in the Prometheus text format; with several workers, over all of them."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
