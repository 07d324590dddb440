"""Snapshot: the whole configuration of one proxy, as the control plane tells it and the proxy applies it.

A snapshot is a set of named parts; a delta replaces and removes parts. It is applied whole or not at all.
Values only, encoded as JSON by msgspec (`encode_part`, `decode_part`); what builds one stands in `mesh.config.builder`.
"""

import hashlib
from collections.abc import Mapping

import attrs
import msgspec

from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.authorization import Permissions
from mesh.policy.circuit_breaking import CircuitBreakingLimits
from mesh.policy.load_balancing import LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.retry import RetryPolicy
from mesh.policy.timeout import Timeouts


@attrs.frozen(kw_only=True)
class Endpoint:
    """One instance of a service: the inbound address of its sidecar (or of an external host)."""

    name: str  # the Dataplane's name
    address: Address
    zone: str = ""
    weight: int = 1
    healthy: bool = True


@attrs.frozen(kw_only=True)
class UpstreamTls:
    """Mutual TLS to a cluster: whom to expect. Own certificate and trust come from the proxy's identity."""

    expected_peers: tuple[str, ...]  # SPIFFE IDs
    sni: str = ""


@attrs.frozen(kw_only=True)
class Cluster:
    """A service as a caller sees it, without its endpoints: how to choose, limit and protect."""

    name: str
    protocol: Protocol = Protocol.TCP
    tls: UpstreamTls | None = None
    load_balancing: LoadBalancing = LoadBalancing()
    circuit_breaking: CircuitBreakingLimits = CircuitBreakingLimits()
    outlier_detection: OutlierDetection | None = None
    timeouts: Timeouts = Timeouts()


@attrs.frozen(kw_only=True)
class ClusterEndpoints:
    """The endpoints of one cluster, sorted by name. Apart from Cluster: they change far more often."""

    cluster: str
    endpoints: tuple[Endpoint, ...] = ()


@attrs.frozen(kw_only=True)
class Route:
    """Where a request goes and under which policies. Routes of a listener are tried in order."""

    name: str
    cluster: str
    path_prefix: str = "/"
    retry: RetryPolicy = RetryPolicy()
    timeouts: Timeouts = Timeouts()


@attrs.frozen(kw_only=True)
class OutboundListener:
    """A port on which the local application reaches one service. TCP uses the first route's cluster."""

    name: str
    address: Address
    protocol: Protocol = Protocol.TCP
    routes: tuple[Route, ...]
    retry_connects_max: int = 0  # MeshRetry tcp.maxConnectAttempt - 1


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
    circuit_breaking: CircuitBreakingLimits = CircuitBreakingLimits()


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


Part = ProxyPart | IdentityPart | TrustPart | Cluster | ClusterEndpoints | OutboundListener | InboundListener

# The order of kinds is the order of application: trust, then clusters and endpoints, then listeners (make before break).
PART_TYPE_BY_KIND: Mapping[str, type[Part]] = {
    "proxy": ProxyPart,
    "trust": TrustPart,
    "identity": IdentityPart,
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
        case ClusterEndpoints():
            return f"{kind}/{part.cluster}"
        case Cluster() | OutboundListener() | InboundListener():
            return f"{kind}/{part.name}"
        case _:
            return kind


def encode_part(part: Part) -> bytes:
    """Write one part as JSON, the same bytes for equal parts."""
    return msgspec.json.encode(part, order="sorted")


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
