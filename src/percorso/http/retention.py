"""Retention: what is kept for how long, what went last, and what is due."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from percorso.http import answers
from percorso.http.access import MayAdminister
from percorso.http.documents.base import answers as documented
from percorso.http.documents.privacy import RetentionDocument
from percorso.http.services import Reads, Use
from percorso.queries import retention
from percorso.queries.retention import State

router = APIRouter(prefix="/v1/retention", tags=["Operations"])


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
    before = policy.quarantine_before(now)
    swept = await retention.swept(session)
    last = await retention.state(session)
    due = {
        "partitions": [
            {"month": f"{part.first:%Y-%m}", "interactions": part.rows, "bytes": part.size}
            for part in await retention.whole_months(session, policy, now)
        ],
        "channels": [
            {"channel": channel, "before": answers.moment(cutoff), "swept_until": _moment(swept.get(channel))}
            for channel, cutoff in policy.cutoffs(now).items()
        ],
        "commit_days": [f"{part.first:%Y-%m-%d}" for part in await retention.commit_days(session, policy, now)],
        "quarantine_before": _moment(before),
    }
    policy_document = {
        "days": policy.days,
        "channel_days": policy.channel_days,
        "quarantine_days": policy.quarantine_days,
        "commit_log_days": policy.commit_log_days,
    }
    return answers.json_response({"policy": policy_document, "last_run": _run(last), "due": due})


def _run(last: State | None) -> dict[str, Any] | None:
    if last is None:
        return None
    return {
        "began_at": answers.moment(last.began_at),
        "ended_at": answers.moment(last.ended_at),
        "partitions": last.partitions,
        "interactions": last.interactions,
        "rejected": last.rejected,
        "commit_days": last.commit_days,
        "bytes": last.bytes,
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else answers.moment(value)
