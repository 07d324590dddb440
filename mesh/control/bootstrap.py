"""What a control plane shows to sidecars and to callers of its API: a certificate of the installation's own authority.

The authority stands in the catalogue, the same for all control planes of an installation; the server certificate is
made anew at each start and before it expires. The authority here vouches for control planes alone: those of the meshes
are `mesh.control.issuing`'s.
"""

import hashlib
from collections.abc import Callable, Sequence

import attrs
import trio

from mesh.control.catalogue import Catalogue
from mesh.control.initial_resources import CONTROL_PLANE_CA, global_secret
from mesh.discovery.control_plane_tls import CONTROL_PLANE_ID
from mesh.identity.authority import Authority, issue_svid
from mesh.identity.certificate import KeyType
from mesh.identity.rotation import renewal_delay_s
from mesh.model.errors import IdentityError
from mesh.model.security import ServerTls, Svid
from mesh.resources.secret import Secret
from mesh.runtime.environment import Environment

SERVER_LIFETIME_S = 90 * 86400.0


@attrs.frozen(kw_only=True, eq=False)
class ControlPlaneSecrets:
    """The authority behind a control plane's certificate. `ca_pem` is no secret: every sidecar gets it."""

    authority: Authority = attrs.field(repr=False)
    server_names: tuple[str, ...]  # DNS names and IP addresses under which sidecars call
    key_type: KeyType

    @property
    def ca_pem(self) -> str:
        return self.authority.root_pem

    @property
    def cluster_id(self) -> str:
        """Return what names the installation, however many control planes it has."""
        digest = hashlib.blake2b(self.ca_pem.encode(), digest_size=16).hexdigest()
        return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))

    def server_tls(self, env: Environment) -> ServerTls:
        """Make a server certificate, valid from now."""
        return ServerTls(svid=self._server_svid(env), require_client_certificate=False)

    def _server_svid(self, env: Environment) -> Svid:
        return issue_svid(
            self.authority,
            CONTROL_PLANE_ID,
            lifetime_s=SERVER_LIFETIME_S,
            now=env.wall_clock(),
            serial_random=env.randomness.stream("control-plane", "server-certificate"),
            names=self.server_names,
            key_type=self.key_type,
        )


def read_secrets(catalogue: Catalogue, server_names: Sequence[str], *, key_type: KeyType) -> ControlPlaneSecrets:
    """Return the secrets in the catalogue.

    Raises: IdentityError when they are damaged: making them anew would lock out every sidecar.
    """
    stored = catalogue.get(global_secret(CONTROL_PLANE_CA))
    if stored is None:
        raise IdentityError(f"there is no GlobalSecret {CONTROL_PLANE_CA}")
    authority = Authority.decode(stored.resource.spec_as(Secret).data.decode())
    return ControlPlaneSecrets(authority=authority, server_names=tuple(server_names), key_type=key_type)


async def keep_server_certificate(
    env: Environment, secrets: ControlPlaneSecrets, use: Callable[[ServerTls], None]
) -> None:
    """Renew the server certificate in time, until cancelled; the first one the caller made just before."""
    random = env.randomness.stream("control-plane", "server-certificate-renewal")
    not_after = env.wall_clock() + SERVER_LIFETIME_S
    while True:
        await trio.sleep(renewal_delay_s(not_after, now=env.wall_clock(), random=random))
        tls = secrets.server_tls(env)
        not_after = tls.svid.not_after
        use(tls)
