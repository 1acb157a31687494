"""Every router, in the order in which a path is looked for in them."""

from typing import Final

from fastapi import APIRouter

from percorso.http import (
    audit,
    batches,
    channels,
    cloudevents,
    consents,
    customers,
    erasures,
    event_schemas,
    exports,
    finding,
    health,
    identity,
    interactions,
    keys,
    measures,
    merging,
    performance,
    rejected,
    retention,
    segment_calls,
    segments,
    sequences,
    tmf683,
    tmf683_hub,
    touchpoints,
    traits,
    trouble,
)

ALL: Final[tuple[APIRouter, ...]] = (
    interactions.router,
    batches.router,
    cloudevents.router,
    segment_calls.router,
    finding.router,
    segments.router,
    # What a customer's path goes on with is found before the customer, whose name may hold slashes.
    exports.router,
    identity.router,
    traits.router,
    consents.router,
    measures.router,
    customers.router,
    channels.router,
    # Before a touchpoint, whose slug may hold slashes.
    merging.router,
    performance.router,
    touchpoints.router,
    sequences.router,
    trouble.router,
    rejected.router,
    event_schemas.router,
    erasures.router,
    audit.router,
    retention.router,
    tmf683.router,
    tmf683_hub.router,
    keys.router,
    health.router,
)
