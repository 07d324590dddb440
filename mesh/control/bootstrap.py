"""What a control plane has before the first sidecar comes: its certificate authority, server certificate and signing key.

Made once and kept durably; the server certificate is made anew before it expires. The authority here vouches for the
control plane alone: those of the meshes are `mesh.control.issuing`'s.
"""

from collections.abc import Callable, Sequence

import attrs
import trio

from mesh.discovery.control_plane_tls import CONTROL_PLANE_ID, CONTROL_PLANE_TRUST_DOMAIN
from mesh.identity.authority import Authority, issue_svid
from mesh.identity.certificate import KeyType
from mesh.identity.rotation import renewal_delay_s
from mesh.identity.tokens import SigningKey, TokenVerifier
from mesh.model.security import ServerTls, Svid
from mesh.runtime.durable import write_durably
from mesh.runtime.environment import Environment

FOLDER = "control-plane/secrets"
TOKEN_KEY_FILE = "dataplane-token-1.pem"
SERVER_LIFETIME_S = 90 * 86400.0


@attrs.frozen(kw_only=True, eq=False)
class ControlPlaneSecrets:
    """The secrets of one control plane. `ca_pem` is none: every sidecar gets it."""

    authority: Authority = attrs.field(repr=False)
    server_names: tuple[str, ...]  # DNS names and IP addresses under which sidecars call
    key_type: KeyType
    token_key: SigningKey = attrs.field(repr=False)

    @property
    def ca_pem(self) -> str:
        return self.authority.root_pem

    @property
    def token_verifier(self) -> TokenVerifier:
        return TokenVerifier({str(self.token_key.serial): self.token_key.public_key})

    def server_tls(self, env: Environment) -> ServerTls:
        """Make a server certificate, valid from now."""
        return _server_tls(self._server_svid(env))

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


async def load_or_create_secrets(
    env: Environment, server_names: Sequence[str], *, key_type: KeyType = KeyType.ECDSA_P256, folder: str = FOLDER
) -> ControlPlaneSecrets:
    """Return the secrets on disk, making what is missing.

    Raises: IdentityError when one is damaged: making it anew would lock out every sidecar. OSError.
    """
    authority_pem = await _load_or_create(env, f"{folder}/authority.pem", lambda: _new_authority(env, key_type))
    token_key_pem = await _load_or_create(env, f"{folder}/{TOKEN_KEY_FILE}", lambda: SigningKey.create(1).encode())
    return ControlPlaneSecrets(
        authority=Authority.decode(authority_pem),
        server_names=tuple(server_names),
        key_type=key_type,
        token_key=SigningKey.decode(1, token_key_pem),
    )


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


def _server_tls(svid: Svid) -> ServerTls:
    return ServerTls(svid=svid, require_client_certificate=False)


def _new_authority(env: Environment, key_type: KeyType) -> str:
    authority = Authority.create(
        CONTROL_PLANE_TRUST_DOMAIN,
        now=env.wall_clock(),
        serial_random=env.randomness.stream("control-plane", "serial-numbers"),
        key_type=key_type,
    )
    return authority.encode()


async def _load_or_create(env: Environment, path: str, create: Callable[[], str]) -> str:
    try:
        return (await env.disk.read(path)).decode()
    except FileNotFoundError:
        pem = create()
        await write_durably(env.disk, path, pem.encode())
        return pem
