"""Route conditions: what a request has to be beside its path, and where to look for the routes whose conditions it meets.

Routes with one path differ in method, headers and query. Each is filed under the rarest of its conditions, so that of
many routes those that a request cannot match are not looked at. Found by rank: the lowest rank wins.
Source: Envoy `RouteMatch.headers` (source/common/http/header_utility.cc), `RouteMatch.query_parameters` (config_impl.cc
and query_params: not percent-decoded, the first of several values counts).
"""

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import attrs

from mesh.policy.patterns import Pattern, PatternSet, compile_pattern
from mesh.policy.routing import RouteMatch, ValueMatchKind

T = TypeVar("T")

# So few routes are looked at one by one faster than they are looked up.
SCANNED_MAX = 2


class Head(Protocol):
    """What routes look at of a request."""

    @property
    def method(self) -> bytes: ...
    @property
    def path(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    def header(self, name_lower: bytes, /) -> bytes | None: ...


class Source(enum.Enum):
    """Where a property of a request stands."""

    METHOD = enum.auto()
    HEADER = enum.auto()
    QUERY = enum.auto()


Property = tuple[Source, bytes]  # source, name


class Reading:
    """One request, of which the query is taken apart when it is first asked for."""

    __slots__ = ("_head", "_query", "header")

    def __init__(self, head: Head) -> None:
        self._head = head
        self.header = head.header
        self._query: dict[bytes, bytes] | None = None

    def value(self, wanted: Property) -> bytes | None:
        """Return a property's value; None: the request does not have it."""
        source, name = wanted
        if source is Source.HEADER:
            return self.header(name)
        if source is Source.METHOD:
            return self._head.method
        if self._query is None:
            self._query = _query(self._head.target)
        return self._query.get(name)


def _query(target: bytes) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for parameter in target.partition(b"?")[2].split(b"&"):
        name, _, value = parameter.partition(b"=")
        values.setdefault(name, value)
    return values


@attrs.frozen
class Condition:
    """What one property has to be."""

    wanted: Property
    kind: ValueMatchKind
    value: bytes = b""
    pattern: Pattern | None = attrs.field(default=None, eq=False)

    def holds(self, reading: Reading) -> bool:
        """Does a request meet it?"""
        (source, name), kind = self.wanted, self.kind
        value = reading.header(name) if source is Source.HEADER else reading.value(self.wanted)
        if kind is ValueMatchKind.EXACT:  # Nearly all are.
            return value == self.value
        if value is None or kind is ValueMatchKind.ABSENT:
            return value is None and kind is ValueMatchKind.ABSENT
        if self.pattern is not None:
            return self.pattern.fullmatch(value)
        return kind is ValueMatchKind.PRESENT or value.startswith(self.value)


def conditions_of(match: RouteMatch) -> tuple[Condition, ...]:
    """Return all that a request has to be beside its path. Raises: ValueError for a pattern that RE2 refuses."""
    found = []
    if match.method:
        found.append(Condition((Source.METHOD, b""), ValueMatchKind.EXACT, match.method.encode()))
    found += [_condition(Source.HEADER, header.name.lower(), header.kind, header.value) for header in match.headers]
    found += [_condition(Source.QUERY, each.name, each.kind, each.value) for each in match.query]
    return tuple(dict.fromkeys(found))


def _condition(source: Source, name: str, kind: ValueMatchKind, value: str) -> Condition:
    pattern = compile_pattern(value) if kind is ValueMatchKind.REGULAR_EXPRESSION else None
    return Condition((source, name.encode()), kind, value.encode(), pattern)


@attrs.frozen(eq=False)
class Row(Generic[T]):
    """A route's place in the order of evaluation, what it leads to, and which conditions are left to look at."""

    rank: int
    value: T
    conditions: tuple[Condition, ...]

    def holds(self, reading: Reading) -> bool:
        """Does a request meet all of the conditions?"""
        for condition in self.conditions:  # noqa: SIM110 - the generator of `all` costs more than most conditions
            if not condition.holds(reading):
                return False
        return True

    def without(self, condition: Condition) -> "Row[T]":
        """Return it for where one of its conditions is known to hold."""
        return Row(self.rank, self.value, tuple(each for each in self.conditions if each != condition))


class Rows(Generic[T]):
    """Routes that differ in their conditions only. `always`: the first of them, where it has none; then it is the only one."""

    __slots__ = ("_filed", "_scanned", "always", "rank_min")

    def __init__(self, rows: Sequence[Row[T]]) -> None:
        """Take routes sorted by rank; those behind one without conditions are never reached."""
        reachable = list(_reachable(rows))
        self.rank_min = reachable[0].rank
        self.always = None if reachable[0].conditions else reachable[0]
        self._scanned: list[Row[T]] = []
        counts = Counter(condition for row in reachable for condition in row.conditions)
        by_condition: dict[Condition, list[Row[T]]] = {}
        for row in reachable:
            indexed = [each for each in row.conditions if each.kind is not ValueMatchKind.ABSENT]
            if not indexed or len(reachable) <= SCANNED_MAX:
                self._scanned.append(row)
            else:
                rarest = min(indexed, key=lambda condition: counts[condition])
                by_condition.setdefault(rarest, []).append(row.without(rarest))
        by_property: dict[Property, dict[Condition, Rows[T]]] = {}
        for condition, filed in by_condition.items():
            by_property.setdefault(condition.wanted, {})[condition] = Rows(filed)
        self._filed = [(wanted, _ByValue(filed)) for wanted, filed in by_property.items()]

    def first(self, reading: Reading, rank_max: int) -> Row[T] | None:
        """Return the route of the lowest rank that a request matches, if that is below `rank_max`."""
        if self.rank_min >= rank_max:
            return None
        if self.always is not None:
            return self.always
        best: Row[T] | None = None
        for row in self._scanned:
            if row.rank >= rank_max:
                break
            if row.holds(reading):
                best, rank_max = row, row.rank
                break
        for wanted, by_value in self._filed:
            if by_value.rank_min >= rank_max:
                continue
            value = reading.value(wanted)
            for rows in by_value.candidates(value) if value is not None else ():
                found = rows.first(reading, rank_max)
                if found is not None:
                    best, rank_max = found, found.rank
        return best


class _ByValue(Generic[T]):
    """Routes by what one property of a request has to be."""

    __slots__ = (
        "_all_exact",
        "_exact",
        "_patterned",
        "_patterns",
        "_prefix_sizes",
        "_prefixes",
        "_present",
        "rank_min",
    )

    def __init__(self, filed: dict[Condition, Rows[T]]) -> None:
        of_kind = {kind: {c: rows for c, rows in filed.items() if c.kind is kind} for kind in ValueMatchKind}
        patterned = of_kind[ValueMatchKind.REGULAR_EXPRESSION]
        self._exact = {condition.value: rows for condition, rows in of_kind[ValueMatchKind.EXACT].items()}
        self._prefixes = {condition.value: rows for condition, rows in of_kind[ValueMatchKind.PREFIX].items()}
        self._prefix_sizes = sorted({len(prefix) for prefix in self._prefixes})
        self._patterned = list(patterned.values())
        self._patterns = PatternSet([condition.value.decode() for condition in patterned]) if patterned else None
        self._present = list(of_kind[ValueMatchKind.PRESENT].values())
        self._all_exact = len(self._exact) == len(filed)
        self.rank_min = min(rows.rank_min for rows in filed.values())

    def candidates(self, value: bytes) -> Iterable[Rows[T]]:
        """Return the routes that have this value, or match it."""
        if self._all_exact:
            return (self._exact[value],) if value in self._exact else ()
        return self._of_all_kinds(value)

    def _of_all_kinds(self, value: bytes) -> Iterator[Rows[T]]:
        if value in self._exact:
            yield self._exact[value]
        for size in self._prefix_sizes:
            if size > len(value):
                break
            rows = self._prefixes.get(value[:size])
            if rows is not None:
                yield rows
        if self._patterns is not None:
            for position in self._patterns.matching(value):
                yield self._patterned[position]
        yield from self._present


def _reachable(rows: Sequence[Row[T]]) -> Iterator[Row[T]]:
    for row in rows:
        yield row
        if not row.conditions:
            return
