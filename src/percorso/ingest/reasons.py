"""Why something was refused, in a word that groups: `code:pointer`, in which no value stands.

| code | what is wrong |
| --- | --- |
| malformed | it is not JSON, or not UTF-8 |
| too_large | it has more bytes than are taken |
| too_deep, repeated, unfit_text | nesting, a member given twice, NUL or half a surrogate pair |
| required, unknown, misplaced, empty | a member that lacks, that is unknown, that may not stand there, that is blank |
| wrong_type | another JSON type is needed |
| not_allowed | none of the values that it may have, or not spelt as it must be |
| too_long, out_of_range | more characters or members than are taken; a number too low or too high |
| not_a_moment, out_of_time | no date and time; one too far ahead or too long ago, or an end before its beginning |
| identifier | the value is not one of its kind |
| schema | a schema of the registry is enforced that it does not fit |
| erased | it names someone who was erased |
| database | the database refuses it |
| invalid | anything else |

The pointer is that of the problem, with `*` for an index and for whatever is no plain name: so the first and the tenth
answer to a survey are one reason, and no name that was made up of data makes another.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from percorso.errors import Problem

CODES: Final[tuple[tuple[str, str], ...]] = (
    ("schema", r"\(schema \S+, version \d+\)$"),
    ("malformed", "^is not (valid JSON|valid UTF-8|a call|text in)|byte order mark|^must be (UTF-8|base64)"),
    ("too_large", "bytes long; at most|^is larger than"),
    ("too_deep", "^is nested deeper|with a very long name"),
    ("repeated", "more than once$"),
    ("unfit_text", "NUL character|surrogate pair|unfit name|control characters"),
    ("erased", "^erased: "),
    ("database", "^The database refuses|^The reasons cannot be stored"),
    ("out_of_time", "hours ahead$|^must not be before|^is too far from now"),
    ("not_a_moment", "date and time"),
    ("identifier", "^(An|The) (identifier|email|phone)|^A (phone number|social identifier)|^The value "),
    ("unknown", "^is not a (known field|channel)|^is no (attribute|member)"),
    ("misplaced", "^must not be given beside|^must be left out|^is where the event's own"),
    ("required", "^is required|^must have a|^is mandatory"),
    ("empty", "^must not be (empty|blank)"),
    ("too_long", "^must (be at most .* characters long|have at most .* members)|^must be a smaller number"),
    ("out_of_range", "^must be (at least|at most|greater than)|^must not be (less|greater) than|finite number"),
    (
        "not_allowed",
        "^must be (one of|a currency|lower-case|a language|a media type|kind:value|'|1\\.0)|^must have a name",
    ),
    ("wrong_type", "^must be (an? |true or false)"),
)
"""The codes, and what the sentence says where each is so; the first counts."""

_OTHER: Final = "invalid"
_LONGEST: Final = 128
_DEEPEST: Final = 6
_REMEMBERED: Final = 1024
_CODES: Final = tuple((code, re.compile(pattern)) for code, pattern in CODES)
_is_name: Final = re.compile(r"[A-Za-z@][A-Za-z_]{0,39}").fullmatch


def general(pointer: str) -> str:
    """A JSON pointer with `*` for what is no plain name, cut where it is long."""
    steps = pointer.split("/")[1 : _DEEPEST + 1]
    return "".join(f"/{step if _is_name(step) else '*'}" for step in steps)[:_LONGEST]


def code(problems: Sequence[Problem]) -> str:
    """The code of the first of these problems."""
    return reason(problems[0]).partition(":")[0] if problems else _OTHER


@lru_cache(_REMEMBERED)
def reason(problem: Problem) -> str:
    """The reason that a problem is one of."""
    which = next((each for each, told in _CODES if told.search(problem.detail)), _OTHER)
    return f"{which}:{general(problem.pointer)}"


def reasons(problems: Iterable[Problem]) -> list[str]:
    """The reasons of these problems, each once."""
    return list(dict.fromkeys(map(reason, problems)))
