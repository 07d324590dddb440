"""Names of things: addresses, proxies, SPIFFE IDs. Values only; nothing here resolves or connects."""

import re

import attrs

from mesh.model.errors import ConfigError, Violation

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}\Z")
_PATH_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,255}\Z")


@attrs.frozen(order=True)
class Address:
    """Where a stream socket connects or listens: an IP address or a name, and a port (1 to 65535; 0 lets a listener choose)."""

    host: str
    port: int = attrs.field(validator=[attrs.validators.ge(0), attrs.validators.le(65535)])

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen(order=True)
class ProxyId:
    """One sidecar: the name of its Dataplane resource within a mesh."""

    mesh: str
    name: str

    def __str__(self) -> str:
        return f"{self.mesh}/{self.name}"


@attrs.frozen(order=True)
class SpiffeId:
    """A workload's identity. Source: SPIFFE-ID section 2: `spiffe://trust-domain/path`, at most 2048 bytes."""

    trust_domain: str
    path: str

    @classmethod
    def parse(cls, uri: str) -> "SpiffeId":
        """Read a SPIFFE URI. Raises: ConfigError when it is not one."""
        scheme, separator, rest = uri.partition("://")
        trust_domain, slash, path = rest.partition("/")
        segments = path.split("/")
        valid = (
            separator
            and scheme == "spiffe"
            and len(uri) <= 2048
            and _TRUST_DOMAIN.match(trust_domain)
            and (not slash or all(_PATH_SEGMENT.match(s) and s not in (".", "..") for s in segments))
        )
        if not valid:
            raise ConfigError([Violation(message=f"{uri!r} is not a SPIFFE ID; write spiffe://trust-domain/path")])
        return cls(trust_domain, f"/{path}" if slash else "")

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"
