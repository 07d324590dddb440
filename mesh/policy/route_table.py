"""Route table: which of a listener's routes a request goes by, found without looking at all of them.

Routes come in the order of evaluation (`mesh.config.routes.in_evaluation_order`) and the first that matches wins. Exact
paths are looked up; prefixes stand in a tree of segments, which a path is followed down as far as it goes; regular
expressions run together in one pass, and only where nothing that comes before them was found.
Source: Gateway API HTTPRouteMatch; Envoy `RouteMatch` (path, path_separated_prefix, safe_regex: without the query).
"""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from mesh.policy.patterns import PatternSet
from mesh.policy.route_conditions import Head, Reading, Row, Rows, conditions_of
from mesh.policy.routing import PathMatch, PathMatchKind, RouteMatch

T = TypeVar("T")


_LAST = 1 << 62  # behind every rank


class _Prefix(Generic[T]):
    """A place in the tree of prefixes: where the next segment leads, and the routes of paths that go no further.

    Those with this very prefix come first, then the shorter ones: that is usually the order of evaluation too.
    """

    __slots__ = ("longer", "rows")

    def __init__(self, rows: tuple[Rows[T], ...]) -> None:
        self.rows = rows
        self.longer: dict[bytes, _Prefix[T]] = {}


class RouteTable(Generic[T]):
    """Routes prepared to be found; immutable."""

    __slots__ = ("_cuts", "_everything", "_exact", "_patterned", "_patterned_rank_min", "_patterns", "_prefixes")

    def __init__(self, entries: Sequence[tuple[RouteMatch, T]]) -> None:
        """Take routes in the order of evaluation. Raises: ValueError for a pattern that RE2 refuses."""
        by_path: dict[tuple[PathMatchKind, str], list[Row[T]]] = {}
        for rank, (match, value) in enumerate(entries):
            by_path.setdefault(_path_key(match.path), []).append(Row(rank, value, conditions_of(match)))
        rows = {path: Rows(found) for path, found in by_path.items()}
        self._exact = {path.encode(): found for (kind, path), found in rows.items() if kind is PathMatchKind.EXACT}
        prefixes = {path.encode(): found for (kind, path), found in rows.items() if kind is PathMatchKind.PREFIX}
        self._prefixes = _tree(prefixes)
        self._cuts = max((prefix.count(b"/") + 1 for prefix in prefixes if prefix), default=0)
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
        path = head.path
        found = self._by_path(path)
        if len(found) == 1 and self._patterned_rank_min > found[0].rank_min and found[0].always is not None:
            return found[0].always.value
        reading = Reading(head)
        best: Row[T] | None = None
        rank_max = _LAST
        for rows in found:
            row = rows.first(reading, rank_max)
            if row is not None:
                best, rank_max = row, row.rank
        if self._patterned_rank_min < rank_max:
            for position in self._patterns.matching(path):
                row = self._patterned[position].first(reading, rank_max)
                if row is not None:
                    best, rank_max = row, row.rank
        return None if best is None else best.value

    def _by_path(self, path: bytes) -> tuple[Rows[T], ...]:
        """Return the routes with this very path, and those with a prefix of it, the longest first."""
        place = self._prefixes
        if self._cuts:
            for segment in path.split(b"/", self._cuts):
                longer = place.longer.get(segment)
                if longer is None:
                    break
                place = longer
        return (self._exact[path], *place.rows) if path in self._exact else place.rows


def _tree(prefixes: Mapping[bytes, Rows[T]]) -> _Prefix[T]:
    """Return the root, which all begin with, the authority of a CONNECT and the `*` of an OPTIONS too.

    An absolute path's first segment is the empty one.
    """
    root: _Prefix[T] = _Prefix((prefixes[b""],) if b"" in prefixes else ())
    for prefix in sorted(prefixes, key=len):  # The shorter ones before what they are part of.
        place = root
        for segment in prefix.split(b"/") if prefix else ():
            place = place.longer.setdefault(segment, _Prefix(place.rows))
        if prefix:
            place.rows = (prefixes[prefix], *place.rows)
    return root


def _path_key(path: PathMatch) -> tuple[PathMatchKind, str]:
    """Return the same for paths that match the same: a prefix means whole segments, with or without a `/` at its end."""
    return path.kind, path.value.removesuffix("/") if path.kind is PathMatchKind.PREFIX else path.value
