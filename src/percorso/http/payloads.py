"""JSON bodies of administrative routes, validated from bytes with the same care as interactions."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from percorso.errors import InvalidRequest, MalformedBody
from percorso.http import bodies
from percorso.ingest.document import Path, distinct, read
from percorso.ingest.validate import sentence

Model = TypeVar("Model", bound=BaseModel)

REFERENCE: Final = "#/components/schemas/{model}"
"""Where the OpenAPI document has the schema of a model."""

_CAP: Final = 64 * 1024


def given(model: type[Model], *, cap: int = _CAP) -> Callable[[Request], Awaitable[Model]]:
    """A dependency: the request's body, of at most `cap` bytes, as this model.

    Raises InvalidRequest with a pointer to each thing to mend.
    """

    async def body(request: Request) -> Model:
        raw = await bodies.read(request, cap=cap)
        _, problems = read(raw)
        if problems:
            raise MalformedBody("The body cannot be read.", problems=problems)
        try:
            return model.model_validate_json(raw)
        except ValidationError as error:
            problems = distinct(
                (_path(each["loc"]), sentence(each)) for each in error.errors(include_url=False, include_input=False)
            )
        raise InvalidRequest("The body cannot be taken as it is.", problems=problems)

    return body


def _path(where: Path) -> Path:
    """The members that the validator's location passes through; of a name that is not valid it says so at the end."""
    return where[:-1] if where[-1:] == ("[key]",) else where


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """What the OpenAPI document says of such a body; the models within it stand under `$defs`."""
    schema = model.model_json_schema(ref_template=REFERENCE)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
