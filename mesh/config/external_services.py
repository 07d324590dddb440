"""External services: destinations outside the mesh, and how TLS to them is begun. Pure.

Secrets and what stands in the resource travel with the configuration; files and variables are the proxy's own, so only
their places do. A Secret that is not there leaves its service unreachable, and says so.
"""

from collections.abc import Iterable, Mapping

import attrs

from mesh.config.services import EXTERNAL, Service, service_labels
from mesh.config.snapshot import Endpoint, Origination, PemSource, Verification
from mesh.model.security import NamePattern, TlsVersion
from mesh.policy.authorization import MatchKind
from mesh.resources.data_source import DataSource, DataSourceKind
from mesh.resources.mesh_external_service import ExternalEndpoint, ExternalTls, MeshExternalService
from mesh.resources.mesh_service import ServicePort
from mesh.resources.resource import Resource
from mesh.resources.secret import Secret

# Source: Envoy's TlsParameters for clients: TLSAuto is TLS 1.2 at least and 1.3 at most.
_AUTO_MIN, _AUTO_MAX = TlsVersion.TLS12, TlsVersion.TLS13
_VERSIONS = tuple(TlsVersion)


def external_service(resource: Resource, secrets: Mapping[str, Resource]) -> Service:
    """Make the service that a MeshExternalService describes; `secrets` are the mesh's, by name."""
    spec = resource.spec_as(MeshExternalService)
    port = ServicePort(port=spec.port, target=spec.port, protocol=spec.protocol)
    return Service(
        kind=EXTERNAL,
        name=resource.name,
        labels=service_labels(resource),
        port_by_number={spec.port: port},
        endpoints_by_port={spec.port: _endpoints(spec.endpoints, https=spec.tls is not None)},
        origination=None if spec.tls is None else _origination(spec.tls, secrets),
        created=resource.created,
    )


def _endpoints(written: Iterable[ExternalEndpoint], *, https: bool) -> tuple[Endpoint, ...]:
    """Return the endpoints by name, each written once."""
    usual_port = 443 if https else 80
    endpoints: dict[str, Endpoint] = {}
    for entry in written:
        address, name = entry.address, str(entry.address)
        hostname = name.removesuffix(f":{usual_port}")  # An IPv6 address keeps its brackets.
        endpoint = Endpoint(name=name, address=address, priority=entry.priority, hostname=hostname)
        endpoints.setdefault(name, endpoint)
    return tuple(endpoints[name] for name in sorted(endpoints))


def _origination(tls: ExternalTls, secrets: Mapping[str, Resource]) -> Origination:
    low, high = _versions(tls)
    return Origination(
        cluster="",
        verification=Verification(tls.mode),
        server_name=tls.server_name,
        subject_names=tuple(
            NamePattern(value=name.value, prefix=name.kind is MatchKind.PREFIX) for name in tls.subject_alt_names
        ),
        roots=_source(tls.ca_cert, secrets),
        certificate=_source(tls.client_cert, secrets),
        private_key=_source(tls.client_key, secrets),
        version_min=low,
        version_max=high,
        renegotiation=tls.allow_renegotiation,
    )


def _versions(tls: ExternalTls) -> tuple[TlsVersion, TlsVersion]:
    """Return the range of versions; what is automatic gives way to what was written."""
    low = None if tls.version_min == "TLSAuto" else TlsVersion(tls.version_min)
    high = None if tls.version_max == "TLSAuto" else TlsVersion(tls.version_max)
    if low is None:
        low = _AUTO_MIN if high is None else min(_AUTO_MIN, high, key=_VERSIONS.index)
    return low, high or _AUTO_MAX


def _source(source: DataSource | None, secrets: Mapping[str, Resource]) -> PemSource | None:
    if source is None:
        return None
    match source.kind:
        case DataSourceKind.FILE:
            return PemSource(path=source.place)
        case DataSourceKind.ENV_VAR:
            return PemSource(variable=source.place)
        case DataSourceKind.INLINE:
            return PemSource(text=source.value)
        case DataSourceKind.SECRET:
            return _secret(source.place, secrets)


def _secret(name: str, secrets: Mapping[str, Resource]) -> PemSource:
    resource = secrets.get(name)
    if resource is None:
        return PemSource(missing=f"there is no Secret '{name}'")
    try:
        return PemSource(text=resource.spec_as(Secret).data.decode("ascii"))
    except UnicodeDecodeError:
        return PemSource(missing=f"Secret '{name}' is not text in PEM")


def cluster_origination(service: Service, cluster: str) -> Origination | None:
    """Return how TLS is begun with an external service's cluster; None: its bytes go out as they are."""
    return None if service.origination is None else attrs.evolve(service.origination, cluster=cluster)
