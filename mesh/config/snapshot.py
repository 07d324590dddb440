"""Snapshot: the whole configuration of one proxy, as the control plane tells it and the proxy applies it.

A snapshot is a set of named parts; a delta replaces and removes parts. It is applied whole or not at all.
Values only, encoded as JSON by msgspec (`encode_part`, `decode_part`); what builds one stands in `mesh.config.builder`.
"""

import enum
import hashlib
from collections.abc import Mapping

import attrs
import msgspec

from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.model.security import NamePattern, TlsParameters, TlsVersion
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.authorization import Permissions
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.fault_injection import Fault
from mesh.policy.health_check import HealthCheck
from mesh.policy.load_balancing import LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.passthrough import Passthrough
from mesh.policy.rate_limit import CallerRateLimit, Rate
from mesh.policy.request_hash import HashPolicy
from mesh.policy.retry import RetryPolicy
from mesh.policy.routing import HeaderChanges, Redirect, Rewrite, RouteMatch
from mesh.policy.timeout import CallerTimeouts, Timeouts


@attrs.frozen(kw_only=True)
class Endpoint:
    """One instance of a service: the inbound address of its sidecar, or an external host.

    Where the address has a name, the proxy resolves it. Endpoints of a larger `priority` are used only while those of
    the smaller ones are all unusable.
    """

    name: str  # the Dataplane's name; of an external host its address
    address: Address
    zone: str = ""
    weight: int = 1
    healthy: bool = True
    priority: int = 0
    # Endpoints of a priority with a weight for their locality share its traffic by those weights; without: one locality.
    locality: str = ""
    locality_weight: int = 0
    tags: tuple[tuple[str, str], ...] = ()  # labels that a retry's host selection asks for
    hostname: str = ""  # what requests call it in their Host; empty: what the client called it


@attrs.frozen(kw_only=True)
class UpstreamTls:
    """A cluster is reached by TLS or not at all, mutual TLS with one of `expected_peers` (SPIFFE IDs).

    Own certificate and trust come from the proxy's identity. A cluster outside the mesh has no expected peers: what its
    servers are to prove stands in its Origination.
    """

    expected_peers: tuple[str, ...] = ()
    sni: str = ""
    parameters: TlsParameters = TlsParameters()


class Verification(enum.Enum):
    """What a server outside the mesh is to prove. Source: Kuma MeshExternalService `tls.verification.mode`."""

    SECURED = "Secured"
    SKIP_SAN = "SkipSAN"
    SKIP_CA = "SkipCA"
    SKIP_ALL = "SkipAll"


@attrs.frozen(kw_only=True)
class PemSource:
    """Certificates or a key: the text itself, or where it lies on the proxy's own host.

    `missing` says why the control plane could not find it; then nothing may be sent.
    """

    text: str = attrs.field(default="", repr=False)
    path: str = ""
    variable: str = ""
    missing: str = ""


@attrs.frozen(kw_only=True)
class Origination:
    """How a cluster outside the mesh is reached by TLS: without our identity, by the names of its servers.

    Apart from Cluster, so that secrets stand in parts of one kind: `redacted` is how these are shown.
    """

    cluster: str
    verification: Verification = Verification.SECURED
    server_name: str = ""  # empty: each endpoint's own host
    subject_names: tuple[NamePattern, ...] = ()  # empty: the server name
    roots: PemSource | None = None  # None: the system's
    certificate: PemSource | None = None
    private_key: PemSource | None = None
    version_min: TlsVersion = TlsVersion.TLS12
    version_max: TlsVersion = TlsVersion.TLS13
    renegotiation: bool = False


@attrs.frozen(kw_only=True)
class Cluster:
    """A service as a caller sees it, without its endpoints: how to choose, limit and protect."""

    name: str
    protocol: Protocol = Protocol.TCP
    tls: UpstreamTls | None = None
    load_balancing: LoadBalancing = LoadBalancing()
    circuit_breaking: CircuitBreakingLimits = CircuitBreakingLimits()
    outlier_detection: OutlierDetection | None = None
    health_checks: tuple[HealthCheck, ...] = ()
    timeouts: Timeouts = Timeouts()


@attrs.frozen(kw_only=True)
class ClusterEndpoints:
    """The endpoints of one cluster, sorted by name. Apart from Cluster: they change far more often."""

    cluster: str
    endpoints: tuple[Endpoint, ...] = ()


@attrs.frozen(kw_only=True)
class Backend:
    """A cluster's share of a route. Without a name, what the route meant is not there: its share is answered with 500."""

    cluster: str = ""
    weight: int = 1


@attrs.frozen(kw_only=True)
class Mirror:
    """A cluster that gets a copy of some requests, and whose answers nobody sees."""

    cluster: str
    percent: float = 100.0


@attrs.frozen(kw_only=True)
class Route:
    """Which requests, where they go, and under which policies. Routes of a listener are tried in order: the first counts.

    Without backends and without a redirect its requests are answered with 500. Of the changes of headers the removals
    come first, then what is set and added, in order.
    """

    name: str
    match: RouteMatch = RouteMatch()
    backends: tuple[Backend, ...] = ()
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    request_headers: tuple[HeaderChanges, ...] = ()
    response_headers: tuple[HeaderChanges, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    hash_policies: tuple[HashPolicy, ...] = ()
    retry: RetryPolicy = RetryPolicy()
    timeouts: Timeouts = Timeouts()


@attrs.frozen(kw_only=True)
class OutboundListener:
    """A port on which the local application reaches one service. TCP uses the first route's backends.

    `hostnames` are the names that the mesh gives the service; whatever Host a client sends is accepted, for it may
    reach the port by another name of its own.
    """

    name: str
    address: Address
    protocol: Protocol = Protocol.TCP
    routes: tuple[Route, ...]
    retry_connects_max: int = 0  # MeshRetry tcp.maxConnectAttempt - 1
    hostnames: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class InboundListener:
    """A port on which others reach the local application."""

    name: str
    address: Address
    application: Address
    protocol: Protocol = Protocol.TCP
    service: str = ""
    tls_mode: TlsMode = TlsMode.STRICT
    permissions: Permissions | None = Permissions()  # None: not enforced, since the proxy has no identity
    timeouts: Timeouts = Timeouts(request_s=0.0, idle_s=7200.0, stream_idle_s=3600.0)
    caller_timeouts: tuple[CallerTimeouts, ...] = ()  # the first that matches a caller counts for its requests
    circuit_breaking: CircuitBreakingLimits = CircuitBreakingLimits()
    rate_limits: tuple[CallerRateLimit, ...] = ()  # the first that matches a caller counts
    connection_rate: Rate | None = None
    faults: tuple[Fault, ...] = ()  # each that matches a caller acts
    tls_parameters: TlsParameters = TlsParameters()


@attrs.frozen(kw_only=True)
class TrustPart:
    """Root certificates (PEM) by trust domain that the proxy accepts."""

    trust_domain: str
    roots_pem: tuple[str, ...]


@attrs.frozen(kw_only=True)
class IdentityPart:
    """The identity that the proxy is to hold; it asks the control plane's authority to sign its key."""

    spiffe_id: str
    certificate_lifetime_s: float


@attrs.frozen(kw_only=True)
class ProxyPart:
    """What concerns the proxy as a whole."""

    mesh: str
    name: str
    zone: str = ""
    workload: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@attrs.frozen(kw_only=True)
class PassthroughPart:
    """Which destinations outside the mesh the application may reach. It acts once the proxy intercepts traffic."""

    passthrough: Passthrough


Part = (
    ProxyPart
    | PassthroughPart
    | IdentityPart
    | TrustPart
    | Origination
    | Cluster
    | ClusterEndpoints
    | OutboundListener
    | InboundListener
)

# The order of kinds is the order of application: trust, then clusters and endpoints, then listeners (make before break).
PART_TYPE_BY_KIND: Mapping[str, type[Part]] = {
    "proxy": ProxyPart,
    "passthrough": PassthroughPart,
    "trust": TrustPart,
    "identity": IdentityPart,
    "origination": Origination,
    "cluster": Cluster,
    "endpoints": ClusterEndpoints,
    "inbound": InboundListener,
    "outbound": OutboundListener,
}
_KIND_BY_TYPE = {part_type: kind for kind, part_type in PART_TYPE_BY_KIND.items()}


def part_key(part: Part) -> str:
    """Return the name of a part within its snapshot: `kind/name`."""
    kind = _KIND_BY_TYPE[type(part)]
    match part:
        case TrustPart():
            return f"{kind}/{part.trust_domain}"
        case ClusterEndpoints() | Origination():
            return f"{kind}/{part.cluster}"
        case Cluster() | OutboundListener() | InboundListener():
            return f"{kind}/{part.name}"
        case _:
            return kind


def encode_part(part: Part) -> bytes:
    """Write one part as JSON, the same bytes for equal parts.

    So a number that need not be whole is a float in every part, whatever was written: `20` is another text than `20.0`, and the
    version of what was decoded would be another than that of what was sent.
    """
    return msgspec.json.encode(part, order="sorted")


def redacted(part: Part) -> Part:
    """Return a part as it may be shown and logged: without certificates and keys that came from secrets."""
    if not isinstance(part, Origination):
        return part
    sources = {name: getattr(part, name) for name in ("roots", "certificate", "private_key")}
    shown = {name: attrs.evolve(source, text="(hidden)") for name, source in sources.items() if source and source.text}
    return attrs.evolve(part, **shown)


def decode_part(key: str, data: bytes) -> Part:
    """Read one part. Raises: ConfigError naming the part and the place in it."""
    part_type = PART_TYPE_BY_KIND.get(key.partition("/")[0])
    if part_type is None:
        raise ConfigError([Violation(path=key, message="unknown kind of configuration part")])
    try:
        return msgspec.json.decode(data, type=part_type)
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        raise ConfigError([Violation(path=key, message=str(error))]) from error


@attrs.frozen
class Snapshot:
    """All parts of one proxy's configuration: `{key: part}`, see `part_key`."""

    parts: Mapping[str, Part]

    @classmethod
    def of(cls, *parts: Part) -> "Snapshot":
        return cls({part_key(part): part for part in parts})

    def of_kind(self, kind: str) -> tuple[Part, ...]:
        """Return the parts of one kind, sorted by name."""
        return tuple(self.parts[key] for key in sorted(self.parts) if key.partition("/")[0] == kind)

    def version(self) -> str:
        """Return a digest of the content: equal snapshots have equal versions, on any machine."""
        digest = hashlib.blake2b(digest_size=8)
        for key in sorted(self.parts):
            data = encode_part(self.parts[key])
            digest.update(f"{key}\0{len(data)}\0".encode())
            digest.update(data)
        return digest.hexdigest()
