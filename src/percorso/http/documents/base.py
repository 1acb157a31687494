"""What every answer in the OpenAPI document has: problems, examples, and the `responses` of a route."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from percorso.http.documents import examples


def like(example: examples.Example, *, open_: bool = False) -> ConfigDict:
    """The configuration of a model that looks like this; `open_` where it may have members that are not named."""
    return ConfigDict(extra="allow" if open_ else "ignore", json_schema_extra={"examples": [example]})


def example(model: type) -> examples.Example | None:
    """What a model looks like."""
    config = getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", {})
    extra = config.get("json_schema_extra") or {}
    found: list[examples.Example] = extra.get("examples", [])
    return found[0] if found else None


class Trouble(BaseModel):
    """One thing to mend."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body; `/query/…` and `/path/…` for parameters.")
    detail: str = Field(description="What is wrong there.")


class ProblemDocument(BaseModel):
    """An error (RFC 9457). A 4xx says what to mend; a 5xx is safe to repeat."""

    model_config = like(examples.PROBLEM, open_=True)

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="A stable word for programs.")
    errors: list[Trouble]


_ERRORS = {
    400: "The request is malformed.",
    401: "No valid key.",
    403: "The key lacks the scope.",
    404: "There is none.",
    406: "None of the media types in `Accept` is offered; `offered` says which are.",
    408: "The body arrived too slowly.",
    409: "It stands against what is there: see `code`.",
    410: "The feed does not go back so far.",
    412: "It was changed since it was read.",
    413: "The body is too large.",
    415: "The body's encoding is not read.",
    422: "Something is to be mended; `errors` says what.",
    429: "The key has sent all that it may; safe to repeat after `Retry-After` seconds.",
    503: "Nothing was taken; safe to repeat after `Retry-After` seconds.",
}


def answers(
    model: type | None,
    *errors: int,
    status: int = HTTPStatus.OK,
    says: str | None = None,
    conflict: str | None = None,
    lines: examples.Example | None = None,
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what it answers when all is well, and which errors; 401, 403, 422, 429, 503 always.

    `conflict` says when it is a 409; `lines` is an example of a line, where it may answer by NDJSON too.
    """
    good: dict[str, Any] = {"description": says or "Done."}
    if model is not None:
        good |= {"model": model}
    if lines is not None:
        good |= {"content": {"application/x-ndjson": {"schema": {"type": "object", "examples": [lines]}}}}
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}
    meanings = _ERRORS if conflict is None else _ERRORS | {409: conflict}
    every = sorted({401, 403, 422, 429, 503, *errors} | ({409} if conflict else set()))
    documented: dict[int | str, dict[str, Any]] = {int(status): good}
    return documented | {code: {"description": meanings[code]} | problem for code in every}
