"""JSON bodies of administrative routes, validated from bytes with the same care as interactions."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from percorso.errors import InvalidRequest, MalformedBody
from percorso.http import bodies
from percorso.ingest.document import distinct, read

Model = TypeVar("Model", bound=BaseModel)

_CAP: Final = 64 * 1024


def given(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """A dependency: the request's body as this model. Raises InvalidRequest with a pointer to each thing to mend."""

    async def body(request: Request) -> Model:
        raw = await bodies.read(request, cap=_CAP)
        _, problems = read(raw)
        if problems:
            raise MalformedBody("The body cannot be read.", problems=problems)
        try:
            return model.model_validate_json(raw)
        except ValidationError as error:
            problems = distinct(
                (each["loc"], each["msg"])
                for each in error.errors(include_url=False, include_context=False, include_input=False)
            )
        raise InvalidRequest("The body cannot be taken as it is.", problems=problems)

    return body


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """What the OpenAPI document says of such a body."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}
