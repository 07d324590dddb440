"""Authorization: may this peer use this inbound? Pure; decided once per connection, the caller keeps the verdict.

Source: Kuma MeshTrafficPermission `rules[].default.{deny, allowWithShadowDeny, allow}`. No order among the rules:
any deny match denies, else any allow match allows, else denied. `permissions: None` (no identity yet) is the caller's case.
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
            if match.sni and match.sni != sni:
                continue
            if not match.spiffe_id:
                return match
            if match.spiffe_id_kind is MatchKind.EXACT:
                if match.spiffe_id == spiffe_id:
                    return match
            # A prefix of the text, as in Kuma and Envoy: `.../ns/pay` also covers `.../ns/payroll`; end it with a slash.
            elif spiffe_id.startswith(match.spiffe_id):
                return match
        return None


class Authorizer:
    """The permissions of one inbound, prepared; immutable, made anew when they change."""

    __slots__ = ("_allow", "_deny", "_shadow_deny")

    def __init__(self, permissions: Permissions) -> None:
        self._deny = _MatchSet(permissions.deny)
        self._shadow_deny = _MatchSet(permissions.allow_with_shadow_deny)
        self._allow = _MatchSet(permissions.allow)

    def decide(self, peer: SpiffeId | None, sni: str = "") -> Verdict:
        """Judge a peer by its proven identity and the server name that it asked for."""
        return self.explain(peer, sni)[0]

    def explain(self, peer: SpiffeId | None, sni: str = "") -> tuple[Verdict, PeerMatch | None]:
        """Return the verdict and the entry that decided it; DENIED with None: nothing matched, or there is no identity."""
        if peer is None:
            return Verdict.DENIED, None  # Fail closed: an entry for any identity still asks for one.
        spiffe_id = str(peer)
        match = self._deny.find(spiffe_id, sni)
        if match is not None:
            return Verdict.DENIED, match
        # Before `allow`: the shadow answers what a deny would do here, and a deny would win.
        match = self._shadow_deny.find(spiffe_id, sni)
        if match is not None:
            return Verdict.ALLOWED_SHADOW_DENIED, match
        match = self._allow.find(spiffe_id, sni)
        return (Verdict.DENIED, None) if match is None else (Verdict.ALLOWED, match)
