"""How each cluster's connections are protected: by our own identity inside the mesh, by Origination to servers outside.

Owns: the TLS contexts of clusters, made once per set of credentials. Reads certificates that lie on this host (again
at each look, so that they can be renewed in place). What cannot be prepared leaves its cluster without a context, and
so without connections; other clusters do not notice.
"""

from collections.abc import Iterable

from mesh.config.snapshot import Cluster, Origination, PemSource, Verification
from mesh.model.errors import ConfigError, IdentityError
from mesh.model.names import SpiffeId
from mesh.model.security import ClientTls, NamePattern, OriginationTls, Svid, TrustBundle
from mesh.model.traffic import Protocol
from mesh.proxy.name_resolution import is_name
from mesh.proxy.upstream_pool import PLAINTEXT, UpstreamSecurity
from mesh.runtime.environment import Environment

NO_CERTIFICATE = UpstreamSecurity(required=True, refusal="this proxy has no certificate yet")
_HTTP2 = (Protocol.HTTP2, Protocol.GRPC)
_NAMED = (Verification.SECURED, Verification.SKIP_CA)  # names are checked
_ROOTED = (Verification.SECURED, Verification.SKIP_SAN)  # the chain is checked


class SourceUnreadable(IdentityError):
    """The operator's: a certificate or key that a policy names cannot be read. Its cluster is not called."""


class ClusterSecurity:
    """Makes and keeps `UpstreamSecurity`; the same object comes back while nothing has changed."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._kept: dict[str, tuple[object, UpstreamSecurity]] = {}  # by cluster: what it was made from, and it

    def inside(self, config: Cluster, svid: Svid | None, trust: tuple[TrustBundle, ...]) -> UpstreamSecurity:
        """Protect calls to a service of the mesh. Raises: IdentityError."""
        if config.tls is None:
            return PLAINTEXT
        if svid is None:
            return NO_CERTIFICATE
        wanted = ClientTls(
            svid=svid,
            trust=trust,
            expected_peers=tuple(SpiffeId.parse(peer) for peer in config.tls.expected_peers),
            sni=config.tls.sni,
        )
        kept = self._kept.get(config.name)
        if kept is not None and kept[0] == wanted:
            return kept[1]
        security = UpstreamSecurity(required=True, context=self._env.tls.client(wanted))
        self._kept[config.name] = (wanted, security)
        return security

    def outside(self, config: Cluster, origination: Origination, hosts: Iterable[str]) -> UpstreamSecurity:
        """Protect calls to servers outside the mesh that the configuration calls `hosts`."""
        # What travels as opaque bytes to us is HTTP/2 to the server, which takes it only when it was agreed on.
        alpn = ("h2",) if config.protocol in _HTTP2 else ()
        try:
            wanted = {host: self._originating(origination, host, alpn) for host in sorted(set(hosts))}
        except SourceUnreadable as error:
            return self._refusal(origination.cluster, str(error))
        kept = self._kept.get(origination.cluster)
        if kept is not None and kept[0] == wanted:
            return kept[1]
        try:
            contexts = {host: self._env.tls.originate(config) for host, config in wanted.items()}
        except (IdentityError, ConfigError) as error:
            return self._refusal(origination.cluster, str(error))
        security = UpstreamSecurity(required=True, context_by_host=contexts)
        self._kept[origination.cluster] = (wanted, security)
        return security

    def forget(self, cluster: str) -> None:
        self._kept.pop(cluster, None)

    def _refusal(self, cluster: str, reason: str) -> UpstreamSecurity:
        kept = self._kept.get(cluster)
        if kept is not None and kept[0] == reason:
            return kept[1]
        self._env.log.error("cluster.not_secured", cluster=cluster, reason=reason)
        security = UpstreamSecurity(required=True, refusal=reason)
        self._kept[cluster] = (reason, security)
        return security

    def _originating(self, origination: Origination, host: str, alpn: tuple[str, ...]) -> OriginationTls:
        """Raises: SourceUnreadable."""
        name = origination.server_name or host
        mode = origination.verification
        names = origination.subject_names or (NamePattern(value=name),)
        return OriginationTls(
            verify_chain=mode in _ROOTED,
            roots_pem=self._read(origination.roots, "the CA") if mode in _ROOTED else "",
            names=names if mode in _NAMED else (),
            sni=name if is_name(name) else "",
            certificate_pem=self._read(origination.certificate, "the client certificate"),
            private_key_pem=self._read(origination.private_key, "the client key"),
            version_min=origination.version_min,
            version_max=origination.version_max,
            renegotiation=origination.renegotiation,
            alpn=alpn,
        )

    def _read(self, source: PemSource | None, what: str) -> str:
        """Return the text of a source, "" where there is none. Raises: SourceUnreadable, never quoting what was read."""
        if source is None:
            return ""
        if source.missing:
            raise SourceUnreadable(f"{what}: {source.missing}")
        text = source.text or self._read_here(source, what)
        if "-----BEGIN " not in text:
            raise SourceUnreadable(f"{what} is not in PEM")
        return text

    def _read_here(self, source: PemSource, what: str) -> str:
        place = self._env.host_files
        if place is None:
            raise SourceUnreadable(f"{what} lies on the proxy's host, which has no files here")
        if source.variable:
            text = place.variable(source.variable)
            if text is None:
                raise SourceUnreadable(f"{what}: there is no environment variable {source.variable}")
            return text
        try:
            return place.read(source.path).decode("ascii", "replace")
        except OSError as error:
            raise SourceUnreadable(f"{what}: cannot read {source.path}: {error.strerror}") from error


def lies_here(origination: Origination) -> bool:
    """Does it name files or variables of the proxy's host, which may change without the configuration?"""
    sources = (origination.roots, origination.certificate, origination.private_key)
    return any(source is not None and (source.path or source.variable) for source in sources)
