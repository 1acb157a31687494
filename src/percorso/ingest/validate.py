"""From the bytes of one interaction to its words, or to the list of what is wrong with them.

Most interactions are sound, so they are proved sound cheaply: validated from the bytes, then looked over for what the
validator lets pass (`_is_harmless`). Whatever is not proved is read again, slowly and exactly (`document.read`).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from percorso import details, interaction
from percorso.errors import InvalidRequest, Problem, RejectedInteraction
from percorso.ids import EPOCH_YEAR
from percorso.ingest.document import Path, count_keys, distinct, read, repeats_a_key
from percorso.interaction import CHANNELS, ENRICHMENT, INTERACTION, Enrichment, Feedback, Interaction

_validate: Final[Callable[[bytes], Interaction]] = INTERACTION.validator.validate_json
_validate_patch: Final[Callable[[bytes], Enrichment]] = ENRICHMENT.validator.validate_json

_FIRST_MOMENT: Final = datetime(EPOCH_YEAR, 1, 1, tzinfo=UTC)
_LONGEST_WORD: Final = 64
_WHITE_SPACE: Final = b" \t\r\n"
_OPEN: Final = ("details", "attributes", "source_fields")
_FIELDS: Final = tuple(interaction.PhoneInteraction.__annotations__)
_PATCHABLE: Final = ", ".join(Enrichment.__annotations__)
_CHANNEL_LIST: Final = ", ".join(CHANNELS)

_NOT_A_MOMENT: Final = "must be a date and time with an offset, such as 2026-11-20T10:00:00+01:00"
PATTERNS: Final = {
    details.MOMENT_PATTERN: _NOT_A_MOMENT,
    details.CURRENCY_PATTERN: "must be a currency code of three capital letters, such as EUR",
    interaction.KIND_PATTERN: "must be lower-case letters, digits, '_', '.' and '-', beginning with a letter or digit",
    interaction.TOUCHPOINT_PATTERN: (
        "must be lower-case letters, digits, '_', '.', '/', ':' and '-', beginning with a letter or digit"
    ),
    interaction.IDENTIFIER_KIND_PATTERN: (
        "must have a name of at most 64 lower-case letters, digits and '_', beginning with a letter"
    ),
    interaction.LANGUAGE_PATTERN: "must be a language tag, such as it or en-GB",
    interaction.IDENTIFIER_PATTERN: "must not be blank",
}
SENTENCES: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "too_long": "must have at most {max_length} members",
    "literal_error": "must be {expected}",
    "datetime_parsing": f"is not a date and time that exists: {{error}}; it {_NOT_A_MOMENT}",
    "datetime_from_date_parsing": f"is not a date and time that exists: {{error}}; it {_NOT_A_MOMENT}",
    "datetime_object_invalid": f"is not a date and time that exists: {{error}}; it {_NOT_A_MOMENT}",
}


def parse(raw: bytes, *, now: datetime, max_future: timedelta, max_bytes: int) -> Interaction:
    """One interaction from its JSON text; a member that is null means the same as one that is absent.

    Raises RejectedInteraction, with a pointer to each thing to mend, and no value that was sent but for unknown
    channels.
    """
    if len(raw) > max_bytes:
        raise _refusal(RejectedInteraction, [_too_large(raw, max_bytes)])
    try:
        found = _validate(raw)
    except ValidationError as error:
        raise _refusal(RejectedInteraction, _explained(raw, error, patch=False)) from None
    if not _is_harmless(raw, found):
        _, problems = read(raw)
        if problems:
            raise _refusal(RejectedInteraction, problems)
    problems = _time_problems(found, now, max_future)
    if feedback := found.get("feedback"):
        problems += _feedback_problems(feedback)
    if problems:
        raise _refusal(RejectedInteraction, problems)
    return found


def parse_patch(raw: bytes, *, max_bytes: int) -> Enrichment:
    """A JSON merge patch (RFC 7386) of an interaction: only what may be enriched, where null means remove.

    Raises InvalidRequest, with a pointer to each thing to mend.
    """
    if len(raw) > max_bytes:
        raise _refusal(InvalidRequest, [_too_large(raw, max_bytes)])
    try:
        patch = _validate_patch(raw)
    except ValidationError as error:
        raise _refusal(InvalidRequest, _explained(raw, error, patch=True)) from None
    _, problems = read(raw)
    if problems := problems or _feedback_problems(patch.get("feedback") or ()):
        raise _refusal(InvalidRequest, problems)
    return patch


def require_in_time(moments: Mapping[str, datetime | None], *, now: datetime, max_future: timedelta) -> None:
    """Raise InvalidRequest where a moment, given with its pointer, is further ahead or longer ago than is taken."""
    problems = [
        Problem(pointer, wrong)
        for pointer, moment in moments.items()
        if moment is not None and (wrong := _out_of_time(moment, now, max_future))
    ]
    if problems:
        raise _refusal(InvalidRequest, problems)


def sentence(error: ErrorDetails) -> str:
    """What the validator found, in words that follow the name of what is wrong; else in its own."""
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], error["msg"])
    if error["type"] == "string_type" and error["loc"][-1] in details.MOMENTS:
        return _NOT_A_MOMENT
    known = SENTENCES.get(error["type"])
    return error["msg"] if known is None else known.format(**context)


def _is_harmless(raw: bytes, found: Interaction) -> bool:
    """Prove that no key is repeated and that no NUL, infinite number or deep nesting is in there; False is no proof.

    Every key ends in a quotation mark that a colon follows, white space aside. When such pairs are as many as the keys
    that were found, no key was lost to another of the same name: strings can only add to the pairs.
    """
    if b"\\" in raw and b"\\u0000" in raw:
        return False
    # Only some members take values of any type; elsewhere the validator has seen to numbers and depth.
    keys = count_keys([value for name in _OPEN if (value := found.get(name))])
    if keys is None:
        return False
    keys += len(found) + len(found["customer"]) + len(found.get("sentiment") or ())
    for answer in found.get("feedback") or ():
        keys += len(answer)
    for attachment in found.get("attachments") or ():
        keys += len(attachment)
    return raw.translate(None, _WHITE_SPACE).count(b'":') == keys or not repeats_a_key(raw)


def _explained(raw: bytes, error: ValidationError, *, patch: bool) -> list[Problem]:
    """What the validator found, in words; but first, and then alone, what no document may hold."""
    document, problems = read(raw)
    if problems:
        return problems
    errors = error.errors(include_url=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        return [Problem("", f"is not valid JSON: {errors[0]['ctx']['error']}")]
    explain = _explain_patch if patch else _explain
    return distinct(found for each in errors if (found := explain(each, document)))


def _explain(error: ErrorDetails, document: Any) -> tuple[Path, str] | None:
    if error["type"].startswith("union_tag"):
        return ("channel",), _about_channel(document.get("channel"))
    # The validator names the channel first, as the branch it took.
    where = error["loc"][1:]
    if where[:1] == ("customer",) and len(where) > len(("customer", "kind")):
        return _explain_identifier(error, where, document["customer"][where[1]])
    path = _path(where, document)
    if error["type"] == "extra_forbidden" and len(path) == 1:
        close = get_close_matches(str(path[0])[:_LONGEST_WORD], _FIELDS, 1)
        return path, "is not a known field" + (f"; did you mean {close[0]}?" if close else "")
    return path, sentence(error)


def _explain_patch(error: ErrorDetails, document: Any) -> tuple[Path, str]:
    path = _path(error["loc"], document)
    if error["type"] == "extra_forbidden" and len(path) == 1:
        return path, f"cannot be changed; these can: {_PATCHABLE}"
    return path, sentence(error)


def _explain_identifier(error: ErrorDetails, where: Path, value: Any) -> tuple[Path, str] | None:
    """The validator tells of a value once as no string and once as no list; only what the value meant to be counts."""
    path, branch = where[:2], str(where[2])
    if branch == "[key]":
        return path, sentence(error)
    if not isinstance(value, str | list):
        return path, "must be a string or a list of strings"
    if isinstance(value, list) is not branch.startswith("list"):
        return None
    return path + where[3:], sentence(error)


def _about_channel(given: Any) -> str:
    if given is None:
        return f"is required, one of {_CHANNEL_LIST}"
    if not isinstance(given, str) or len(given) > _LONGEST_WORD or not given.isprintable():
        return f"must be one of {_CHANNEL_LIST}"
    close = get_close_matches(given, CHANNELS, 1)
    hint = f"did you mean {close[0]}? It" if close else "it"
    return f"is not a channel; {hint} must be one of {_CHANNEL_LIST}"


def _path(where: Path, document: Any) -> Path:
    """The members that the validator's location passes through, and the one that is missing."""
    value = document
    for depth, step in enumerate(where):
        if isinstance(value, dict) and step not in value:
            return where[: depth + 1]
        value = value[step]
    return where


def _time_problems(found: Interaction, now: datetime, max_future: timedelta) -> list[Problem]:
    problems = []
    occurred, ended = found.get("occurred_at"), found.get("ended_at")
    if occurred is not None and (wrong := _out_of_time(occurred, now, max_future)):
        problems.append(Problem("/occurred_at", wrong))
    if ended is not None:
        if wrong := _out_of_time(ended, now, max_future):
            problems.append(Problem("/ended_at", wrong))
        elif occurred is not None and ended < occurred:
            problems.append(Problem("/ended_at", "must not be before occurred_at"))
        elif occurred is None and ended < now:
            problems.append(
                Problem("/ended_at", "must not be before occurred_at, which is the time of receipt when absent")
            )
    if (
        found["channel"] == "survey"
        and (asked := (found.get("details") or {}).get("invited_at"))
        and (wrong := _out_of_time(asked, now, max_future))
    ):
        problems.append(Problem("/details/invited_at", wrong))
    return problems


def _out_of_time(moment: datetime, now: datetime, max_future: timedelta) -> str | None:
    # Most are no later by the day, whatever their offset, and not too early by the year: to compare moments of
    # different offsets costs more.
    if moment.toordinal() >= now.toordinal() - 1 and moment - now > max_future:
        return f"must not be more than {max_future / timedelta(hours=1):g} hours ahead"
    if moment.year <= EPOCH_YEAR and moment < _FIRST_MOMENT:
        return f"must not be before {_FIRST_MOMENT:%Y-%m-%dT%H:%M:%SZ}"
    return None


def _feedback_problems(feedback: Iterable[Feedback]) -> list[Problem]:
    problems = []
    for index, answer in enumerate(feedback):
        low, high, score = answer.get("min"), answer.get("max"), answer.get("score")
        if low is not None and high is not None and low >= high:
            problems.append(Problem(f"/feedback/{index}/max", "must be greater than min"))
        elif score is not None and low is not None and score < low:
            problems.append(Problem(f"/feedback/{index}/score", "must not be less than min"))
        elif score is not None and high is not None and score > high:
            problems.append(Problem(f"/feedback/{index}/score", "must not be greater than max"))
    return problems


def _too_large(raw: bytes, max_bytes: int) -> Problem:
    return Problem("", f"is {len(raw)} bytes long; at most {max_bytes} are taken")


def _refusal(kind: type[InvalidRequest], problems: list[Problem]) -> InvalidRequest:
    first, more = problems[0], len(problems) - 1
    detail = f"{first.pointer or 'The body'} {first.detail}"
    return kind(f"{detail} (and {more} more)" if more else detail, problems=problems)
