"""Retention: what is kept for how long, what went last, and what is due."""

from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from percorso.http import answers
from percorso.http.access import MayAdminister
from percorso.http.documents.base import answers as documented
from percorso.http.documents.privacy import RetentionDocument
from percorso.http.services import Reads, Use
from percorso.queries import retention

router = APIRouter(prefix="/v1/retention", tags=["Operations"])

_TOLD: Final = ("began_at", "ended_at", "partitions", "interactions", "rejected", "commit_days", "bytes")
"""What is told of a run; how far it read the commit log is its own business."""


@router.get(
    "",
    summary="What is kept for how long, and what is due to go",
    response_class=Response,
    responses=documented(RetentionDocument, says="The policy, the last run, and what is due."),
)
async def read_retention(_: MayAdminister, use: Use, session: Reads) -> Response:
    """Read for how long what is kept, what the last completed run took away, and what the next one will look for.

    Nothing is counted for it: how many interactions a month has is the database's own estimate. `percorso retention
    --dry-run` counts.
    """
    policy, now = use.policy, datetime.now(UTC)
    swept = await retention.swept(session)
    last = await retention.state(session)
    due = {
        "partitions": [
            {"month": f"{part.first:%Y-%m}", "interactions": part.rows, "bytes": part.size}
            for part in await retention.whole_months(session, policy, now)
        ],
        "channels": [
            {"channel": channel, "before": cutoff, "swept_until": swept.get(channel)}
            for channel, cutoff in policy.cutoffs(now).items()
        ],
        "commit_days": [f"{part.first:%Y-%m-%d}" for part in await retention.commit_days(session, policy, now)],
        "quarantine_before": policy.quarantine_before(now),
    }
    run = None if last is None else {name: getattr(last, name) for name in _TOLD}
    return answers.json_response(answers.figures({"policy": policy, "last_run": run, "due": due}))
