"""What can go wrong, as types: each knows its code and its HTTP status.

PercorsoError
├── InvalidRequest              422  the request says something percorso cannot take; `problems` point at what
│   ├── MalformedBody           422  the body is not what its content type says
│   ├── RejectedInteraction     422  one interaction is invalid; it stands in quarantine
│   └── Erased                  422  the interaction names someone who was erased; nothing of it is kept
├── BodyTooLarge                413
├── UnsupportedEncoding         415  a Content-Type or Content-Encoding percorso does not read
├── Unauthorized                401
├── Forbidden                   403
├── NotFound                    404
├── NotAcceptable               406  nothing that `Accept` allows is offered
├── Conflict                    409  same source and id, other content
├── SharedIdentifier            409  it belongs to several customers: it is not one person's
├── CannotMerge                 409  no link can make these customers one
├── CannotRestore               409  a suspicion is not about an identifier that could be restored
├── CannotMergeTouchpoints      409  a touchpoint cannot count as the other, or does not count as another
├── TooManyWatches              409  there are as many watches as there may be
├── Decided                     409  a suspicion was decided otherwise before
├── TooManyRequests             429  the key may not send so much; repeat after `retry_after`
├── CursorGone                  410  the feed does not go back as far as a cursor
├── Outdated                    412  it was changed since the caller read it
├── Unavailable                 503  nothing was taken; repeat after `retry_after`
│   └── TooMuch                 503  analytics that took too long; a narrower question may be answered
└── StartupError                 —   the service cannot start, or a command cannot run; the message says what to do
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend: `pointer` is an RFC 6901 JSON pointer into the body ("" is the whole), `detail` a sentence."""

    pointer: str
    detail: str

    def as_json(self) -> dict[str, str]:
        """The form in which problems stand in answers and in quarantine."""
        return {"pointer": self.pointer, "detail": self.detail}


class PercorsoError(Exception):
    """The root: `detail` is a sentence for whoever called; `members` join the problem document."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, *, problems: Sequence[Problem] = (), **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = tuple(problems)
        self.members = members


class InvalidRequest(PercorsoError):
    """The request was understood and cannot be taken as it is; `problems` point at what to mend."""

    code, status, title = "invalid_request", HTTPStatus.UNPROCESSABLE_ENTITY, "The request cannot be taken as it is"


class MalformedBody(InvalidRequest):
    """The body is not what its content type says: broken JSON, broken gzip, cut short."""

    code, title = "malformed_body", "The body is malformed"


class RejectedInteraction(InvalidRequest):
    """An interaction is invalid; it is kept in quarantine under `rejection_id`."""

    code, title = "rejected", "The interaction was rejected"


class Erased(InvalidRequest):
    """An interaction names someone who was erased; nothing of it is kept, in quarantine neither."""

    code, title = "erased", "The person was erased"


class BodyTooLarge(PercorsoError):
    """The body, or what it decompresses to, is over the cap."""

    code, status, title = "body_too_large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large"


class UnsupportedEncoding(PercorsoError):
    """A Content-Type or Content-Encoding that percorso does not read."""

    code, status, title = (
        "unsupported_encoding",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body's encoding is not read here",
    )


class Unauthorized(PercorsoError):
    """No key, or one that is not valid."""

    code, status, title = "unauthorized", HTTPStatus.UNAUTHORIZED, "A valid key is needed"


class Forbidden(PercorsoError):
    """The key is valid and lacks the scope."""

    code, status, title = "forbidden", HTTPStatus.FORBIDDEN, "The key does not allow this"


class NotFound(PercorsoError):
    """What the path names does not exist."""

    code, status, title = "not_found", HTTPStatus.NOT_FOUND, "Not found"


class NotAcceptable(PercorsoError):
    """None of the media types that the caller accepts is offered."""

    code, status, title = "not_acceptable", HTTPStatus.NOT_ACCEPTABLE, "Not offered in such a form"


class UnknownCustomer(NotFound):
    """No identifier or customer id matches."""

    code = "unknown_customer"


class UnknownInteraction(NotFound):
    """No interaction has this id, or it was deleted."""

    code = "unknown_interaction"


class Conflict(PercorsoError):
    """Another interaction with the same source and id, and other content, is stored."""

    code, status, title = "conflict", HTTPStatus.CONFLICT, "Stored with other content"


class SharedIdentifier(PercorsoError):
    """An identifier that belongs to several customers cannot be dealt with as one person's."""

    code, status, title = "shared_identifier", HTTPStatus.CONFLICT, "Shared by several customers"


class CannotMerge(PercorsoError):
    """No link can make these customers one."""

    code, status, title = "cannot_merge", HTTPStatus.CONFLICT, "The customers cannot be merged"


class CannotMergeTouchpoints(PercorsoError):
    """A touchpoint cannot be made to count as the other, or does not count as another that it could be parted from."""

    code, status, title = "cannot_merge_touchpoints", HTTPStatus.CONFLICT, "The touchpoints stand otherwise"


class CannotRestore(PercorsoError):
    """A suspicion is not about an identifier that could be restored."""

    code, status, title = "cannot_restore", HTTPStatus.CONFLICT, "There is no identifier to restore"


class TooManyWatches(PercorsoError):
    """There are as many watches as there may be."""

    code, status, title = "too_many_watches", HTTPStatus.CONFLICT, "There are too many watches"


class Decided(PercorsoError):
    """A suspicion was decided otherwise before."""

    code, status, title = "decided", HTTPStatus.CONFLICT, "Decided before"


class TooManyRequests(PercorsoError):
    """The key has sent all that it may; nothing was taken, and the same request may be repeated after `retry_after`."""

    code, status, title = "too_many_requests", HTTPStatus.TOO_MANY_REQUESTS, "More than the key may send"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class CursorGone(PercorsoError):
    """The feed cannot go on from a cursor: the commit log that followed it is gone, or never was in this database."""

    code, status, title = "cursor_gone", HTTPStatus.GONE, "The feed does not go back so far"


class Outdated(PercorsoError):
    """What is to be changed is not what the caller read, as `If-Match` says."""

    code, status, title = "outdated", HTTPStatus.PRECONDITION_FAILED, "Changed since it was read"


class Unavailable(PercorsoError):
    """Nothing was taken; the same request may be repeated after `retry_after` seconds."""

    code, status, title = "unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "Not able to take this now"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class TooMuch(Unavailable):
    """Analytics were given up: the answer took too long to find, or to wait for."""

    code, title = "analytics_timeout", "The answer took too long"


class StartupError(PercorsoError):
    """The service cannot start, or a command cannot run; the message says what to do."""

    code = "startup"
