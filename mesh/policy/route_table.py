"""Route table: which of a listener's routes a request goes by, found without looking at all of them.

Routes come in the order of evaluation (`mesh.config.routes.in_evaluation_order`) and the first that matches wins. Exact
paths and prefixes are looked up, a prefix for each segment of the path down to the longest prefix there is; regular
expressions run together in one pass, and only where nothing that comes before them was found.
Source: Gateway API HTTPRouteMatch; Envoy `RouteMatch` (path, path_separated_prefix, safe_regex: without the query).
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

from mesh.policy.patterns import PatternSet
from mesh.policy.route_conditions import Head, Reading, Row, Rows, conditions_of
from mesh.policy.routing import PathMatch, PathMatchKind, RouteMatch

T = TypeVar("T")


class RouteTable(Generic[T]):
    """Routes prepared to be found; immutable."""

    __slots__ = ("_depth_max", "_everything", "_exact", "_patterned", "_patterned_rank_min", "_patterns", "_prefixes")

    def __init__(self, entries: Sequence[tuple[RouteMatch, T]]) -> None:
        """Take routes in the order of evaluation. Raises: ValueError for a pattern that RE2 refuses."""
        by_path: dict[tuple[PathMatchKind, str], list[Row[T]]] = {}
        for rank, (match, value) in enumerate(entries):
            by_path.setdefault(_path_key(match.path), []).append(Row(rank, value, conditions_of(match)))
        rows = {path: Rows(found) for path, found in by_path.items()}
        self._exact = {path.encode(): found for (kind, path), found in rows.items() if kind is PathMatchKind.EXACT}
        self._prefixes = {path.encode(): found for (kind, path), found in rows.items() if kind is PathMatchKind.PREFIX}
        self._depth_max = max((prefix.count(b"/") for prefix in self._prefixes), default=0)
        patterned = {path: found for (kind, path), found in rows.items() if kind is PathMatchKind.REGULAR_EXPRESSION}
        self._patterns = PatternSet(list(patterned))
        self._patterned = list(patterned.values())
        self._patterned_rank_min = min((found.rank_min for found in self._patterned), default=len(entries))
        # The most usual listener has one route, for everything.
        self._everything = [entries[0][1]] if entries and entries[0][0] == RouteMatch() else []

    def find(self, head: Head) -> T | None:
        """Return what the first route that matches a request leads to; None: there is no such route."""
        if self._everything:
            return self._everything[0]
        reading = Reading(head)
        best: Row[T] | None = None
        rank_max = 1 << 62
        for rows in self._by_path(head.path):
            found = rows.first(reading, rank_max)
            if found is not None:
                best, rank_max = found, found.rank
        if self._patterned_rank_min < rank_max:
            for position in self._patterns.matching(head.path):
                found = self._patterned[position].first(reading, rank_max)
                if found is not None:
                    best, rank_max = found, found.rank
        return None if best is None else best.value

    def _by_path(self, path: bytes) -> list[Rows[T]]:
        """Return the routes with this very path, and those with a prefix of it, the longest first."""
        # Without a prefix / everything matches, the authority of a CONNECT and the `*` of an OPTIONS too.
        found = [self._prefixes.get(b"")]
        end = 0
        for _ in range(self._depth_max):
            end = path.find(b"/", end + 1)
            found.append(self._prefixes.get(path if end < 0 else path[:end]))
            if end < 0:
                break
        found.append(self._exact.get(path))
        return [rows for rows in reversed(found) if rows is not None]


def _path_key(path: PathMatch) -> tuple[PathMatchKind, str]:
    """Return the same for paths that match the same: a prefix means whole segments, with or without a `/` at its end."""
    return path.kind, path.value.removesuffix("/") if path.kind is PathMatchKind.PREFIX else path.value
