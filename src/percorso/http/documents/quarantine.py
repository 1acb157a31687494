"""Answers about quarantine: what was refused, how much for which reason, what came of it when it was replayed."""

from typing import Any, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from percorso.http.documents import examples
from percorso.http.documents.base import Trouble, like
from percorso.http.documents.examples import Example
from percorso.ingest.verdict import Status

State = Literal["waiting", "replayed", "dismissed"]

ITEM: Final[Example] = {
    "rejection_id": examples.REJECTION_ID,
    "received_at": "2026-03-02T08:15:30.123Z",
    "source": "crm",
    "id": "call-8732",
    "format": "native",
    "channel": "phone",
    "errors": [{"pointer": "/customer", "detail": "is required"}],
    "reasons": ["required:/customer"],
    "state": "waiting",
    "handled_at": None,
    "handled_by": None,
    "interaction_id": None,
    "replay_errors": None,
    "size": 54,
    "truncated": False,
    "payload": '{"source": "crm", "id": "call-8732", "channel": "phone"}',
    "payload_encoding": "utf-8",
}
_CUSTOMER: Final = {"email": "anna@example.com"}
_NONE: Final = dict.fromkeys(("stored", "duplicate", "conflict", "rejected", "retry", "unknown"), 0)


class RejectedDocument(BaseModel):
    """An item in quarantine."""

    model_config = like(ITEM)

    rejection_id: UUID
    received_at: AwareDatetime
    source: str | None
    id: str | None = Field(description="The sender's id, as far as it could be read.")
    format: str
    channel: str | None = Field(description="As far as it could be read.")
    errors: list[Trouble]
    reasons: list[str] = Field(description="The errors without any value, as `code:pointer`: what counts go by.")
    state: State
    handled_at: AwareDatetime | None = Field(description="When it was last replayed, tried to be, or dismissed.")
    handled_by: str | None = Field(description="The name of the key that did.")
    interaction_id: UUID | None = Field(description="What it was stored as.")
    replay_errors: list[Trouble] | None = Field(description="What was wrong when it was last tried.")
    size: int = Field(description="Bytes received.")
    truncated: bool = Field(description="Whether not all was kept, so that it cannot be replayed.")
    payload: str = Field(
        description="What was received; as base64 where it is no UTF-8. A call of Segment's has in it what its request "
        "said of it, and no write key."
    )
    payload_encoding: str = Field(description="`utf-8` or `base64`.")


class Rejected(BaseModel):
    """A page of quarantine, newest first."""

    model_config = like({"items": [ITEM], "next_cursor": None})

    items: list[RejectedDocument]
    next_cursor: str | None


class RejectedGroup(BaseModel):
    """What items have in common, under the name of what is counted by, and how many have it."""

    model_config = like({"reason": "required:/customer", "items": 812}, open_=True)

    items: int


class RejectedCounts(BaseModel):
    """How many items of quarantine there are, by group."""

    model_config = like(
        {
            "by": "reason",
            "items": 815,
            "counted_from": None,
            "groups": [
                {"reason": "required:/customer", "items": 812},
                {"reason": "not_a_moment:/occurred_at", "items": 5},
            ],
            "others": 0,
        }
    )

    by: str
    items: int = Field(description="All that fit: an item may be in several groups.")
    counted_from: AwareDatetime | None = Field(
        description="Where there are too many to be counted: only those received since then were."
    )
    groups: list[RejectedGroup]
    others: int = Field(description="How many are in all groups together that are not named.")


class ReplayedChange(BaseModel):
    """A member of what was received that the patch changes."""

    pointer: str
    before: Any = Field(None, description="What was received; absent where nothing was.")
    after: Any = Field(None, description="What stands there now; absent where it was removed.")


class Replayed(BaseModel):
    """What came of one item, or would."""

    rejection_id: UUID
    status: Status | Literal["unknown"] = Field(
        description="`duplicate`: it is stored already; `conflict`: another one is, under its source and id; "
        "`retry`: replay it again; `unknown`: there is no such item."
    )
    interaction_id: UUID | None = Field(None, description="What it is stored as, or would be.")
    errors: list[Trouble] | None = Field(None, description="Why it cannot be stored.")
    changes: list[ReplayedChange] | None = Field(None, description="Of a dry run: what the patch changes, 200 at most.")
    interaction: dict[str, Any] | None = Field(None, description="Of a dry run: what would be stored.")


class ReplayReceipt(BaseModel):
    """What came of a replay."""

    model_config = like(
        {
            "dry_run": True,
            **_NONE,
            "stored": 1,
            "remaining": 0,
            "next_cursor": None,
            "results": [
                {
                    "rejection_id": examples.REJECTION_ID,
                    "status": "stored",
                    "interaction_id": examples.INTERACTION_ID,
                    "changes": [{"pointer": "/customer", "after": _CUSTOMER}],
                    "interaction": {
                        "source": "crm",
                        "id": "call-8732",
                        "occurred_at": "2026-03-02T08:15:30.123Z",
                        "channel": "phone",
                        "customer": _CUSTOMER,
                    },
                }
            ],
        }
    )

    dry_run: bool
    stored: int
    duplicate: int
    conflict: int
    rejected: int
    retry: int
    unknown: int
    remaining: int | None = Field(
        description="How many more fit the filter after these; null where they are too many to be counted."
    )
    next_cursor: str | None = Field(description="The `cursor` of the next replay; null where there are no more.")
    results: list[Replayed]


class DismissReceipt(BaseModel):
    """What was dismissed."""

    model_config = like({"dismissed": 1, "remaining": 0, "next_cursor": None})

    dismissed: int = Field(description="How many were waiting, and are dismissed now.")
    remaining: int | None = Field(description="As of a replay.")
    next_cursor: str | None = Field(description="As of a replay.")
