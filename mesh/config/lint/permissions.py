"""Findings about MeshTrafficPermission: calls that are denied, and everybody allowed. TM501 to TM507."""

from collections.abc import Iterator

from mesh.config.identities import Identity
from mesh.config.inbound_rules import covers
from mesh.config.lint.effective import joined
from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.config.lint.samples import IDENTITY, MEMBERS, WEB, backends, policy
from mesh.config.lint.scene import Link, Reception, Scene, found
from mesh.config.merging import permissions
from mesh.config.outbounds import server_name
from mesh.model.errors import ConfigError
from mesh.model.names import SpiffeId
from mesh.policy.authorization import Authorizer, MatchKind, PeerMatch, Permissions, Verdict
from mesh.resources.mesh_trust import MeshTrust
from mesh.resources.policy import Policy
from mesh.resources.resource import Resource

KIND = "MeshTrafficPermission"
_LISTS = ("deny", "allowWithShadowDeny", "allow")
_WEB_ID = "spiffe://default.default.mesh.local/workload/web"


def _peer(value: str, kind: str = "Exact") -> str:
    return f'{{spiffeID: {{type: {kind}, value: "{value}"}}}}'


def _rule(**peers: str) -> str:
    """Write a permission: lists of peers by the names of the lists."""
    lists = ", ".join(f"{name}: [{listed}]" for name, listed in peers.items())
    return policy(KIND, "p", f"{{rules: [{{default: {{{lists}}}}}]}}")


def _allow(value: str, kind: str = "Prefix") -> str:
    return _rule(allow=_peer(value, kind))


ANYBODY = Code(
    code="TM501",
    title="Everybody is allowed",
    severity=Severity.WARNING,
    why="The prefix covers identities of every trust domain, those of other organisations among them that are "
    "trusted one day.",
    fix="Name the workloads that call, each by its SPIFFE ID, or at least the trust domain and a path.",
    example=_allow("spiffe://"),
    better=_allow(_WEB_ID, "Exact"),
)
WHOLE_MESH = Code(
    code="TM502",
    title="A whole trust domain is allowed",
    severity=Severity.INFO,
    why="Every workload of it may call: one that is taken over reaches everything. It is a good beginning, and no "
    "least privilege.",
    fix="Write a MeshTrafficPermission per service that names its callers.",
    example=_allow("spiffe://default.default.mesh.local/"),
    better=_allow(_WEB_ID, "Exact"),
)
OPEN_PREFIX = Code(
    code="TM503",
    title="A prefix that covers another workload too",
    severity=Severity.WARNING,
    why="A prefix is compared as text: .../workload/web also covers .../workload/web-admin.",
    fix="Use type: Exact, or end the prefix with a slash.",
    example=IDENTITY
    + WEB
    + WEB.replace("web-1", "admin-1").replace("workload: web", "workload: web-admin")
    + backends(1)
    + _allow(_WEB_ID),
    better=IDENTITY
    + WEB
    + WEB.replace("web-1", "admin-1").replace("workload: web", "workload: web-admin")
    + backends(1)
    + _rule(allow=f"{_peer(_WEB_ID)}, {_peer(_WEB_ID + '-admin')}"),
)
UNKNOWN_ID = Code(
    code="TM504",
    title="A SPIFFE ID that no workload has",
    severity=Severity.WARNING,
    why="No Dataplane gets this identity from any MeshIdentity, and its trust domain is not that of a MeshTrust: "
    "the entry matches nobody. Often the zone or the word 'workload' is missing.",
    fix="Copy the ID from `mesh inspect dataplane`, or correct the trust domain and the path.",
    example=IDENTITY + WEB + backends() + MEMBERS + _allow("spiffe://default/web", "Exact"),
    better=IDENTITY + WEB + backends() + MEMBERS,
)
DENIED = Code(
    code="TM505",
    title="A call that will be denied",
    severity=Severity.ERROR,
    why="The caller is set up to make it, and the callee's permissions do not let its identity in. Once proxies "
    "hold identities, whoever is not allowed is denied.",
    fix="Allow the caller's SPIFFE ID in a MeshTrafficPermission for the callee, or remove the outbound.",
    example=IDENTITY + WEB + backends(),
    better=IDENTITY + WEB + backends() + MEMBERS,
)
ALLOW_SHADOWED = Code(
    code="TM506",
    title="A deny that makes an allow void",
    severity=Severity.WARNING,
    why="Denials win, in whatever policy and order they stand: everybody whom the allow means is denied.",
    fix="Narrow the deny, or remove the allow.",
    example=_rule(deny=_peer("spiffe://default.", "Prefix"), allow=_peer(_WEB_ID)),
    better=_rule(deny=_peer("spiffe://other.", "Prefix"), allow=_peer(_WEB_ID)),
)
SHADOW_DENY = Code(
    code="TM507",
    title="allowWithShadowDeny lets everybody through whom it means",
    severity=Severity.INFO,
    why="It is a rehearsal: requests pass and are counted as if denied. Left in place it is an allow.",
    fix="When the counts are zero, write deny (or nothing) in its place.",
    example=_rule(allowWithShadowDeny=_peer(_WEB_ID)),
    better=_allow(_WEB_ID, "Exact"),
)
CODES = (ANYBODY, WHOLE_MESH, OPEN_PREFIX, UNKNOWN_ID, DENIED, ALLOW_SHADOWED, SHADOW_DENY)


def check(scene: Scene) -> Iterator[Finding]:
    """Look at every entry, and at every call that proxies are set up to make."""
    held = _identities(scene)
    for resource in scene.of_kind(KIND):
        yield from _entries(resource, scene, held)
    for reception in scene.receptions:
        yield from _void(reception)
    yield from _denied(scene)


def _identities(scene: Scene) -> list[str]:
    identities = scene.index.identity_by_name.values()
    return sorted({identity.spiffe_id for identity in identities if isinstance(identity, Identity)})


def _entries(resource: Resource, scene: Scene, held: list[str]) -> Iterator[Finding]:
    trusted = {trust.spec_as(MeshTrust).trust_domain for trust in scene.of_kind("MeshTrust")}
    for number, rule in enumerate(resource.spec_as(Policy).rules):
        for name in _LISTS:
            for index, match in enumerate(rule.default.get(name, ())):
                place = Place(resource, ("spec", "rules", number, "default", name, index))
                if name != "deny":
                    yield from _too_wide(match, place, held)
                if held and match.spiffe_id:
                    yield from _unknown(match, place, held, trusted)
        shadow = rule.default.get("allowWithShadowDeny", ())
        if shadow:
            message = f"{len(shadow)} {'entry lets' if len(shadow) == 1 else 'entries let'} callers through, counted as denied"
            yield from found(
                SHADOW_DENY, message, Place(resource, ("spec", "rules", number, "default", "allowWithShadowDeny"))
            )


def _too_wide(match: PeerMatch, place: Place, held: list[str]) -> Iterator[Finding]:
    value = match.spiffe_id
    if match.spiffe_id_kind is not MatchKind.PREFIX or not value:
        return
    covered = [spiffe_id for spiffe_id in held if spiffe_id.startswith(value)]
    domain, slash, path = value.removeprefix("spiffe://").partition("/")
    if not domain:
        yield from found(ANYBODY, f"the prefix {value} covers every identity there is", place)
    elif not path:
        whom = f"all {len(covered)} known workloads" if covered and len(covered) == len(held) else "every workload"
        ends = "" if slash else ", and every trust domain that begins like it"
        yield from found(WHOLE_MESH, f"the prefix {value} covers {whom} of the trust domain{ends}", place)
    elif not path.endswith("/") and value in covered and len(covered) > 1:
        others = [spiffe_id for spiffe_id in covered if spiffe_id != value]
        yield from found(OPEN_PREFIX, f"the prefix {value} covers {joined(others)} too", place)


def _unknown(match: PeerMatch, place: Place, held: list[str], trusted: set[str]) -> Iterator[Finding]:
    value = match.spiffe_id
    if match.spiffe_id_kind is MatchKind.PREFIX:
        known = any(spiffe_id.startswith(value) for spiffe_id in held)
        known = known or any(f"spiffe://{domain}/".startswith(value) for domain in trusted)
    else:
        known = value in held
    domain = value.removeprefix("spiffe://").partition("/")[0]
    if not known and domain not in trusted:
        near = [spiffe_id for spiffe_id in held if spiffe_id.rpartition("/")[2] == value.rstrip("/").rpartition("/")[2]]
        hint = f"; {joined(near)} would be known" if near else f"; known are {joined(held)}"
        yield from found(UNKNOWN_ID, f"nobody has {value}{hint}", place)


def _void(reception: Reception) -> Iterator[Finding]:
    """Find allows at one inbound whose callers are all denied there."""
    entries = reception.entries.get(KIND, ())
    denials = [
        (deny, Place(entry.policy, ("spec", "rules", entry.index, "default", "deny", index)))
        for entry in entries
        for index, deny in enumerate(entry.default.get("deny", ()))
    ]
    for entry in entries if denials else ():
        for name in ("allow", "allowWithShadowDeny"):
            for index, match in enumerate(entry.default.get(name, ())):
                wider = next((place for deny, place in denials if covers(deny, match)), None)
                if wider is not None:
                    place = Place(entry.policy, ("spec", "rules", entry.index, "default", name, index))
                    who = match.spiffe_id or match.sni
                    yield from found(
                        ALLOW_SHADOWED, f"{who} is denied whatever is allowed", place, wider, affects=reception.affects
                    )


def _denied(scene: Scene) -> Iterator[Finding]:
    """Decide each call as the callee's sidecar will."""
    authorizers: dict[int, Authorizer] = {}
    peers = _PeersByCaller(scene)
    for link in scene.links:
        for reception in scene.receptions_of(link) if link.callers else ():
            if not scene.is_secured(reception):
                continue
            if id(reception) not in authorizers:
                authorizers[id(reception)] = Authorizer(_permissions(reception))
            authorizer = authorizers[id(reception)]
            sni = server_name(link.name, link.destination.port, scene.mesh, link.destination.kind)
            for caller in link.callers:
                for peer in peers.of(caller):
                    decision = authorizer.decide(peer, sni)
                    if decision.verdict is Verdict.DENIED:
                        yield from _denial(scene, link, reception, caller, peer, decision.match)


def _denial(
    scene: Scene, link: Link, reception: Reception, caller: str, peer: SpiffeId, match: PeerMatch | None
) -> Iterator[Finding]:
    entries = reception.entries.get(KIND, ())
    if match is not None:
        places = [
            Place(entry.policy, ("spec", "rules", entry.index, "default", "deny", index))
            for entry in entries
            for index, deny in enumerate(entry.default.get("deny", ()))
            if deny == match
        ]
        message = f"{peer} is denied at {reception.name or link.name}: it matches {match.spiffe_id or match.sni}"
    elif entries:
        places = [Place(entry.policy, ("spec", "rules", entry.index)) for entry in entries]
        message = f"{peer} is not allowed at {reception.name or link.name} by any of {len(entries)} rules"
    else:
        places = [Place(scene.index.view.dataplanes[name].resource) for name in list(reception.proxies)[:1]]
        message = f"no MeshTrafficPermission selects {reception.name or link.name}: everybody is denied"
    fix = f"Allow spiffeID: {{type: Exact, value: {peer}}} at {reception.name or link.name}." if match is None else ""
    affects = (f"{caller} -> {link.target}",)
    yield from found(DENIED, message, places[0], *places[1:3], affects=affects, fix=fix)


def _permissions(reception: Reception) -> Permissions:
    entries = reception.entries.get(KIND, ())
    return permissions(("", entry.default) for entry in entries)


class _PeersByCaller:
    """The identities of the proxies of each caller."""

    def __init__(self, scene: Scene) -> None:
        self._found: dict[str, dict[str, SpiffeId]] = {}
        for name, state in scene.index.view.dataplanes.items():
            identity = scene.index.identity_by_name[name]
            if isinstance(identity, Identity):
                try:
                    peer = SpiffeId.parse(identity.spiffe_id)
                except ConfigError:
                    continue
                self._found.setdefault(state.workload or name, {})[identity.spiffe_id] = peer

    def of(self, caller: str) -> list[SpiffeId]:
        return list(self._found.get(caller, {}).values())
