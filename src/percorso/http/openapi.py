"""The OpenAPI document: what the routes declare, and the interaction's own schema."""

from itertools import chain
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from percorso.formats.tmf683 import ROOT
from percorso.http.documents import (
    analytics_figures,
    analytics_sequences,
    base,
    cloudevents,
    customers,
    event_schemas,
    examples,
    feed,
    found,
    identity,
    interactions,
    measured,
    operations,
    privacy,
    quarantine,
    segment_calls,
    subscriptions,
    tmf683,
    trouble,
    watches,
)
from percorso.http.documents.base import ProblemDocument
from percorso.http.documents.cloudevents import CloudEvent
from percorso.http.payloads import REFERENCE
from percorso.interaction import ENRICHMENT, INTERACTION

_ROOMS = (
    base,
    interactions,
    cloudevents,
    customers,
    identity,
    found,
    feed,
    subscriptions,
    measured,
    privacy,
    quarantine,
    operations,
    event_schemas,
    analytics_figures,
    analytics_sequences,
    trouble,
    segment_calls,
    tmf683,
    watches,
)


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
        ("Interaction", INTERACTION.json_schema(ref_template=REFERENCE) | {"examples": [examples.GIVEN]}),
        ("Enrichment", ENRICHMENT.json_schema(ref_template=REFERENCE) | {"examples": [examples.PATCH]}),
        ("ProblemDocument", ProblemDocument.model_json_schema(ref_template=REFERENCE)),
        ("CloudEvent", CloudEvent.model_json_schema(ref_template=REFERENCE)),
    ):
        schemas |= schema.pop("$defs", {})
        schemas[name] = schema
    for path, methods in made["paths"].items():
        for operation in methods.values():
            if path.startswith(ROOT):
                # The framework adds what it would answer itself; here it is a 400.
                operation["responses"].pop("422", None)
    for operation in (each for methods in made["paths"].values() for each in methods.values()):
        for body in operation.get("requestBody", {}).get("content", {}).values():
            schemas |= body["schema"].pop("$defs", {})
    for model in chain.from_iterable(vars(each).values() for each in _ROOMS):
        if isinstance(model, type) and model.__name__ in schemas and (example := base.example(model)):
            # FastAPI drops what is null.
            schemas[model.__name__]["examples"] = [example]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    made["components"]["schemas"] = dict(sorted(schemas.items()))
    return made
