"""From MeshTLS's and MeshPassthrough's merged settings to what connections must be, and where they may go."""

from mesh.config import defaults
from mesh.model.security import TlsParameters, TlsVersion
from mesh.model.traffic import TlsMode
from mesh.policy.passthrough import DestinationKind, Passthrough, PassthroughMatch, PassthroughMode, PassthroughProtocol
from mesh.resources.policy import Conf

_AUTO = "TLSAuto"


def tls_mode(conf: Conf) -> TlsMode:
    """Translate MeshTLS's settings."""
    return TlsMode(conf.get("mode", defaults.TLS_MODE.value))


def tls_parameters(conf: Conf) -> TlsParameters:
    """Translate MeshTLS's versions and ciphers: what was not said, or left to us, is TLS 1.3.

    Nothing older than TLS 1.2 is spoken. Where policies together ask for more than they allow, safety wins.
    """
    written = conf.get("tlsVersion", {})
    highest = _version(written.get("max", _AUTO))
    lowest = _version(written["min"]) if written.get("min", _AUTO) != _AUTO else highest
    if lowest is TlsVersion.TLS13:
        return TlsParameters()
    return TlsParameters(version_min=lowest, version_max=highest, ciphers=tuple(conf.get("tlsCiphers", ())))


def _version(text: str) -> TlsVersion:
    return TlsVersion.TLS13 if text in (_AUTO, TlsVersion.TLS13.value) else TlsVersion.TLS12


def passthrough(conf: Conf) -> Passthrough:
    """Translate MeshPassthrough's settings, where there is such a policy: without one everything passes."""
    matches = [
        PassthroughMatch(
            kind=DestinationKind(match["type"]),
            value=match["value"],
            port=match.get("port", 0),
            protocol=PassthroughProtocol(match.get("protocol", "tcp")),
        )
        for match in conf.get("appendMatch", ())
    ]
    mode = PassthroughMode(conf.get("passthroughMode", PassthroughMode.MATCHED.value))
    return Passthrough(mode=mode, matches=tuple(dict.fromkeys(matches)))
