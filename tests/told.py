"""What services under test tell those who are not to know whom they deal with: logs, metrics, bodies of errors.

Everything is looked at as it is told; what is personal in it is kept, with the test that it came from, for the one
that comes last.
"""

import logging
import os
import re
from collections import Counter
from http import HTTPStatus
from typing import Any, Final

import httpx
import structlog

PERSONAL: Final = re.compile(
    r"[\w.+'-]+@[\w-]+\.\w{2,}|\b(?:anna|beppe|rossi|verdi|zoë)\b|\+39[ 0-9]{5}|(?<![\w.-])06\d{0,2}6982\d{0,4}\b"
    r"|C-17\b|secret words",
    re.IGNORECASE,
)
"""How persons are named in the tests."""

_ADVICE: Final = ("such as email:anna@example.com", "such as `mastodon:anna`")
"""What percorso itself says by way of example."""

COUNTED: Final[Counter[str]] = Counter()
"""How much was looked at, by kind."""
FOUND: Final[list[tuple[str, str, str]]] = []
"""The personal things that were told: of which kind, in which test, and the words."""


def personal(text: str) -> str | None:
    """What is personal in a text, with some of what stands around it."""
    for advice in _ADVICE:
        text = text.replace(advice, "")
    match = PERSONAL.search(text)
    return None if match is None else text[max(match.start() - 100, 0) : match.end() + 100]


def tell(kind: str, text: str) -> None:
    """Look at what was told."""
    COUNTED[kind] += 1
    if (words := personal(text)) is not None:
        FOUND.append((kind, os.environ.get("PYTEST_CURRENT_TEST", ""), words))


async def answered(response: httpx.Response) -> None:
    """Look at an answer, where it is an error or tells the metrics: a hook of httpx."""
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        await response.aread()
        tell("error", f"{response.text} {dict(response.headers)}")
    elif response.url.path == "/metrics":
        await response.aread()
        tell("metrics", response.text)


class _Logger(structlog.make_filtering_bound_logger(logging.NOTSET)):  # type: ignore[misc] # made while it runs
    """The usual logger, whose lines are looked at before anything is done with them."""

    def _proxy_to_logger(self, method_name: str, event: str | None = None, *arguments: Any, **named: Any) -> Any:
        tell("log", f"{event} {arguments} {self._context} {named}")
        return super()._proxy_to_logger(method_name, event, *arguments, **named)


class _Handler(logging.Handler):
    """Looks at the lines of libraries, at whatever level they are let through."""

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one."""
        tell("log", record.getMessage() + (self.format(record) if record.exc_info else ""))


_HANDLER: Final = _Handler()


def listen() -> None:
    """Look at all that is logged in this process from now on, whatever was configured before."""
    structlog.reset_defaults()
    structlog.configure(wrapper_class=_Logger)
    # Added once, however often; a command that configured logging has taken it away.
    logging.getLogger().addHandler(_HANDLER)
