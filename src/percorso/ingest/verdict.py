"""What became of one interaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Self

import msgspec
from asyncpg.pgproto.pgproto import UUID

from percorso.errors import Problem

Status = Literal["stored", "duplicate", "conflict", "rejected", "retry"]


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """`stored`, `duplicate` and `conflict` name the interaction that is stored; `rejected` the quarantined item.

    Of one that is `rejected` since it names someone who was `erased`, or since its sender is `forbidden` to send it,
    nothing is kept, so that there is no item to name. `retry` says that it could not be stored now, and that sending it
    again is safe.
    """

    status: Status
    interaction_id: UUID | None = None
    customer_id: UUID | None = None
    received_at: datetime | None = None
    rejection_id: UUID | None = None
    problems: Sequence[Problem] = ()
    erased: bool = False
    forbidden: bool = False

    @classmethod
    def rejected(cls, rejection_id: UUID, problems: Sequence[Problem]) -> Self:
        """The verdict on what went into quarantine."""
        return cls("rejected", rejection_id=rejection_id, problems=problems)
