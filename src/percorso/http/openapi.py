"""The OpenAPI document: what the routes declare, and the interaction's own schema."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from percorso.http.documented import ProblemDocument
from percorso.interaction import ENRICHMENT, INTERACTION

_REFERENCE = "#/components/schemas/{model}"

EXAMPLE: dict[str, Any] = {
    "source": "crm",
    "id": "call-8731",
    "occurred_at": "2026-11-20T10:00:00+01:00",
    "channel": "phone",
    "kind": "support_call",
    "touchpoint": "support-line",
    "direction": "inbound",
    "function": "service",
    "customer": {"email": "anna@example.com", "phone": "+39066982", "crm_id": "C-17"},
    "agent": "agent-12",
    "conversation": "conv-9",
    "case": "case-4",
    "status": "completed",
    "outcome": "answered",
    "resolution": "unresolved",
    "sentiment": {"score": -0.4, "label": "negative", "source": "speech-model"},
    "feedback": [{"metric": "csat", "score": 2, "min": 1, "max": 5, "text": "waited too long"}],
    "topics": ["billing"],
    "language": "it",
    "details": {"duration_seconds": 312, "queue": "support"},
}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of an application."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    schemas = made["components"]["schemas"]
    for name, schema in (
        ("Interaction", INTERACTION.json_schema(ref_template=_REFERENCE) | {"examples": [EXAMPLE]}),
        ("Enrichment", ENRICHMENT.json_schema(ref_template=_REFERENCE)),
        ("ProblemDocument", ProblemDocument.model_json_schema(ref_template=_REFERENCE)),
    ):
        schemas |= schema.pop("$defs", {})
        schemas[name] = schema
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    made["components"]["schemas"] = dict(sorted(schemas.items()))
    return made
