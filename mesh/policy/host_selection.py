"""Host selection: which endpoints another try of a request avoids, and how long it looks for a better one. Pure.

Source: Envoy `retry.host.{previous_hosts,omit_host_metadata}`, `retry.priority.previous_priorities`;
source/common/upstream/load_balancer_context_base.h for the loop.
"""

from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

import attrs

_NO_PRIORITIES: frozenset[int] = frozenset()


class Host(Protocol):
    """What is looked at of an endpoint."""

    @property
    def label(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def tags(self) -> Collection[tuple[str, str]]: ...


HostT = TypeVar("HostT", bound=Host)


@attrs.frozen(kw_only=True)
class HostSelection:
    """Which endpoints another try avoids. Up to `picks_max` more picks are made; the last one is taken, whatever it is.

    `omitted_tags`: groups of tags; an endpoint that carries all of one group. `omit_priorities_every`: each time so many
    tries were made, the priorities tried by then (0: no).
    """

    omit_previous_hosts: bool = False
    omitted_tags: tuple[tuple[tuple[str, str], ...], ...] = ()
    omit_priorities_every: int = 0
    picks_max: int = 1


class Avoided:
    """What one request avoids. Make it when the first try has failed: the first pick of a request avoids nothing."""

    __slots__ = ("_labels", "_omitted", "_priorities", "_selection")

    def __init__(self, selection: HostSelection) -> None:
        self._selection = selection
        self._labels: set[str] = set()
        self._priorities: list[int] = []  # tried since they were last forgotten
        self._omitted = _NO_PRIORITIES

    def note(self, host: Host) -> None:
        """Remember a host that was tried, whatever came of it; call it for the first try too."""
        # By address, not by identity: an endpoint may have been made anew by a change of configuration meanwhile.
        self._labels.add(host.label)
        every = self._selection.omit_priorities_every
        if every:
            self._priorities.append(host.priority)
            if len(self._priorities) % every == 0:
                self._omitted |= frozenset(self._priorities)

    def rejects(self, host: Host) -> bool:
        """Is another host to be looked for?"""
        selection = self._selection
        if selection.omit_previous_hosts and host.label in self._labels:
            return True
        tags = host.tags
        return any(all(tag in tags for tag in group) for group in selection.omitted_tags)

    def choose(self, pick: Callable[[int, frozenset[int]], HostT | None]) -> HostT | None:
        """Pick until a host is not rejected, `picks_max` times more at most; the last pick counts. None: no host at all.

        `pick` takes the number of the pick, from 0, and the priorities to omit unless nobody else could take the try.
        """
        host: HostT | None = None
        for number in range(self._selection.picks_max + 1):
            host = pick(number, self._omitted)
            if host is None:
                break
            if host.priority in self._omitted:
                # So there was nobody else. From now on all priorities count again, as in Envoy.
                self._priorities.clear()
                self._omitted = _NO_PRIORITIES
            if not self.rejects(host):
                break
        return host
