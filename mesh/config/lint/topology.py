"""Who calls whom: the call graph that findings about whole paths are made from. Values, and the walks over them.

It comes from the Dataplanes' outbounds (services call services), or, known better, from a scenario: operations with
methods, how calls follow one another, and what instances can hold. Cycles are cut at the call that closes one.
"""

from collections.abc import Callable, Iterable, Mapping

import attrs


@attrs.frozen(order=True)
class Node:
    """A service, or (with `operation`, such as `GET /stock`) one thing that can be asked of it."""

    service: str
    operation: str = ""

    def __str__(self) -> str:
        return f"{self.service} {self.operation}".rstrip()


@attrs.frozen(kw_only=True)
class Call:
    """One call. `method` and `idempotent`: empty and None where not known. `timeout_s`: the application's own, 0: none."""

    caller: Node
    callee: Node
    port: int
    method: str = ""
    idempotent: bool | None = None
    timeout_s: float = 0.0


@attrs.frozen(kw_only=True)
class Capacity:
    """What a service can hold: at most so many instances, each serving `concurrency` requests while `queue` more wait."""

    instances: int
    concurrency: int
    queue: int


@attrs.frozen(kw_only=True)
class Topology:
    """A call graph.

    `stages` is `{node: ((call, ...), ...)}`: what it calls one after the other, and at once; empty where nobody knows.
    `width` is `{(caller, callee): most calls at once for one request}`. `capacity` is by service.
    """

    calls: tuple[Call, ...] = ()
    stages: Mapping[Node, tuple[tuple[Call, ...], ...]] = attrs.field(factory=dict)
    width: Mapping[tuple[str, str], int] = attrs.field(factory=dict)
    capacity: Mapping[str, Capacity] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Walk:
    """A path of calls, and the product of their factors."""

    factor: float = 1.0
    calls: tuple[Call, ...] = ()

    def __str__(self) -> str:
        if not self.calls:
            return ""
        return " -> ".join(str(node) for node in (self.calls[0].caller, *(call.callee for call in self.calls)))


@attrs.define(eq=False)
class CallGraph:
    """The calls by their caller, sorted, without those that would close a cycle; `cycles` names what those closed."""

    calls_of: dict[Node, tuple[Call, ...]]
    cycles: tuple[tuple[Node, ...], ...]
    order: tuple[Node, ...]  # callees before their callers

    @classmethod
    def of(cls, calls: Iterable[Call]) -> "CallGraph":
        by_caller: dict[Node, list[Call]] = {}
        for call in calls:
            by_caller.setdefault(call.caller, []).append(call)
            by_caller.setdefault(call.callee, [])
        ordered = {
            node: sorted(by_caller[node], key=lambda call: (call.callee, call.port, call.method))
            for node in sorted(by_caller)
        }
        return _acyclic(ordered)

    def longest(self, factor: Callable[[Call], float]) -> dict[Node, Walk]:
        """Return, for each node, the walk from it with the greatest product of factors; of equal ones the shortest."""
        best: dict[Node, Walk] = {}
        for node in self.order:
            walks = [Walk()]
            for call in self.calls_of[node]:
                beyond, own = best[call.callee], factor(call)
                # A call without a factor of its own is part of the walk only where something follows.
                if own > 1 or beyond.calls:
                    walks.append(Walk(factor=own * beyond.factor, calls=(call, *beyond.calls)))
            best[node] = max(walks, key=lambda walk: (walk.factor, -len(walk.calls)))
        return best


def _acyclic(calls_of: dict[Node, list[Call]]) -> CallGraph:
    """Search depth first, with a stack of our own: a call to a node that is being searched closes a cycle."""
    kept: dict[Node, list[Call]] = {node: [] for node in calls_of}
    cycles: list[tuple[Node, ...]] = []
    order: list[Node] = []
    done: set[Node] = set()
    for root in calls_of:
        if root in done:
            continue
        path, pending = [root], [iter(calls_of[root])]
        depth_of = {root: 0}
        while path:
            call = next(pending[-1], None)
            if call is None:
                done.add(path[-1])
                del depth_of[path[-1]]
                order.append(path.pop())
                pending.pop()
            elif call.callee in depth_of:
                cycles.append((*path[depth_of[call.callee] :], call.callee))
            else:
                kept[call.caller].append(call)
                if call.callee not in done:
                    depth_of[call.callee] = len(path)
                    path.append(call.callee)
                    pending.append(iter(calls_of[call.callee]))
    return CallGraph(
        calls_of={node: tuple(calls) for node, calls in kept.items()}, cycles=tuple(cycles), order=tuple(order)
    )
