"""How each cluster's connections are protected: by our own identity inside the mesh, by Origination to servers outside.

Owns: the TLS contexts of clusters, made once per set of credentials. Reads certificates that lie on this host (again
at each look, so that they can be renewed in place, and keeps the last good ones meanwhile). What cannot be prepared
leaves its cluster without a context, and so without connections; other clusters do not notice.
"""

from collections.abc import Iterable

import attrs

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


@attrs.define(eq=False)
class _Kept:
    """What was made for a cluster, and what it was made from: what was read, and for servers outside where it stood."""

    security: UpstreamSecurity
    made_from: object
    asked: object = None
    complaint: str = ""  # why it could not be renewed from there since, as the log says


class ClusterSecurity:
    """Makes and keeps `UpstreamSecurity`; the same object comes back while nothing has changed."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._kept: dict[str, _Kept] = {}  # by cluster

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
            parameters=config.tls.parameters,
        )
        kept = self._kept.get(config.name)
        if kept is not None and kept.made_from == wanted:
            return kept.security
        security = UpstreamSecurity(required=True, context=self._env.tls.client(wanted))
        self._kept[config.name] = _Kept(security, wanted)
        return security

    def outside(self, config: Cluster, origination: Origination, hosts: Iterable[str]) -> UpstreamSecurity:
        """Protect calls to servers outside the mesh that the configuration calls `hosts`."""
        # What travels as opaque bytes to us is HTTP/2 to the server, which takes it only when it was agreed on.
        alpn = ("h2",) if config.protocol in _HTTP2 else ()
        names = sorted(set(hosts))
        kept = self._kept.get(origination.cluster)
        try:
            wanted = {host: self._originating(origination, host, alpn) for host in names}
            if kept is not None and kept.made_from == wanted:
                kept.complaint = ""
                return kept.security
            contexts = {host: self._env.tls.originate(config) for host, config in wanted.items()}
        except (IdentityError, ConfigError) as error:
            return self._refusal(origination.cluster, str(error), asked=(origination, names, alpn))
        security = UpstreamSecurity(required=True, context_by_host=contexts)
        self._kept[origination.cluster] = _Kept(security, wanted, asked=(origination, names, alpn))
        return security

    def forget(self, cluster: str) -> None:
        self._kept.pop(cluster, None)

    def _refusal(self, cluster: str, reason: str, *, asked: object) -> UpstreamSecurity:
        """Return what there is while something cannot be read: of what was asked before the last that was good, else nothing.

        Files are renewed one after the other: between them a certificate and its key do not belong together.
        """
        kept = self._kept.get(cluster)
        if kept is None or kept.asked != asked:
            security = UpstreamSecurity(required=True, refusal=reason)
            kept = self._kept[cluster] = _Kept(security, None, asked)
        elif kept.security.refusal and kept.security.refusal != reason:
            kept.security = UpstreamSecurity(required=True, refusal=reason)
        if kept.complaint != reason:
            kept.complaint = reason
            event = "cluster.not_secured" if kept.security.refusal else "cluster.not_renewed"
            self._env.log.error(event, cluster=cluster, reason=reason)
        return kept.security

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
