"""What the OpenAPI document says of the summary and of episodes: their shapes, with an example of each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import ConfigDict, Field, with_config

from percorso.http.documents.examples import CUSTOMER_ID, INTERACTION_ID, Example
from percorso.measures import Episode, Summary
from percorso.queries.contacts import MOST

_Customer = Annotated[UUID, Field(description="The present id of the customer.")]
_Truncated = Annotated[
    datetime | None,
    Field(
        description=f"Only the latest {MOST:,} interactions are looked at: where there are more, the moment before "
        "which none was. Null: all were."
    ),
]

_COMPLAINT: Final = "01a202b4-99c0-888e-8f52-a431d88ed88e"
_QUESTION: Final = "01a1e55f-7200-8bc1-8f52-a4317bc17bc1"
_ORDERS: Final = [
    "01a18de5-a580-8cd2-8f52-a4315cd25cd2", "019fc36f-9e60-8de3-8f52-a4313de33de3",
    "019df3c2-c080-8ef4-8f52-a4311ef41ef4",
]  # fmt: skip
_SUMMARY: Final[Example] = {
    "customer_id": CUSTOMER_ID,
    "truncated_before": None,
    "as_of": "2026-11-25T09:00:00.000Z",
    "interactions": 7,
    "first_contact_at": "2026-05-04T16:12:00.000Z",
    "last_contact_at": "2026-11-22T10:02:00.000Z",
    "relationship": {
        "state": "cracked",
        "score": -75,
        "reasons": [
            {"rule": "open_complaint", "weight": -35, "says": "A complaint is open.", "interaction_ids": [_COMPLAINT]},
            {
                "rule": "unanswered",
                "weight": -20,
                "says": "Somebody has waited for an answer for two days or more.",
                "interaction_ids": [_COMPLAINT],
            },
            {"rule": "buys", "weight": 20, "says": "Buys at the usual pace.", "interaction_ids": _ORDERS},
            {
                "rule": "felt_bad",
                "weight": -15,
                "says": "What was heard in the last 90 days is negative.",
                "interaction_ids": [INTERACTION_ID],
            },
            {
                "rule": "dissatisfied",
                "weight": -15,
                "says": "The latest CSAT answer, within a year, is not in the top 40 %.",
                "interaction_ids": [INTERACTION_ID],
            },
            {
                "rule": "came_back",
                "weight": -10,
                "says": "Came back about the same matter within 7 days, twice or more in 90 days.",
                "interaction_ids": [_COMPLAINT, INTERACTION_ID],
            },
        ],
    },
    "counts": {
        "by_channel": {"purchase": 3, "email": 3, "phone": 1},
        "by_function": {"sales": 3, "billing": 2, "service": 2},
        "by_direction": {"inbound": 6, "outbound": 1},
    },
    "preferred": {
        "channel": "email",
        "hours": {"from_hour": 17, "to_hour": 20, "share": 0.6667},
        "by_hour": [*[0] * 10, 1, 1, *[0] * 6, 3, 1, *[0] * 4],
        "time_zone": "Europe/Rome",
        "time_zone_from": "trait",
    },
    "responses": {
        "overall": {"answered": 1, "median_seconds": 7200.0},
        "by_channel": {"email": {"answered": 1, "median_seconds": 7200.0}},
        "waiting": 1,
        "unanswered": [
            {
                "interaction_id": _COMPLAINT,
                "interactions": 1,
                "channel": "email",
                "since": "2026-11-22T10:02:00.000Z",
                "waiting_seconds": 255480,
            }
        ],
        "unthreaded": 0,
    },
    "repeats": {
        "count": 2,
        "share": 0.6667,
        "latest": [
            {
                "interaction_id": INTERACTION_ID,
                "at": "2026-11-20T09:00:00.000Z",
                "of": _QUESTION,
                "about": "topic billing",
            },
            {
                "interaction_id": _COMPLAINT,
                "at": "2026-11-22T10:02:00.000Z",
                "of": INTERACTION_ID,
                "about": "case case-4",
            },
        ],
    },
    "effort": {
        "episodes": 3,
        "channel_switches": 2,
        "hand_offs": 0,
        "first_contact_resolution": {"resolved": 0, "of": 0, "share": None},
    },
    "cases": {
        "open": 1,
        "closed": 0,
        "latest_open": [
            {
                "case": "case-4",
                "interactions": 2,
                "opened_at": "2026-11-20T09:00:00.000Z",
                "last_at": "2026-11-22T10:02:00.000Z",
                "last_interaction_id": _COMPLAINT,
            }
        ],
    },
    "complaints": {
        "open": 1,
        "closed": 0,
        "latest_open": [
            {
                "interaction_ids": [_COMPLAINT],
                "channel": "email",
                "at": "2026-11-22T10:02:00.000Z",
                "closed_at": None,
                "closed_by": None,
            }
        ],
        "latest_closed": [],
    },
    "sentiment": {
        "interactions": 1,
        "mean": -0.4,
        "latest": {"score": -0.4, "at": "2026-11-20T09:00:00.000Z", "interaction_id": INTERACTION_ID},
        "trend": {"direction": "unknown", "per_30_days": None, "values": 1},
        "over_time": [{"month": "2026-11", "mean": -0.4, "interactions": 1}],
    },
    "feedback": {
        "nps": None,
        "csat": {
            "answers": 1,
            "value": 0.0,
            "latest_score": 2.0,
            "latest_scaled": 0.25,
            "latest_at": "2026-11-20T09:00:00.000Z",
            "interaction_id": INTERACTION_ID,
            "trend": {"direction": "unknown", "per_30_days": None, "values": 1},
        },
        "ces": None,
    },
    "buying": {
        "purchases": 3,
        "given_back": 0,
        "first_at": "2026-05-04T16:12:00.000Z",
        "last_at": "2026-10-30T17:40:00.000Z",
        "recency_days": 25.64,
        "monetary": {"EUR": {"amount": 300.0, "purchases": 3, "mean": 100.0}},
        "usual_interval_days": 89.5,
        "due_at": "2027-01-28T05:40:00.000Z",
        "overdue": False,
        "latest": _ORDERS,
    },
}
_EPISODES: Final[Example] = {
    "customer_id": CUSTOMER_ID,
    "truncated_before": None,
    "items": [
        {
            "began_at": "2026-10-30T17:40:00.000Z",
            "ended_at": "2026-11-22T10:02:00.000Z",
            "first_interaction_id": _ORDERS[0],
            "last_interaction_id": _COMPLAINT,
            "ended_by": "open",
            "case": None,
            "interactions": 5,
            "by_channel": {"email": 3, "purchase": 1, "phone": 1},
            "channel_switches": 2,
            "hand_offs": 0,
            "first_contact_resolution": {"resolved": 0, "of": 0, "share": None},
        }
    ],
    "next_cursor": "EJ3zwsCAjvSPUqQxHvQe9GVwaXNvZGVzLTMwZC1kZXNj",
}


@with_config(ConfigDict(json_schema_extra={"examples": [_SUMMARY]}))
@dataclass(frozen=True, slots=True)
class CustomerSummary(Summary):
    """What there is to know of a customer."""

    customer_id: _Customer
    truncated_before: _Truncated


@with_config(ConfigDict(json_schema_extra={"examples": [_EPISODES]}))
@dataclass(frozen=True, slots=True)
class Episodes:
    """A page of a customer's episodes."""

    customer_id: _Customer
    truncated_before: _Truncated
    items: list[Episode]
    next_cursor: Annotated[str | None, Field(description="The `cursor` of the next page; null on the last.")]
