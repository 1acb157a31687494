"""What a customer may read with a token of their own: their journey and their summary.

Whether it is theirs is decided by the identifier in the token and the one in the path alone, before anything is looked
up: so the answer is the same, and takes the same work, whether or not there is such a customer.
"""

from typing import Annotated

from asyncpg.pgproto.pgproto import UUID
from fastapi import Depends, Request

from percorso.http.access import May, only_own
from percorso.http.callers import Caller
from percorso.http.parameters import SLASH, identity


class _MayReadOwn(May):
    """As `May("read")`; a customer's token may too, where the path names the customer by the identifier in it."""

    def require_own(self, request: Request, customer: UUID) -> None:
        """Raise Forbidden, unless the path names this customer."""
        try:
            asked = identity(
                request.app.state.services.identifiers, request.path_params["customer"].replace(SLASH, "/")
            )
        except ValueError:
            asked = None
        if asked != customer:
            raise only_own()


MayReadOwn = Annotated[Caller, Depends(_MayReadOwn("read"))]
