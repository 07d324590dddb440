"""Findings about identities and mutual TLS: who gets none, for how long, and where plaintext stays. TM511 to TM518."""

from collections.abc import Iterator

from mesh.config.identities import Identity, Unfit, best_first
from mesh.config.lint.effective import joined
from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.config.lint.samples import IDENTITY, MEMBERS, WEB, backends, policy
from mesh.config.lint.scene import Scene, found
from mesh.model.durations import format_duration as span
from mesh.model.traffic import TlsMode
from mesh.resources.mesh_identity import MeshIdentity
from mesh.resources.resource import Resource

# Source: mesh.control.issuing LEAF_LIFETIME_S_MAX: the authority signs nothing longer.
_LIFETIME_S_MAX = 7 * 86400.0
# A sidecar renews at 63 to 70 % of a certificate's life (mesh.identity.rotation). What remains has to outlast a control plane
# that is being restarted or replaced: ten minutes of it are half an hour of life.
_OUTAGE_S = 600.0
_REMAINS = 0.3
_ALLOW = 'rules: [{default: {allow: [{spiffeID: {type: Prefix, value: "spiffe://default.default.mesh.local/"}}]}}]'
_ALL = IDENTITY + WEB + backends() + MEMBERS


def _identity(name: str, expiry: str) -> str:
    return f"""
type: MeshIdentity
name: {name}
spec:
  selector: {{dataplane: {{matchLabels: {{}}}}}}
  provider: {{type: Bundled, bundled: {{autogenerate: {{enabled: true}}, certificateParameters: {{expiry: {expiry}}}}}}}
---
"""


SHORT_LIFE = Code(
    code="TM511",
    title="Certificates that live too short to be renewed in a bad hour",
    severity=Severity.WARNING,
    why="A certificate is renewed when about 70% of its life is over. If the control plane is away for what "
    "remains, it expires and every connection of the proxy is refused.",
    fix="Write an expiry of at least 34m (ten minutes remain at renewal); 24h is usual.",
    example=_identity("short", "5m"),
    better=_identity("day", "24h"),
)
LONG_LIFE = Code(
    code="TM512",
    title="Certificates that are to live longer than the authority allows",
    severity=Severity.WARNING,
    why="There is no revocation: a stolen key is good until its certificate expires. The authority signs for 7 "
    "days at most, whatever is written.",
    fix="Write an expiry of at most 168h.",
    example=_identity("long", "720h"),
    better=_identity("day", "24h"),
)
CANNOT_HOLD = Code(
    code="TM513",
    title="A proxy that cannot hold the identity that selects it",
    severity=Severity.ERROR,
    why="The SPIFFE ID is made from labels that the Dataplane lacks, most often kuma.io/workload: the proxy gets "
    "no configuration at all, since without its identity it would speak plaintext.",
    fix="Give the Dataplane the label, or exclude it from the MeshIdentity's selector.",
    example=IDENTITY + "{type: Dataplane, name: cron-1, networking: {address: 10.0.0.7}}",
    better=IDENTITY
    + "{type: Dataplane, name: cron-1, labels: {kuma.io/workload: cron}, networking: {address: 10.0.0.7}}",
)
IDENTITY_BY_NAME = Code(
    code="TM514",
    title="Which of two MeshIdentities counts is decided by their names",
    severity=Severity.WARNING,
    why="Both select with the same number of labels: the first in the alphabet is taken. Another name would "
    "change the SPIFFE IDs of running workloads, and with them who may call whom.",
    fix="Give one of them more labels, or remove one.",
    example=_identity("a", "24h") + _identity("b", "12h") + backends(1),
    better=_identity("a", "24h") + backends(1),
)
PERMISSIVE = Code(
    code="TM515",
    title="Plaintext is accepted (Permissive)",
    severity=Severity.WARNING,
    why="Permissive is for moving a service into the mesh: callers without identity are let in, and no permission "
    "is asked of them. Left in place, mutual TLS protects nothing.",
    fix="Write mode: Strict once all callers hold an identity.",
    example=policy("MeshTLS", "t", "{rules: [{default: {mode: Permissive}}]}"),
    better=policy("MeshTLS", "t", "{rules: [{default: {mode: Strict}}]}"),
)
NOT_ENFORCED = Code(
    code="TM516",
    title="Permissions or TLS for proxies without identity",
    severity=Severity.WARNING,
    why="MeshTrafficPermission and MeshTLS act only where the proxy holds an identity: this one speaks plaintext "
    "and lets everybody in, though the policies look as if it did not.",
    fix="Write a MeshIdentity that selects these proxies.",
    example=WEB + backends() + policy("MeshTrafficPermission", "p", f"{{{_ALLOW}}}"),
    better=_ALL,
)
MIXED = Code(
    code="TM517",
    title="A service of which only some instances hold an identity",
    severity=Severity.ERROR,
    why="Callers insist on mutual TLS only where all instances have an identity: to this one they send plaintext, "
    "which the instances with an identity and mode Strict refuse.",
    fix="Make the MeshIdentity select all of the service's Dataplanes, or none while moving (MeshTLS Permissive "
    "in between).",
    example=IDENTITY.replace("matchLabels: {}", "matchLabels: {kuma.io/display-name: backend-1}") + WEB + backends(2),
    better=_ALL,
)
CALLER_WITHOUT = Code(
    code="TM518",
    title="A caller without identity before a callee that demands one",
    severity=Severity.ERROR,
    why="The callee's inbound takes mutual TLS only; the caller has no certificate to show: its connections are reset.",
    fix="Write a MeshIdentity that selects the caller, or MeshTLS mode: Permissive for the callee while moving.",
    example=IDENTITY.replace("matchLabels: {}", "matchLabels: {kuma.io/workload: backend}")
    + WEB
    + backends()
    + MEMBERS,
    better=_ALL,
)
CODES = (SHORT_LIFE, LONG_LIFE, CANNOT_HOLD, IDENTITY_BY_NAME, PERMISSIVE, NOT_ENFORCED, MIXED, CALLER_WITHOUT)


def check(scene: Scene) -> Iterator[Finding]:
    """Look at the identities, and at who meets whom with which."""
    for resource in scene.of_kind("MeshIdentity"):
        yield from _lifetime(resource)
    yield from _ties(scene)
    yield from _unfit(scene)
    yield from _modes(scene)
    yield from _meetings(scene)


def _lifetime(resource: Resource) -> Iterator[Finding]:
    lifetime_s = resource.spec_as(MeshIdentity).certificate_lifetime_s
    place = Place(resource, ("spec", "provider", "bundled", "certificateParameters", "expiry"))
    if lifetime_s * _REMAINS < _OUTAGE_S:
        remains = span(float(round(lifetime_s * _REMAINS)))
        message = (
            f"of {span(lifetime_s)} about {remains} remain when it is renewed: no control plane may be away longer"
        )
        yield from found(SHORT_LIFE, message, place)
    elif lifetime_s > _LIFETIME_S_MAX:
        message = f"{span(lifetime_s)} is cut to {span(_LIFETIME_S_MAX)}"
        yield from found(LONG_LIFE, message, place)


def _ties(scene: Scene) -> Iterator[Finding]:
    identities = best_first(scene.of_kind("MeshIdentity"))
    if len(identities) < 2:
        return
    for state in scene.index.view.dataplanes.values():
        selecting = [each for each in identities if _selects(each, state.resource)]
        if len(selecting) > 1 and _labels(selecting[0]) == _labels(selecting[1]):
            first, second = selecting[:2]
            message = f"'{first.display_name}' counts, for its name comes first"
            yield from found(IDENTITY_BY_NAME, message, Place(second), Place(first), affects=(state.resource.name,))


def _selects(identity: Resource, dataplane: Resource) -> bool:
    labels = identity.spec_as(MeshIdentity).match_labels
    return labels is not None and dataplane.matches_labels(labels)


def _labels(identity: Resource) -> int:
    return len(identity.spec_as(MeshIdentity).match_labels or ())


def _unfit(scene: Scene) -> Iterator[Finding]:
    for name, identity in scene.index.identity_by_name.items():
        if isinstance(identity, Unfit):
            place = Place(scene.index.view.dataplanes[name].resource, ("labels",))
            yield from found(CANNOT_HOLD, identity.reason, place)


def _modes(scene: Scene) -> Iterator[Finding]:
    for reception in scene.receptions:
        tls = reception.of("MeshTLS")
        if tls.get("mode") == TlsMode.PERMISSIVE.value and (reception.supposed or scene.is_secured(reception)):
            message = "callers without identity are let in, in plaintext"
            yield from found(PERMISSIVE, message, tls.place("mode"), affects=reception.affects)
        if reception.supposed or scene.is_secured(reception):
            continue
        for kind in ("MeshTrafficPermission", "MeshTLS"):
            for entry in reception.entries.get(kind, ()):
                message = f"{kind} is not enforced at proxies without identity"
                yield from found(NOT_ENFORCED, message, Place(entry.policy), affects=reception.affects)


def _meetings(scene: Scene) -> Iterator[Finding]:
    """Compare the two ends of each link: who shows a certificate, and who demands one."""
    with_identity = {
        state.workload or name
        for name, state in scene.index.view.dataplanes.items()
        if isinstance(scene.index.identity_by_name[name], Identity)
    }
    for link in scene.links:
        strict = [each for each in scene.receptions_of(link) if scene.is_secured(each) and scene.is_strict(each)]
        if not strict:
            continue
        place = scene.dataplane_place(next(iter(strict[0].proxies)))
        if not scene.is_fully_secured(link):
            holding = [name for each in strict for name in each.proxies if scene.holds_identity(name)]
            message = f"{joined(holding)} demand mutual TLS, callers send plaintext to {link.target}"
            yield from found(MIXED, message, place, affects=link.affects)
            continue
        for caller in link.callers:
            if caller not in with_identity:
                message = f"{caller} has no identity, {link.target} demands one"
                yield from found(
                    CALLER_WITHOUT, message, scene.caller_place(caller), place, affects=(f"{caller} -> {link.target}",)
                )
