"""What each kind of request may use of a process: places among the requests at once, and memory for bodies.

Each route belongs to a *group*. The groups beside ingest have shares of all places, together less than all of them, so
that none of them can take the last from ingest. Administration has places of its own, beside all others: a key can be
revoked in the midst of a flood of its requests.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal, get_args

from fastapi import FastAPI
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from percorso.errors import Unavailable
from percorso.http.pressure import Pressure
from percorso.ops import metrics
from percorso.settings import RouteGroup, Settings

Why = Literal["full", "share", "pressure"]
"""Why a request is not worked on: there are too many, or too many of its group, or others matter more now."""

GROUPS: Final[Mapping[RouteGroup, frozenset[str]]] = {
    "ingest": frozenset(
        {
            "store_interaction",
            "store_interactions",
            "store_cloudevents",
            "greet_cloudevents",
            "store_segment_calls",
            "read_segment_settings",
            "create_party_interaction",
            "enrich_interaction",
            "patch_party_interaction",
            "say_traits",
            "say_consents",
        }
    ),
    "reads": frozenset(
        {
            "find_interaction",
            "read_interaction",
            "read_interaction_revisions",
            "read_party_interaction",
            "read_customer",
            "read_journey",
            "read_summary",
            "read_episodes",
            "read_identity",
            "read_traits",
            "read_trait_history",
            "read_consents",
            "read_consent_history",
            "find_customers",
            "read_segments",
            "read_segment",
            "read_members",
            "read_membership",
            "read_touchpoint",
            "read_touchpoint_interactions",
            "read_feed",
            "stream_feed",
            "openapi",
            "show_docs",
        }
    ),
    "analytics": frozenset(
        {
            "read_touchpoints",
            "read_touchpoint_stats",
            "list_party_interactions",
            "read_channels",
            "read_transitions",
            "read_paths",
            "read_funnel",
            "count_rejected",
            "try_watch",
            "check_schema",
            "read_attribution",
            "read_problems",
            "read_contact_quality",
        }
    ),
    "exports": frozenset({"export_customer"}),
    "administration": frozenset(
        {
            "create_key",
            "read_keys",
            "change_key",
            "rotate_key",
            "revoke_key",
            "erase_customer",
            "read_erasures",
            "read_erasure",
            "read_audit_log",
            "read_audit_head",
            "read_retention",
            "read_rejected",
            "read_rejected_item",
            "replay_rejected",
            "dismiss_rejected",
            "create_subscription",
            "read_subscriptions",
            "read_subscription",
            "change_subscription",
            "delete_subscription",
            "rotate_secret",
            "check_subscription",
            "read_dead_letters",
            "replay_subscription",
            "read_schemas",
            "read_schema",
            "put_schema",
            "delete_schema",
            "read_schema_versions",
            "read_schema_version",
            "activate_schema",
            "read_schema_report",
            "read_watches",
            "read_watch",
            "put_watch",
            "delete_watch",
            "read_firings",
            "merge_customers",
            "split_customer",
            "read_suspected",
            "dismiss_suspicion",
            "restore_identifier",
            "merge_touchpoints",
            "unmerge_touchpoint",
            "describe_touchpoint",
            "put_segment",
            "delete_segment",
            "delete_interaction",
            "delete_party_interaction",
            "create_hub",
            "delete_hub",
        }
    ),
}
"""The group of each route, by the route's name; what works in a place of analytics is analytics."""

ALWAYS: Final = frozenset({"check_live", "check_ready", "read_metrics"})
"""Routes that are answered however much there is to do: whether the service is well can be asked at any time."""

_GROUP: Final = "percorso.group"
_BUDGETS: Final = "percorso.budgets"
_HELD: Final = "percorso.held"
_NAMED: Final = re.compile(r"\(\?P<\w+>")


class Budgets:
    """One a process: who is worked on, and how many bytes of bodies are held."""

    def __init__(self, app: FastAPI, settings: Settings, pressure: Pressure) -> None:
        self._groups = _Groups(app.routes)
        self._pressure = pressure
        self._most = settings.max_concurrent_requests
        self._shares = {group: max(1, int(self._most * settings.group_shares[group])) for group in get_args(RouteGroup)}
        self._busy = 0
        self._busy_of: dict[RouteGroup | None, int] = defaultdict(int)
        self._most_bytes = settings.max_body_bytes
        self._bytes = 0

    @property
    def held(self) -> int:
        """The bytes of bodies in memory, of all requests."""
        return self._bytes

    def group_of(self, scope: Scope) -> RouteGroup | None:
        """The group of the route that a request is for; None where there is no such route, or it has none."""
        return self._groups.of(scope["method"], scope["path"])

    def why_not(self, group: RouteGroup | None) -> Why | None:
        """Why a request of this group is not to be worked on now; None where it is."""
        if group == "administration":
            return "share" if self._busy_of[group] >= self._shares[group] else None
        if self._busy >= self._most:
            return "full"
        if group is None:
            return None
        if self._pressure.sheds(group):
            return "pressure"
        return "share" if self._busy_of[group] >= self._shares[group] else None

    def enter(self, scope: Scope, group: RouteGroup | None) -> None:
        """Begin to work on a request."""
        scope[_GROUP], scope[_BUDGETS] = group, self
        self.take(group)

    def end(self, scope: Scope, group: RouteGroup | None) -> None:
        """End with a request; what it held is let go of."""
        self.give(group)
        if held := scope.get(_HELD):
            self._bytes -= held

    def take(self, group: RouteGroup | None) -> None:
        """Take a place, whether there is one or not."""
        self._busy += group != "administration"
        self._busy_of[group] += 1

    def give(self, group: RouteGroup | None) -> None:
        """Give a place back."""
        self._busy -= group != "administration"
        self._busy_of[group] -= 1

    def hold(self, scope: Scope, size: int) -> None:
        """Let a request hold so many bytes more until its end; Unavailable where all requests hold too many.

        One alone may always.
        """
        held = scope.get(_HELD, 0)
        if self._bytes + size > self._most_bytes and self._bytes > held:
            metrics.SHED.labels(scope[_GROUP] or "none").inc()
            raise Unavailable("The bodies of other requests take all the memory there is for them.", retry_after=2)
        self._bytes += size
        scope[_HELD] = held + size


def hold(scope: Scope, size: int) -> None:
    """As `Budgets.hold`, for whoever has a request at hand."""
    budgets: Budgets | None = scope.get(_BUDGETS)
    if budgets is not None:
        budgets.hold(scope, size)


@contextmanager
def aside(scope: Scope) -> Iterator[None]:
    """Within the block a request waits, and others may have its place."""
    budgets: Budgets | None = scope.get(_BUDGETS)
    if budgets is None:
        yield
        return
    budgets.give(scope[_GROUP])
    try:
        yield
    finally:
        budgets.take(scope[_GROUP])


class _Groups:
    """Finds the group of a path before the framework finds its route, for a small part of what that costs."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        by_name = {name: group for group, names in GROUPS.items() for name in names}
        self._plain: dict[tuple[str, str], RouteGroup | None] = {}
        self._found: list[RouteGroup | None] = []
        patterns: dict[str, list[str]] = defaultdict(list)
        for route in every_route(routes):
            group = by_name.get(route.name)
            for method in route.methods or ():
                if route.param_convertors:
                    name = f"g{len(self._found)}"
                    self._found.append(group)
                    patterns[method].append(f"(?P<{name}>{_NAMED.sub('(?:', route.path_regex.pattern)})")
                else:
                    self._plain[method, route.path] = group
        # One expression for all: the first route that matches is the one that the framework takes.
        self._named = {method: re.compile("|".join(each)) for method, each in patterns.items()}

    def of(self, method: str, path: str) -> RouteGroup | None:
        """The group of a request."""
        if (method, path) in self._plain:
            return self._plain[method, path]
        named = self._named.get(method)
        match = named.match(path) if named else None
        if match is None or match.lastgroup is None:
            return None
        return self._found[int(match.lastgroup[1:])]


def every_route(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """These routes, and those of the routers that were included."""
    for route in routes:
        if isinstance(route, Route):
            yield route
        elif included := getattr(route, "original_router", None):
            yield from every_route(included.routes)
