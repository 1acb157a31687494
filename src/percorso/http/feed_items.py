"""What an event of the feed looks like, on whichever way it is given."""

from collections.abc import Mapping, Sequence
from typing import Any

from asyncpg.pgproto.pgproto import UUID

from percorso.http import answers
from percorso.ingest.identity import Identifiers
from percorso.queries import customers
from percorso.queries.feed import Item
from percorso.storage.database import ReadSession


async def documents(session: ReadSession, items: Sequence[Item], identifiers: Identifiers) -> list[dict[str, Any]]:
    """These events as JSON has them, each with the customers that it is about as they are now."""
    named = {identity for item in items for identity in item.made.identity_ids}
    named |= {item.made.found.identity_id for item in items if item.made.found is not None}
    of = await customers.customer_ids(session, list(named)) if named else {}
    return [_document(item, of, identifiers) for item in items]


def _document(item: Item, of: Mapping[UUID, UUID], identifiers: Identifiers) -> dict[str, Any]:
    made = item.made
    document: dict[str, Any] = {"id": item.id, "event": made.event, "at": answers.moment(item.at)}
    if made.found is not None:
        document["interaction"] = answers.interaction(made.found, of.get(made.found.identity_id), identifiers)
        document["revision"] = made.found.revision
    elif made.interaction_id is not None:
        document["interaction"] = {"interaction_id": str(made.interaction_id)}
    if made.identity_ids:
        document["customer_ids"] = sorted({str(of[each]) for each in made.identity_ids if each in of})
        document["identity_ids"] = [str(each) for each in made.identity_ids]
    document |= answers.figures(dict(made.members))
    return document | {"cursor": item.after.encoded()}
