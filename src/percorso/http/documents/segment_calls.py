"""What the OpenAPI document says of Segment's and RudderStack's calls."""

from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from percorso.http.documents.base import like
from percorso.http.documents.examples import Example

_BATCH: Final[Example] = {
    "writeKey": "pcs_…",
    "sentAt": "2026-11-20T10:00:05.000Z",
    "batch": [
        {
            "type": "track",
            "messageId": "018f2c1e-77aa-4d07-9c6e-0f6a51d1e0b2",
            "userId": "u-2041",
            "event": "Order Completed",
            "timestamp": "2026-11-20T10:00:00.000Z",
            "properties": {"order_id": "A-2041", "total": 549.9, "currency": "EUR"},
            "context": {"library": {"name": "analytics.js"}},
        }
    ],
}

BODY: Final = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "description": "A call; for `batch` and `import`, calls under `batch`. The `Content-Type` is not read.",
                "properties": {
                    "writeKey": {"type": "string", "description": "The key, where no `Authorization` gives it."}
                },
                "examples": [_BATCH],
            }
        }
    },
}


class SegmentSuccess(BaseModel):
    """All is committed: calls are stored, or kept in quarantine."""

    model_config = like({"success": True})

    success: Literal[True]


class SegmentSettings(BaseModel):
    """What the browser library asks before it sends anything."""

    model_config = like(
        {
            "integrations": {"Segment.io": {"apiKey": "pcs_…", "apiHost": "percorso.example/segment/v1"}},
            "plan": {"track": {"__default": {"enabled": True}}},
        },
        open_=True,
    )

    integrations: dict[str, Any] = Field(description="Where it sends to: here, and nowhere else.")
    plan: dict[str, Any] = Field(description="What it sends: everything.")
