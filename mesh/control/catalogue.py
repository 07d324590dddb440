"""Catalogue: all resources of the installation, in memory, and the only way to change them.

Owns: what is in force here. Accepts: changes, checked across resources and written in one transaction; what other control
planes wrote (`refresh`). Emits: the keys that changed, to its listeners, after they are durable. Reading never waits.
"""

import enum
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

import attrs
import trio

from mesh.control.catalogue_checks import Standing, check_changes
from mesh.control.initial_resources import is_internal_secret, secret
from mesh.control.store.store import Store
from mesh.control.store.values import Conflict, Delete, Forgotten, Key, Outcome, Put, Stored
from mesh.control.write_plan import Change, WritePlan, managed_by_files, plan_write, released, same
from mesh.identity.tokens import SigningKey
from mesh.model.errors import ConfigError, OutcomeUnknown, StoreError, Violation
from mesh.resources.registry import KIND_BY_NAME
from mesh.resources.resource import Resource

QUEUE_S_MAX = 10.0  # How long a write waits for those before it.
TRIES_MAX = 5  # of a write that others get in the way of
Listener = Callable[[tuple[Key, ...]], None]
MakeSigningKey = Callable[[int], Awaitable[SigningKey]]  # of a serial
# What is in no proxy's configuration, or comes to it another way.
_NOT_CONFIGURATION = ("GlobalSecret", "Zone")


async def make_signing_key(serial: int) -> SigningKey:
    """Make a key at once; takes some 100 ms, in which nothing else happens here."""
    return SigningKey.create(serial)


class Origin(enum.Enum):
    """On whose behalf a write happens; it decides what may be changed."""

    OPERATOR = "operator"  # the API
    FILES = "files"
    CONTROL_PLANE = "control-plane"


@attrs.define(eq=False)
class Catalogue:
    """See the module's text. `live_dataplanes(mesh)` names the Dataplanes that keep a mesh from being deleted."""

    store: Store
    new_mesh_key: MakeSigningKey = make_signing_key
    live_dataplanes: Callable[[str], Collection[str]] = lambda mesh: ()
    revision: int = attrs.field(default=0, init=False)
    _stored: dict[Key, Stored] = attrs.field(factory=dict, init=False)
    _listeners: list[Listener] = attrs.field(factory=list, init=False)
    _of_mesh: dict[str, tuple[Resource, ...]] = attrs.field(factory=dict, init=False)
    _one_at_a_time: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def load(self) -> None:
        """Read everything; comes first. Raises: StoreError, ConfigError."""
        stored, self.revision = await self.store.load()
        self._stored = {item.resource.key: item for item in stored}

    def on_change(self, listener: Listener) -> None:
        """Tell `listener` of every change from now on; it must not wait."""
        self._listeners.append(listener)

    def get(self, key: Key) -> Stored | None:
        return self._stored.get(key)

    def list(self, kind: str, mesh: str | None = None) -> tuple[Stored, ...]:
        """Return the resources of one kind, of one mesh or of all, sorted by mesh and name."""
        keys = sorted(key for key in self._stored if key[0] == kind and mesh in (None, key[1]))
        return tuple(self._stored[key] for key in keys)

    def resources(self) -> tuple[Resource, ...]:
        """Return all resources, sorted by kind, mesh and name."""
        return tuple(self._stored[key].resource for key in sorted(self._stored))

    def meshes(self) -> tuple[str, ...]:
        """Return the names of the meshes, sorted."""
        return tuple(sorted(name for kind, _, name in self._stored if kind == "Mesh"))

    def of_mesh(self, mesh: str) -> tuple[Resource, ...]:
        """Return what proxies of a mesh are configured by, sorted; the same object until something in it changes."""
        known = self._of_mesh.get(mesh)
        if known is None:
            keys = sorted(key for key in self._stored if self._configures(key, mesh))
            known = self._of_mesh[mesh] = tuple(self._stored[key].resource for key in keys)
        return known

    def meshes_changed_by(self, keys: Iterable[Key]) -> tuple[str, ...]:
        """Return the meshes in which proxies may be configured otherwise after these keys changed."""
        keys = tuple(keys)
        concerned = {mesh for mesh in self.meshes() for key in keys if self._configures(key, mesh)}
        concerned |= {name for kind, _, name in keys if kind == "Mesh"}
        return tuple(sorted(concerned))

    def check(self, changes: Sequence[Change], *, origin: Origin = Origin.OPERATOR) -> tuple[Violation, ...]:
        """Say what keeps these changes from being made together; empty when nothing does."""
        return self._violations(self._with_owners(changes, origin), origin)

    def _violations(self, changes: Sequence[Change], origin: Origin) -> tuple[Violation, ...]:
        standing = Standing(
            stored=self._stored, dataplanes={mesh: tuple(self.live_dataplanes(mesh)) for mesh in _deleted(changes)}
        )
        by_operator, from_files = origin is Origin.OPERATOR, origin is Origin.FILES
        return tuple(check_changes(changes, standing, by_operator=by_operator, from_files=from_files))

    async def write(
        self, changes: Sequence[Change], *, by: str, reason: str = "", origin: Origin = Origin.OPERATOR
    ) -> Outcome:
        """Make the changes, all or none, durable on return. What is the same already is not written.

        `stored` of the outcome has one entry for each of `changes`. Raises: ConfigError, Conflict, StoreError.
        """
        for _ in range(TRIES_MAX - 1):
            try:
                return await self._try_to_write(changes, by=by, reason=reason, origin=origin)
            except Conflict as conflict:
                if any(change.key == conflict.key and change.expected_version is not None for change in changes):
                    raise  # The caller's own belief was wrong; otherwise it was our plan's, and we know better now.
        return await self._try_to_write(changes, by=by, reason=reason, origin=origin)

    async def _try_to_write(self, changes: Sequence[Change], *, by: str, reason: str, origin: Origin) -> Outcome:
        await self._take_turn()
        try:
            changes = self._with_owners(changes, origin)
            violations = self._violations(changes, origin)
            if violations:
                raise ConfigError(violations)
            plan = plan_write(changes, self._stored, makes_meshes=origin is Origin.FILES)
            plan = await self._with_keys(plan)
            if not plan.changes:
                return Outcome(revision=self.revision, stored=tuple(self.get(change.key) for change in changes))
            try:
                outcome = await self.store.write(plan.changes, by=by, reason=reason)
            except (Conflict, OutcomeUnknown):
                # Somebody else was first, or the last word was lost: what is in force has to be read again.
                await self._try_to_catch_up()
                raise
            self._take_over(plan.changes, outcome)
            if outcome.revision != self.revision:
                await self._try_to_catch_up()
            places = zip(changes, plan.places, strict=True)
            return attrs.evolve(
                outcome,
                stored=tuple(
                    self.get(change.key) if place is None else outcome.stored[place] for change, place in places
                ),
            )
        finally:
            self._one_at_a_time.release()

    async def _take_turn(self) -> None:
        """Wait for the writes before ours, within a limit: each may wait long for a store that is away. Raises: StoreError."""
        with trio.move_on_after(QUEUE_S_MAX) as waiting:
            await self._one_at_a_time.acquire()
        if waiting.cancelled_caught:
            raise StoreError(f"earlier writes have waited for the store for {QUEUE_S_MAX:g} s; nothing was written")

    async def refresh(self) -> None:
        """Take over what others wrote. Raises: StoreError."""
        async with self._one_at_a_time:
            await self._catch_up()

    def after(self, changes: Sequence[Change]) -> dict[str, tuple[Resource, ...]]:
        """Return what proxies would be configured by after an operator's write, by the meshes concerned; like `of_mesh`."""
        plan = plan_write(self._with_owners(changes, Origin.OPERATOR), self._stored)
        resources = {key: stored.resource for key, stored in self._stored.items()}
        for change in plan.changes:
            if isinstance(change, Put):
                resources[change.key] = change.resource
            else:
                resources.pop(change.key, None)
        return {
            mesh: tuple(resources[key] for key in sorted(resources) if self._configures(key, mesh))
            for mesh in self.meshes_changed_by(change.key for change in plan.changes)
        }

    def _with_owners(self, changes: Sequence[Change], origin: Origin) -> Sequence[Change]:
        return [_owned(change, origin, self.get(change.key)) for change in changes]

    async def _try_to_catch_up(self) -> None:
        """What was written is written, whether it can be read now or only with the next `refresh`."""
        try:
            await self._catch_up()
        except StoreError:
            pass

    async def _catch_up(self) -> None:
        try:
            changes, self.revision = await self.store.since(self.revision)
        except Forgotten:
            await self._load_again()
            return
        changed: dict[Key, None] = {}
        for change in changes:
            present = self._stored.get(change.key)
            if change.stored is None:
                if self._stored.pop(change.key, None) is not None:
                    changed[change.key] = None
            elif present is None or present.version != change.stored.version:
                self._stored[change.key] = change.stored
                changed[change.key] = None
        self._tell(tuple(changed))

    async def _load_again(self) -> None:
        before = self._stored
        await self.load()
        changed = [key for key in {**before, **self._stored} if _version(before, key) != _version(self._stored, key)]
        self._tell(tuple(changed))

    def _take_over(self, changes: Sequence[Change], outcome: Outcome) -> None:
        for change, stored in zip(changes, outcome.stored, strict=True):
            if isinstance(change, Delete) or stored is None:
                self._stored.pop(change.key, None)
            else:
                self._stored[change.key] = stored
        if outcome.revision == self.revision + 1:
            self.revision = outcome.revision
        self._tell(tuple(change.key for change in changes))

    def _tell(self, keys: tuple[Key, ...]) -> None:
        if not keys:
            return
        for mesh in list(self._of_mesh):
            if any(self._configures(key, mesh) for key in keys):
                del self._of_mesh[mesh]
        for listener in self._listeners:
            listener(keys)

    async def _with_keys(self, plan: WritePlan) -> WritePlan:
        """Put keys where the plan only says that there are to be some."""
        changes: list[Change] = []
        for change in plan.changes:
            if isinstance(change, Put) and change.key in plan.keys_to_make:
                key = await self.new_mesh_key(1)
                change = attrs.evolve(change, resource=secret(change.key, key.encode().encode()))
            changes.append(change)
        return attrs.evolve(plan, changes=tuple(changes))

    @staticmethod
    def _configures(key: Key, mesh: str) -> bool:
        kind, of_mesh, name = key
        if kind in _NOT_CONFIGURATION or (kind == "Secret" and is_internal_secret(name)):
            return False
        if kind == "Mesh":
            return name == mesh
        return of_mesh == mesh if KIND_BY_NAME[kind].mesh_scoped else True


def _owned(change: Change, origin: Origin, present: Stored | None) -> Change:
    """Say in a resource's labels where it comes from, whatever it says itself."""
    if isinstance(change, Delete) or origin is Origin.CONTROL_PLANE:
        return change
    from_files = managed_by_files(change.resource)
    if origin is Origin.FILES or (present is not None and same(from_files, present.resource)):
        return attrs.evolve(change, resource=from_files)
    return attrs.evolve(change, resource=released(change.resource))


def _version(stored: Mapping[Key, Stored], key: Key) -> int:
    return stored[key].version if key in stored else 0


def _deleted(changes: Sequence[Change]) -> tuple[str, ...]:
    keys = [change.key for change in changes if isinstance(change, Delete)]
    return tuple(name for kind, _, name in keys if kind == "Mesh")
