"""Issuer: the certificate authorities of the trust domains that this installation serves.

Owns: which roots sign and are trusted, kept as Secrets of their mesh before they sign. Emits: `on_change` when a bundle or
signer changes. A trust domain gets its root when it is first needed; a root that ages is followed by another, with
overlap. Control planes that share a store share the roots: whoever writes first is followed by the others.
Does not decide who may have which identity: callers did.
"""

from collections.abc import Callable

import attrs
import trio

from mesh.control.catalogue import Catalogue, Origin
from mesh.control.initial_resources import BY, MESH_CA, mesh_ca, secret
from mesh.control.store.values import Conflict, Key, Put
from mesh.discovery.wake_up import WakeUp
from mesh.identity.authority import ROOT_LIFETIME_S, Authority
from mesh.identity.authority_ring import PROPAGATION_S, AuthorityRing
from mesh.identity.certificate import KeyType
from mesh.model.errors import ConfigError, IdentityError, StoreError
from mesh.model.names import SpiffeId
from mesh.model.randomness import Random
from mesh.model.security import TrustBundle
from mesh.resources.secret import Secret
from mesh.runtime.environment import Environment

LEAF_LIFETIME_S_MAX = 7 * 86400.0
CHECK_S_MAX = 3600.0  # Wall clocks jump; one long sleep would not notice.
# Where control planes before the store kept their authorities; the prefix kept ".." from being a path.
OLD_FILE = "control-plane/authorities/roots-of-{trust_domain}.json"

Domain = tuple[str, str]  # mesh, trust domain


@attrs.frozen(kw_only=True)
class IssuerSettings:
    """How certificates are made; spans in seconds."""

    key_type: KeyType = KeyType.ECDSA_P256
    root_lifetime_s: float = ROOT_LIFETIME_S
    leaf_lifetime_s_max: float = LEAF_LIFETIME_S_MAX
    propagation_s: float = PROPAGATION_S
    # Raises IdentityError while the keys cannot be used: where they lie in a device or with a signer elsewhere that is away.
    check_signer: Callable[[SpiffeId], None] = lambda spiffe_id: None


@attrs.define(eq=False)
class Issuer:
    """All authorities, as this control plane knows them."""

    env: Environment
    settings: IssuerSettings
    catalogue: Catalogue
    on_change: Callable[[str], None]  # with the mesh
    _rings: dict[Domain, AuthorityRing] = attrs.field(factory=dict, init=False)
    _one_creation: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _changed: WakeUp = attrs.field(factory=WakeUp, init=False)

    def load(self) -> None:
        """Take up the authorities in the catalogue.

        Raises: IdentityError when one is damaged: a new one would cut off its mesh.
        """
        for stored in self.catalogue.list("Secret"):
            if stored.resource.name.startswith(MESH_CA):
                self._read(stored.resource.key)
        self.catalogue.on_change(self._take_up)

    def serves(self, mesh: str, trust_domain: str) -> bool:
        """Is there the authority of a mesh's trust domain?"""
        return (mesh, trust_domain) in self._rings

    async def ensure(self, mesh: str, trust_domain: str) -> None:
        """Make the authority of a mesh's trust domain if there is none. Raises: IdentityError when it cannot be kept."""
        async with self._one_creation:
            if (mesh, trust_domain) in self._rings:
                return
            ring = await self._old_ring(trust_domain) or self._new_ring(trust_domain)
            try:
                await self._save(mesh, ring, expected_version=0)
            except Conflict as error:
                if (mesh, trust_domain) in self._rings:
                    return  # Another control plane was first; its authority was taken up when the catalogue heard of it.
                raise IdentityError(f"the authority of {trust_domain} cannot be read yet: {error}") from error
            except (StoreError, ConfigError) as error:
                raise IdentityError(f"the authority of {trust_domain} cannot be kept: {error}") from error
        self.env.log.info("authority.created", mesh=mesh, trust_domain=trust_domain)

    def trust_bundles(self, mesh: str) -> tuple[TrustBundle, ...]:
        """Return what to trust in a mesh now, sorted by trust domain."""
        now = self.env.wall_clock()
        return tuple(self._rings[domain].trust_bundle(now) for domain in sorted(self._rings) if domain[0] == mesh)

    def sign(self, mesh: str, csr_pem: str, spiffe_id: SpiffeId, lifetime_s: float) -> str:
        """Return a chain in PEM; the trust domain's authority is there already. Raises: IdentityError."""
        self.settings.check_signer(spiffe_id)
        ring = self._rings.get((mesh, spiffe_id.trust_domain))
        if ring is None:
            raise IdentityError(f"the authority of {spiffe_id.trust_domain} was deleted a moment ago")
        return ring.sign(
            csr_pem,
            spiffe_id=spiffe_id,
            lifetime_s=lifetime_s,
            now=self.env.wall_clock(),
            serial_random=self._serial_random(),
        )

    async def run(self) -> None:
        """Let roots follow one another until cancelled."""
        while True:
            now = self.env.wall_clock()
            for (mesh, _), ring in sorted(self._rings.items(), key=_domain):
                await self._rotate(mesh, ring, now)
            changes = [ring.next_change(now) for ring in self._rings.values()]
            wait_s = min([CHECK_S_MAX, *(change - now for change in changes if change is not None)])
            with trio.move_on_after(max(wait_s, 0.0)) as scope:
                await self._changed.wait()
            if scope.cancelled_caught and wait_s < CHECK_S_MAX:
                for mesh in dict.fromkeys(mesh for mesh, _ in sorted(self._rings)):
                    self.on_change(mesh)

    async def _rotate(self, mesh: str, ring: AuthorityRing, now: float) -> None:
        stored = self.catalogue.get(mesh_ca(mesh, ring.trust_domain))
        if stored is None:
            return
        # A copy: what is not kept is not shown to anybody, and the next check starts from what another may have written.
        following = attrs.evolve(ring)
        following.prune(now)
        if following.successor_due(now):
            root = self._new_root(ring.trust_domain, now)
            following.introduce(root, now=now, propagation_s=self.settings.propagation_s)
        if following.entries == ring.entries:
            return
        try:
            await self._save(mesh, following, expected_version=stored.version)
        except (Conflict, StoreError, ConfigError) as error:
            self.env.log.warning("authority.not_kept", trust_domain=ring.trust_domain, reason=str(error))
            return
        self.env.log.info("authority.rotated", mesh=mesh, trust_domain=ring.trust_domain, roots=len(following.entries))

    async def replace_root(
        self, mesh: str, trust_domain: str, *, overlap: bool = True, propagation_s: float | None = None
    ) -> None:
        """Let another root follow at once, as an operator who suspects the present one wants.

        With overlap the new root is trusted now and signs after `propagation_s`, and the old one stays trusted as long as its
        certificates live; without, the old one and all that it signed are worth nothing from now on.
        Raises: IdentityError (no such authority), ConfigError (a new root is on its way already), Conflict, StoreError.
        """
        stored, ring = self.catalogue.get(mesh_ca(mesh, trust_domain)), self._rings.get((mesh, trust_domain))
        if stored is None or ring is None:
            raise IdentityError(f"there is no authority of {trust_domain}")
        if overlap:
            now = self.env.wall_clock()
            spread_s = self.settings.propagation_s if propagation_s is None else propagation_s
            following = attrs.evolve(ring)
            following.introduce(self._new_root(trust_domain, now), now=now, propagation_s=spread_s)
        else:
            following = self._new_ring(trust_domain)
        await self._save(mesh, following, expected_version=stored.version)
        self.env.log.warning("authority.replaced", mesh=mesh, trust_domain=trust_domain, overlap=overlap)

    async def _save(self, mesh: str, ring: AuthorityRing, *, expected_version: int) -> None:
        resource = secret(mesh_ca(mesh, ring.trust_domain), ring.encode().encode())
        change = Put(resource=resource, expected_version=expected_version)
        await self.catalogue.write([change], by=BY, reason="certificate authority", origin=Origin.CONTROL_PLANE)

    def _take_up(self, keys: tuple[Key, ...]) -> None:
        """Go by what the catalogue holds now."""
        for key in keys:
            kind, mesh, name = key
            if kind != "Secret" or not name.startswith(MESH_CA):
                continue
            known = (mesh, name.removeprefix(MESH_CA)) in self._rings
            try:
                self._read(key)
            except IdentityError as error:
                self.env.log.error("authority.damaged", mesh=mesh, secret=name, reason=str(error))
                continue
            self._changed.set()
            if known:  # Otherwise whoever needs it is making it right now, or will ask.
                self.on_change(mesh)

    def _read(self, key: Key) -> None:
        _, mesh, name = key
        stored = self.catalogue.get(key)
        if stored is None:
            self._rings.pop((mesh, name.removeprefix(MESH_CA)), None)
            return
        ring = AuthorityRing.decode(stored.resource.spec_as(Secret).data.decode())
        self._rings[(mesh, ring.trust_domain)] = ring

    async def _old_ring(self, trust_domain: str) -> AuthorityRing | None:
        """Return the authority that an older version kept as a file: certificates that it signed are still in use."""
        try:
            data = await self.env.disk.read(OLD_FILE.format(trust_domain=trust_domain))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IdentityError(f"the authority of {trust_domain} cannot be read: {error}") from error
        ring = AuthorityRing.decode(data.decode())
        return ring if ring.trust_domain == trust_domain else None

    def _new_ring(self, trust_domain: str) -> AuthorityRing:
        now = self.env.wall_clock()
        root = self._new_root(trust_domain, now)
        return AuthorityRing.start(root, leaf_lifetime_s_max=self.settings.leaf_lifetime_s_max, now=now)

    def _new_root(self, trust_domain: str, now: float) -> Authority:
        return Authority.create(
            trust_domain,
            now=now,
            serial_random=self._serial_random(),
            key_type=self.settings.key_type,
            lifetime_s=self.settings.root_lifetime_s,
        )

    def _serial_random(self) -> Random:
        return self.env.randomness.stream("control-plane", "serial-numbers")


def _domain(item: tuple[Domain, AuthorityRing]) -> Domain:
    return item[0]
