"""A scene: control planes and sidecars over memory streams, in virtual time, for a test to play with."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from memory_store import KEY, SharedDatabase, open_store, same_key
from memory_world import MemoryWorld
from trio.testing import MockClock

from mesh.config.snapshot import ClusterEndpoints, IdentityPart, Snapshot
from mesh.control.control_plane import ControlPlane, ControlPlaneSettings
from mesh.control.status import ProxyStatus
from mesh.discovery.client import ControlPlaneClient, ControlPlaneClientSettings
from mesh.discovery.control_plane_endpoint import ControlPlaneEndpoint
from mesh.identity.certificate import KeyType
from mesh.identity.tokens import issue_dataplane_token
from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.model.security import Svid
from mesh.resources.loading import load_resources
from mesh.resources.resource import Resource

CONTROL_PLANE = Address("10.0.0.1", 5678)
MESH = "{type: Mesh, name: retail}"
IDENTITY = """
{type: MeshIdentity, name: all, mesh: retail, spec: {selector: {dataplane: {matchLabels: {}}}, provider:
  {type: Bundled, bundled: {autogenerate: {enabled: true}, certificateParameters: {expiry: 1h}}}}}
"""
TIMEOUT = """
{type: MeshTimeout, name: all, mesh: retail, spec: {to: [{targetRef: {kind: Mesh}, default: {http:
  {requestTimeout: 7s}}}]}}
"""


def resources(*texts: str) -> tuple[Resource, ...]:
    return tuple(load_resources({f"{number}.yaml": text for number, text in enumerate(texts)}))


def dataplane(name: str, number: int, *, calls: str = "") -> dict[str, Any]:
    networking: dict[str, Any] = {
        "address": f"10.0.1.{number}",
        "inbound": [{"port": 8080, "servicePort": 9090, "name": "http", "protocol": "http"}],
    }
    if calls:
        networking["outbound"] = [{"port": 10001, "backendRef": {"kind": "MeshService", "name": calls, "port": 8080}}]
    workload = name.rpartition("-")[0]
    return {
        "type": "Dataplane",
        "mesh": "retail",
        "name": name,
        "labels": {"kuma.io/workload": workload},
        "networking": networking,
    }


@attrs.define(eq=False)
class Target:
    """A sidecar's stand-in: it remembers what it was told, and refuses what the test makes it refuse."""

    applied: list[Snapshot] = attrs.field(factory=list)
    identities: list[Svid] = attrs.field(factory=list)
    refuses: Callable[[Snapshot], bool] = lambda snapshot: False

    def apply(self, snapshot: Snapshot) -> None:
        part = snapshot.parts.get("identity")
        if isinstance(part, IdentityPart):
            assert self.identities and str(self.identities[-1].spiffe_id) == part.spiffe_id, "no certificate first"
        if self.refuses(snapshot):
            raise ConfigError([Violation(message="this test refuses it")])
        self.applied.append(snapshot)

    def use_identity(self, svid: Svid) -> None:
        self.identities.append(svid)

    def endpoints(self, cluster: str) -> dict[str, bool]:
        part = self.applied[-1].parts[f"endpoints/{cluster}"]
        assert isinstance(part, ClusterEndpoints)
        return {endpoint.name: endpoint.healthy for endpoint in part.endpoints}


@attrs.define(eq=False)
class Scene:
    """The test's hand on the world."""

    nursery: trio.Nursery
    world: MemoryWorld = attrs.field(factory=MemoryWorld)
    database: SharedDatabase = attrs.field(factory=SharedDatabase)
    control_plane: ControlPlane | None = None  # the one that was started last
    _scopes: dict[Address, trio.CancelScope] = attrs.field(factory=dict)

    async def start_control_plane(
        self,
        *written: Resource,
        host: str = "control-plane",
        address: Address = CONTROL_PLANE,
        shared: bool = False,
        **others: Any,
    ) -> ControlPlane:
        """Start one; `others` are settings besides ours."""
        settings = ControlPlaneSettings(
            address=address,
            resources=written or None,
            plaintext=True,
            new_signing_key=same_key,
            key_type=KeyType.ED25519,
            shared_store=shared,
            insight_interval_s=1.0 if shared else 10.0,
            **others,
        )
        env = self.world.environment(host)
        store = await open_store(self.database, env)
        self.control_plane = control_plane = ControlPlane(env, settings, store)
        await control_plane.prepare()
        self._scopes[address] = trio.CancelScope()
        await self.nursery.start(self._run_control_plane, control_plane, self._scopes[address])
        return control_plane

    async def _run_control_plane(
        self,
        control_plane: ControlPlane,
        scope: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with scope:
            await control_plane.run(task_status=task_status)

    async def stop_control_plane(self, address: Address = CONTROL_PLANE) -> None:
        """Let a control plane vanish: it says goodbye to nobody."""
        await self.world.network.cut(address)
        self._scopes[address].cancel()
        await trio.sleep(0.01)

    def start_sidecar(
        self,
        document: dict[str, Any],
        *,
        token: str | None = None,
        target: Target | None = None,
        addresses: tuple[Address, ...] = (CONTROL_PLANE,),
    ) -> "Sidecar":
        name = document["name"]
        env = self.world.environment(name)
        valid = issue_dataplane_token(
            KEY,
            mesh="retail",
            name=name,
            workload=document.get("labels", {}).get("kuma.io/workload", ""),
            lifetime_s=86400.0,
            now=env.wall_clock(),
            random=env.randomness.stream("token"),
        )
        settings = ControlPlaneClientSettings(
            address=addresses[0],
            tls=None,
            others=tuple(ControlPlaneEndpoint(address=address, tls=None) for address in addresses[1:]),
            token=valid if token is None else token,
            dataplane=document,
            state_folder="sidecar",
            key_type=KeyType.ED25519,
        )
        target = target or Target()
        sidecar = Sidecar(ControlPlaneClient(env, settings, target), target)
        self.nursery.start_soon(sidecar.run)
        return sidecar

    def status(self, name: str, control_plane: ControlPlane | None = None) -> ProxyStatus:
        plane = control_plane or self.control_plane
        assert plane is not None
        (status,) = [status for status in plane.status() if status.proxy.name == name]
        return status


@attrs.define(eq=False)
class Sidecar:
    client: ControlPlaneClient
    target: Target
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def run(self) -> None:
        with self.scope:
            await self.client.run()


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with trio.open_nursery() as nursery:
        with trio.fail_after(3600.0):
            yield Scene(nursery)
        nursery.cancel_scope.cancel()


def in_virtual_time(test: Callable[[Scene], Any]) -> Callable[[], None]:
    """Run a test with an own world under a clock that jumps."""

    async def run() -> None:
        async with scene() as ours:
            await test(ours)

    def wrapper() -> None:
        trio.run(run, clock=MockClock(autojump_threshold=0))

    wrapper.__name__, wrapper.__doc__ = test.__name__, test.__doc__
    return wrapper
