"""Keys: who may call."""

from http import HTTPStatus
from typing import Annotated, Any

from asyncpg.pgproto.pgproto import UUID
from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from percorso.errors import NotFound
from percorso.http import answers
from percorso.http.access import MayAdminister, Scope
from percorso.http.documents.base import answers as documented
from percorso.http.documents.operations import KeyList, NewKey
from percorso.http.parameters import KeyId
from percorso.http.payloads import given, request_body
from percorso.http.services import Reads, Use
from percorso.queries import api_keys
from percorso.queries.api_keys import ApiKey
from percorso.storage import api_keys as store
from percorso.storage.database import reading, writing

router = APIRouter(prefix="/v1/keys", tags=["Keys"])


class KeyBody(BaseModel):
    """What a new key is to be."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "crm-connector", "scopes": ["ingest"]}]}
    )

    name: str = Field(min_length=1, max_length=128, description="Who or what will use it.")
    scopes: list[Scope] = Field(min_length=1, max_length=5, description="What it may do; `admin` may do everything.")
    rate: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="What it may send a second: interactions, and other requests. None: `PERCORSO_KEY_RATE`.",
    )
    burst: int | None = Field(
        None, ge=1, le=100_000_000, description="What it may send at once. None: the rate of ten seconds."
    )

    @field_validator("burst")
    @classmethod
    def _of_a_rate(cls, burst: int | None, info: ValidationInfo) -> int | None:
        if burst is not None and info.data.get("rate") is None:
            raise ValueError("needs a `rate`")
        return burst


@router.post(
    "",
    summary="Make a key",
    status_code=HTTPStatus.CREATED,
    response_class=Response,
    responses=documented(NewKey, 408, 413, 415, status=201, says="Made. The key is shown this once."),
    openapi_extra=request_body(KeyBody),
)
async def create_key(_: MayAdminister, wanted: Annotated[KeyBody, Depends(given(KeyBody))], use: Use) -> Response:
    """Make a key with the scopes given."""
    key = store.generate()
    async with writing(use.engine) as session:
        key_id = await store.create(
            session, name=wanted.name, scopes=wanted.scopes, key=key, rate=wanted.rate, burst=wanted.burst
        )
    async with reading(use.engine) as reader:
        made = next(each for each in await api_keys.all_keys(reader) if each.key_id == key_id)
    return answers.json_response(_document(made) | {"key": key}, status=HTTPStatus.CREATED)


@router.get("", summary="The keys", response_class=Response, responses=documented(KeyList, says="Every key."))
async def read_keys(_: MayAdminister, session: Reads) -> Response:
    """Read what is known of every key, those revoked included; the keys themselves are not."""
    items = [_document(key) for key in await api_keys.all_keys(session)]
    return answers.json_response({"items": items, "next_cursor": None})


@router.delete(
    "/{key_id}",
    summary="Revoke a key",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses=documented(None, 404, status=204, says="Revoked."),
)
async def revoke_key(key_id: KeyId, _: MayAdminister, use: Use) -> Response:
    """Revoke a key. Other processes may take it for `PERCORSO_KEY_CACHE_SECONDS` more."""
    async with writing(use.engine) as session:
        done = await store.revoke(session, UUID(key_id.bytes))
    use.keys.forget()
    if not done:
        raise NotFound("No valid key has this id.")
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _document(key: ApiKey) -> dict[str, Any]:
    return {
        "id": str(key.key_id),
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": answers.moment(key.created_at),
        "revoked_at": None if key.revoked_at is None else answers.moment(key.revoked_at),
        "rate": key.rate,
        "burst": key.burst,
    }
