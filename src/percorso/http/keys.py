"""Keys: who may call."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Depends
from fastapi.responses import Response

from percorso.errors import InvalidRequest, NotFound, Problem
from percorso.http import answers
from percorso.http.access import MayAdminister
from percorso.http.callers import Caller
from percorso.http.documents.base import answers as documented
from percorso.http.documents.operations import KeyDocument, KeyList, NewKey
from percorso.http.key_bodies import KeyBody, KeyChange, RotateBody, overlap, unlimited
from percorso.http.parameters import KeyId
from percorso.http.payloads import given, given_if_any, request_body
from percorso.http.recorder import entry
from percorso.http.services import Reads, Services, Use
from percorso.queries import api_keys
from percorso.queries.api_keys import ApiKey
from percorso.storage import api_keys as store
from percorso.storage import audit
from percorso.storage.database import WriteSession, reading, writing

router = APIRouter(prefix="/v1/keys", tags=["Keys"])

_NONE = "No valid key has this id."


@router.post(
    "",
    summary="Make a key",
    status_code=HTTPStatus.CREATED,
    response_class=Response,
    responses=documented(NewKey, 408, 413, 415, status=201, says="Made. The key is shown this once."),
    openapi_extra=request_body(KeyBody),
)
async def create_key(caller: MayAdminister, wanted: Annotated[KeyBody, Depends(given(KeyBody))], use: Use) -> Response:
    """Make a key with the scopes given, limited to sources, to channels or in time.

    Whatever it ingests, in whatever format, must be of these sources and channels: a single interaction that is not is
    answered 403, one of a batch is rejected, and nothing of it is kept. What it may read or change is not limited so.
    """
    _require_limits_hold(unlimited(wanted.scopes, wanted.limits))
    key = store.generate()
    async with writing(use.engine) as session:
        key_id = await store.create(session, name=wanted.name, scopes=wanted.scopes, key=key, **wanted.limits)
        said = {"scopes": list(wanted.scopes), "limits": sorted(wanted.limits)}
        await _record(session, "key_made", caller, key_id, said)
    return answers.json_response(await _shown(key_id, use) | {"key": key}, status=HTTPStatus.CREATED)


@router.get("", summary="The keys", response_class=Response, responses=documented(KeyList, says="Every key."))
async def read_keys(_: MayAdminister, session: Reads) -> Response:
    """Read what is known of every key, those revoked included; the keys themselves are not.

    `last_used_at` is to the minute, and stands here two minutes later at most.
    """
    items = [_document(key) for key in await api_keys.all_keys(session)]
    return answers.json_response({"items": items, "next_cursor": None})


@router.patch(
    "/{key_id}",
    summary="Change a key",
    response_class=Response,
    responses=documented(KeyDocument, 404, 408, 413, 415, says="The key, changed."),
    openapi_extra=request_body(KeyChange),
)
async def change_key(
    key_id: KeyId, caller: MayAdminister, wanted: Annotated[KeyChange, Depends(given(KeyChange))], use: Use
) -> Response:
    """Change the name of a key, its limits or when it expires; its scopes stay: another key may have others.

    Other processes may take it as it was for `PERCORSO_KEY_CACHE_SECONDS` more.
    """
    this = UUID(key_id.bytes)
    async with reading(use.engine) as reader:
        known = await api_keys.by_id(reader, this)
    if known is not None:
        _require_limits_hold(unlimited(known.scopes, wanted.changes))
    async with writing(use.engine) as session:
        if not await store.change(session, this, wanted.changes):
            raise NotFound(_NONE)
        await _record(session, "key_changed", caller, this, {"changed": list(wanted.changes)})
    use.keys.forget()
    return answers.json_response(await _shown(this, use))


@router.post(
    "/{key_id}/rotate",
    summary="Rotate a key",
    response_class=Response,
    responses=documented(NewKey, 404, 408, 413, 415, says="Rotated. The new secret is shown this once."),
    openapi_extra=request_body(RotateBody, required=False),
)
async def rotate_key(
    key_id: KeyId, caller: MayAdminister, wanted: Annotated[RotateBody, Depends(given_if_any(RotateBody))], use: Use
) -> Response:
    """Give a key a new secret; it stays the same key, with its id, its name and all it may do.

    The secret that it had stays valid for the `overlap`, 24h where none is given, so that whoever uses it can change
    over. Those that it had before end with it, if they have not ended yet.
    """
    this, key = UUID(key_id.bytes), store.generate()
    length = overlap(wanted.overlap)
    async with writing(use.engine) as session:
        if not await store.rotate(session, this, key=key, old_until=datetime.now(UTC) + length):
            raise NotFound(_NONE)
        said = {"overlap_seconds": int(length.total_seconds())}
        await _record(session, "key_rotated", caller, this, said)
    use.keys.forget()
    return answers.json_response(await _shown(this, use) | {"key": key})


@router.delete(
    "/{key_id}",
    summary="Revoke a key",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(None, 404, status=204, says="Revoked."),
)
async def revoke_key(key_id: KeyId, caller: MayAdminister, use: Use) -> Response:
    """Revoke a key, and every secret it has. Other processes may take it for `PERCORSO_KEY_CACHE_SECONDS` more."""
    this = UUID(key_id.bytes)
    async with writing(use.engine) as session:
        if not await store.revoke(session, this):
            raise NotFound(_NONE)
        await _record(session, "key_revoked", caller, this, {})
    use.keys.forget()
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _require_limits_hold(problems: list[Problem]) -> None:
    if problems:
        raise InvalidRequest("The key cannot be limited so.", problems=problems)


async def _record(session: WriteSession, act: str, caller: Caller, key_id: UUID, said: Mapping[str, Any]) -> None:
    await audit.record(session, [entry(act, caller, None, {"key_id": str(key_id), **said})])


async def _shown(key_id: UUID, use: Services) -> dict[str, Any]:
    """What is known of a key now."""
    async with reading(use.engine) as reader:
        key = await api_keys.by_id(reader, key_id)
    if key is None:
        raise NotFound(_NONE)
    return _document(key)


def _document(key: ApiKey) -> dict[str, Any]:
    moments = {
        name: None if at is None else answers.moment(at)
        for name, at in (
            ("expires_at", key.expires_at),
            ("last_used_at", key.last_used_at),
            ("rotated_until", key.rotated_until),
            ("revoked_at", key.revoked_at),
        )
    }
    return {
        "id": str(key.key_id),
        "name": key.name,
        "scopes": list(key.scopes),
        "sources": None if key.sources is None else list(key.sources),
        "channels": None if key.channels is None else list(key.channels),
        "created_at": answers.moment(key.created_at),
        **moments,
        "rate": key.rate,
        "burst": key.burst,
    }
