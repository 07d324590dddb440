"""Authorization: may this peer use this inbound? Pure; decided once per connection, the caller keeps the decision.

Source: Kuma MeshTrafficPermission `rules[].default.{deny, allowWithShadowDeny, allow}`. No order among the rules:
any deny match denies, else any allow match allows, else denied. `permissions: None` (no identity yet) is the caller's case.
Details and counts are those of Envoy's RBAC filter (source/extensions/filters/common/rbac).
"""

import enum
from collections.abc import Iterable

import attrs

from mesh.model.names import SpiffeId


class MatchKind(enum.Enum):
    """How a SPIFFE ID is compared."""

    EXACT = "Exact"
    PREFIX = "Prefix"


@attrs.frozen(kw_only=True)
class PeerMatch:
    """One entry of a rule: both parts must match where given."""

    spiffe_id_kind: MatchKind = MatchKind.EXACT
    spiffe_id: str = ""  # "": any identity
    sni: str = ""  # "": any; always exact
    origin: str = ""  # the policy that says so, where somebody may ask


@attrs.frozen(kw_only=True)
class Permissions:
    """All rules that selected one inbound, concatenated. Empty: everybody is denied."""

    deny: tuple[PeerMatch, ...] = ()
    allow_with_shadow_deny: tuple[PeerMatch, ...] = ()
    allow: tuple[PeerMatch, ...] = ()


class Verdict(enum.Enum):
    """What becomes of a connection."""

    ALLOWED = "allowed"
    ALLOWED_SHADOW_DENIED = "allowed-shadow-denied"  # let through, logged and counted as if denied
    DENIED = "denied"


def covers_peer(match: PeerMatch, spiffe_id: str, sni: str) -> bool:
    """Does an entry mean this peer? `spiffe_id` "": it has proven none, so that only entries for any identity mean it."""
    if match.sni and match.sni != sni:
        return False
    if not match.spiffe_id:
        return True
    if match.spiffe_id_kind is MatchKind.EXACT:
        return match.spiffe_id == spiffe_id
    # A prefix of the text, as in Kuma and Envoy: `.../ns/pay` also covers `.../ns/payroll`; end it with a slash.
    return spiffe_id.startswith(match.spiffe_id)


class _MatchSet:
    """The entries of one list, prepared: exact IDs by lookup, the rest in order."""

    __slots__ = ("_exact", "_others")

    def __init__(self, matches: Iterable[PeerMatch]) -> None:
        self._exact: dict[str, PeerMatch] = {}
        self._others: list[PeerMatch] = []
        for match in matches:
            if match.spiffe_id and match.spiffe_id_kind is MatchKind.EXACT and not match.sni:
                self._exact.setdefault(match.spiffe_id, match)
            else:
                self._others.append(match)

    def find(self, spiffe_id: str, sni: str) -> PeerMatch | None:
        """Return an entry that matches, the exact ID first; None if there is none."""
        exact = self._exact.get(spiffe_id)
        if exact is not None:
            return exact
        for match in self._others:
            if covers_peer(match, spiffe_id, sni):
                return match
        return None


@attrs.frozen
class Decision:
    """A verdict and the entry that decided it; DENIED by None: nothing matched, or there is no identity."""

    verdict: Verdict
    match: PeerMatch | None = None

    @property
    def denied_detail(self) -> str:
        """Say which policy denied, as Envoy's response code details do."""
        origin = "" if self.match is None else self.match.origin
        return f"rbac_access_denied_matched_policy[{origin or 'none'}]"


UNDECIDED = Decision(Verdict.DENIED)
_LET_IN_UNPROVEN = Decision(Verdict.ALLOWED)


@attrs.define(eq=False)
class AuthorizationCounts:
    """Requests, and connections of opaque TCP, by what became of them. Envoy's `rbac.{allowed,denied,shadow_denied}`."""

    allowed: int = 0
    denied: int = 0
    shadow_denied: int = 0  # among those allowed

    def add(self, verdict: Verdict) -> None:
        if verdict is Verdict.DENIED:
            self.denied += 1
            return
        self.allowed += 1
        if verdict is Verdict.ALLOWED_SHADOW_DENIED:
            self.shadow_denied += 1


class Authorizer:
    """The permissions of one inbound, prepared; made anew when they change. Whoever acts on a decision counts it."""

    __slots__ = ("_allow", "_deny", "_shadow_deny", "_unproven_allowed", "counts")

    def __init__(
        self, permissions: Permissions, previous: "Authorizer | None" = None, *, unproven_allowed: bool = False
    ) -> None:
        """`previous`: the one that this replaces; its counts go on. `unproven_allowed`: peers without an identity are let in.

        That is what a permissive port is for. Source: Kuma MeshTrafficPermission plugin, which judges TLS connections only.
        """
        self._unproven_allowed = unproven_allowed
        self.counts: AuthorizationCounts = AuthorizationCounts() if previous is None else previous.counts
        self._deny = _MatchSet(permissions.deny)
        self._shadow_deny = _MatchSet(permissions.allow_with_shadow_deny)
        self._allow = _MatchSet(permissions.allow)

    def decide(self, peer: SpiffeId | None, sni: str) -> Decision:
        """Judge a peer by its proven identity and the server name that it asked for."""
        if peer is None:
            # Fail closed: an entry for any identity still asks for one.
            return _LET_IN_UNPROVEN if self._unproven_allowed else UNDECIDED
        spiffe_id = str(peer)
        match = self._deny.find(spiffe_id, sni)
        if match is not None:
            return Decision(Verdict.DENIED, match)
        # Before `allow`: the shadow answers what a deny would do here, and a deny would win.
        match = self._shadow_deny.find(spiffe_id, sni)
        if match is not None:
            return Decision(Verdict.ALLOWED_SHADOW_DENIED, match)
        match = self._allow.find(spiffe_id, sni)
        return Decision(Verdict.DENIED if match is None else Verdict.ALLOWED, match)
