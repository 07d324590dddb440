"""What an installation begins with: its keys, the mesh `default`, hostnames, and a token for its administrator.

Made in one transaction; several control planes that start at once agree on who was first. Keys that older versions kept
as files are taken over, so that nobody who holds a token or trusts a certificate is locked out.
"""

from collections.abc import Sequence

import attrs

from mesh.control.access import ADMIN
from mesh.control.catalogue import Catalogue, MakeSigningKey, Origin, make_signing_key
from mesh.control.initial_resources import (
    ADMIN_TOKEN,
    BY,
    CONTROL_PLANE_CA,
    global_secret,
    initial_hostnames,
    mesh_of_name,
    secret,
)
from mesh.control.store.values import Conflict, Put
from mesh.discovery.control_plane_tls import CONTROL_PLANE_TRUST_DOMAIN
from mesh.identity.authority import Authority
from mesh.identity.certificate import KeyType
from mesh.identity.token_authority import TokenKind, signing_key_secret
from mesh.identity.tokens import LIFETIME_S_MAX, SigningKey, issue_user_token
from mesh.resources.resource import DEFAULT_MESH, Resource
from mesh.runtime.environment import Environment

# Where control planes before the store kept their keys.
OLD_FOLDER = "control-plane/secrets"
OLD_AUTHORITY = f"{OLD_FOLDER}/authority.pem"
OLD_TOKEN_KEY = f"{OLD_FOLDER}/dataplane-token-1.pem"
TRIES_MAX = 5


@attrs.frozen(kw_only=True)
class FirstStart:
    """What is made the first time."""

    env: Environment
    catalogue: Catalogue
    key_type: KeyType
    new_signing_key: MakeSigningKey = make_signing_key

    async def run(self) -> None:
        """Make what is missing. Raises: IdentityError when an old key is damaged; ConfigError, StoreError, OSError."""
        if self.catalogue.revision == 0:
            await self._take_old_token_key()
        for _ in range(TRIES_MAX):
            changes = await self._missing()
            if not changes:
                return
            try:
                await self.catalogue.write(changes, by=BY, reason="first start", origin=Origin.CONTROL_PLANE)
            except Conflict:
                continue  # Another control plane was first; what it made is read by now.
            self.env.log.info("installation.prepared", resources=len(changes))
            return

    async def _take_old_token_key(self) -> None:
        """Give the meshes of this start the key that signed the tokens of all meshes before each had its own."""
        pem = await self._old_file(OLD_TOKEN_KEY)
        if pem is not None:
            key = SigningKey.decode(1, pem)

            async def take_over(serial: int) -> SigningKey:
                return key

            self.catalogue.new_mesh_key = take_over
            self.env.log.info("installation.key_taken_over", file=OLD_TOKEN_KEY)

    async def _missing(self) -> Sequence[Put]:
        resources: list[Resource] = []
        if self.catalogue.get(global_secret(CONTROL_PLANE_CA)) is None:
            resources.append(secret(global_secret(CONTROL_PLANE_CA), await self._authority()))
        resources += await self._missing_keys()
        if self.catalogue.revision == 0:
            resources += [*initial_hostnames(), mesh_of_name(DEFAULT_MESH)]
        return [Put(resource=resource, expected_version=self._version(resource)) for resource in resources]

    def _version(self, resource: Resource) -> int:
        present = self.catalogue.get(resource.key)
        return present.version if present is not None else 0

    async def _missing_keys(self) -> list[Resource]:
        names = {stored.resource.name for stored in self.catalogue.list("GlobalSecret")}
        made: list[Resource] = []
        for kind in (TokenKind.USER, TokenKind.ZONE):
            if not any(name.startswith(f"{kind.value}-signing-key-") for name in names):
                key = await self.new_signing_key(1)
                made.append(secret(signing_key_secret(kind, 1), key.encode().encode()))
                if kind is TokenKind.USER:  # A token of before was signed with a key that is gone.
                    made.append(secret(global_secret(ADMIN_TOKEN), self._admin_token(key).encode()))
        return made

    def _admin_token(self, key: SigningKey) -> str:
        return issue_user_token(
            key,
            name=ADMIN,
            groups=(ADMIN,),
            lifetime_s=LIFETIME_S_MAX,
            now=self.env.wall_clock(),
            random=self.env.randomness.stream("control-plane", "admin-token"),
        )

    async def _authority(self) -> bytes:
        old = await self._old_file(OLD_AUTHORITY)
        if old is not None:
            Authority.decode(old.decode())
            self.env.log.info("installation.key_taken_over", file=OLD_AUTHORITY)
            return old
        authority = Authority.create(
            CONTROL_PLANE_TRUST_DOMAIN,
            now=self.env.wall_clock(),
            serial_random=self.env.randomness.stream("control-plane", "serial-numbers"),
            key_type=self.key_type,
        )
        return authority.encode().encode()

    async def _old_file(self, path: str) -> bytes | None:
        try:
            return await self.env.disk.read(path)
        except FileNotFoundError:
            return None
