"""Inbound rules: what counts for whom that calls one inbound or listener.

Each kind of policy has its way: settings for a caller are merged from all rules that mean it (MeshTimeout,
MeshRateLimit), each rule acts by itself (MeshFaultInjection, MeshAccessLog), or rules have no callers and are all
merged (MeshCircuitBreaker, MeshTLS). MeshTrafficPermission's verdict is in `mesh.policy.authorization`. Pure.
"""

from collections.abc import Iterable

import attrs

from mesh.config.matching import Section, is_section
from mesh.config.merging import merge
from mesh.policy.authorization import MatchKind, PeerMatch
from mesh.resources.policy import Conf, Policy
from mesh.resources.resource import Resource

MERGED_BY_CALLER = ("MeshTimeout", "MeshRateLimit")
EACH_ACTS = ("MeshFaultInjection", "MeshAccessLog", "MeshTrafficPermission")

EVERYBODY = PeerMatch()


@attrs.frozen(kw_only=True, eq=False)
class Entry:
    """One rule for one match of callers, and where it was written: the policy, and the rule's place in its list."""

    policy: Resource
    index: int
    match: PeerMatch
    default: Conf


@attrs.frozen(kw_only=True)
class CallerConf:
    """The settings for callers that match, unless an earlier one in the list matched; `entries` made them, in order."""

    match: PeerMatch
    conf: Conf
    entries: tuple[Entry, ...] = attrs.field(eq=False, repr=False)


def entries_at(policies: Iterable[Resource], inbound: Section) -> tuple[Entry, ...]:
    """Split the rules at an inbound by their matches, the most specific first; equal ones in the order of the policies."""
    entries = [
        Entry(policy=policy, index=index, match=match, default=rule.default)
        for policy in policies
        if is_section(policy.spec_as(Policy).target, inbound)
        for index, rule in enumerate(policy.spec_as(Policy).rules)
        for match in (rule.matches or (EVERYBODY,))
    ]
    return tuple(sorted(entries, key=lambda entry: _kind_rank(entry.match), reverse=True))


def for_everybody(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries without a match, in the order in which they are merged."""
    return tuple(entry for entry in entries if entry.match == EVERYBODY)


def by_caller(entries: Iterable[Entry]) -> tuple[CallerConf, ...]:
    """Merge, for each distinct match, the entries that mean all of its callers, the most specific last.

    The result is the most specific first: the first that matches a caller holds all of its settings. What counts for
    everybody stands at the end, where there is such.
    """
    ascending = sorted(entries, key=lambda entry: specificity(entry.match))
    result = []
    for match in sorted({entry.match: None for entry in ascending}, key=_descending):
        relevant = tuple(entry for entry in ascending if covers(entry.match, match))
        result.append(CallerConf(match=match, conf=merge(entry.default for entry in relevant), entries=relevant))
    return tuple(result)


def covers(wide: PeerMatch, narrow: PeerMatch) -> bool:
    """Does `wide` match whomever `narrow` matches?"""
    if wide.sni and wide.sni != narrow.sni:
        return False
    if not wide.spiffe_id:
        return True
    if wide.spiffe_id_kind is MatchKind.EXACT:
        return narrow.spiffe_id_kind is MatchKind.EXACT and narrow.spiffe_id == wide.spiffe_id
    return narrow.spiffe_id.startswith(wide.spiffe_id)


def specificity(match: PeerMatch) -> tuple[int, int, int]:
    """Return how specific a match is: by the kind of its SPIFFE ID, a prefix's length, whether it has a server name."""
    kind, named = _kind_rank(match)
    return (kind, len(match.spiffe_id), named)


def _kind_rank(match: PeerMatch) -> tuple[int, int]:
    kind = 0 if not match.spiffe_id else 2 if match.spiffe_id_kind is MatchKind.EXACT else 1
    return (kind, int(bool(match.sni)))


def _descending(match: PeerMatch) -> tuple[int, int, int, str, str]:
    # Matches that are equally specific exclude each other: their order only has to be the same every time.
    kind, length, named = specificity(match)
    return (-kind, -length, -named, match.spiffe_id, match.sni)
