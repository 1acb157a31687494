"""What a caller may send: the sources it may name, and the channels.

It is looked at before anything is looked up. Of what is outside nothing is kept, in quarantine neither: from there it
could come in after all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from percorso.errors import Problem
from percorso.ingest.verdict import Verdict
from percorso.storage.interactions import Row

_SOURCE: Final = Problem("/source", "is not among the sources that the key may send as")
_CHANNEL: Final = Problem("/channel", "is not among the channels that the key may send")


class _Said(msgspec.Struct):
    """What can be read of an item that is otherwise invalid."""

    source: object = None
    channel: object = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """The sources and the channels that may be sent; None is any."""

    sources: frozenset[str] | None
    channels: frozenset[str] | None

    def takes(self, row: Row) -> bool:
        """Whether this may be sent."""
        return (self.sources is None or row.source in self.sources) and (
            self.channels is None or row.channel in self.channels
        )

    def outside(self, source: object, channel: object) -> list[Problem]:
        """What of these is outside; what is not said, or is no word at all, is not."""
        problems = []
        if isinstance(source, str) and self.sources is not None and source not in self.sources:
            problems.append(_SOURCE)
        if isinstance(channel, str) and self.channels is not None and channel not in self.channels:
            problems.append(_CHANNEL)
        return problems

    def outside_unread(self, item: bytes) -> list[Problem]:
        """The same of an item that is not valid, as far as it can be read."""
        try:
            said = msgspec.json.decode(item, type=_Said)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return []
        return self.outside(said.source, said.channel)


def forbidden(problems: Sequence[Problem]) -> Verdict:
    """The verdict on what may not be sent."""
    return Verdict("rejected", problems=problems, forbidden=True)
