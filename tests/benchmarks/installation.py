"""A simulated installation: a real control plane with its store, and sidecars that are their configuration stream and no more.

Each sidecar is a host of its own and speaks the real protocol (`ControlPlaneClient`), without TLS, which would be the
simulation's model of it. What it is told it decodes, checks, keeps and acknowledges; there is no proxy behind it.
"""

import random
from typing import Any

import attrs
import trio

from mesh.config.snapshot import Snapshot
from mesh.control.control_plane import ControlPlane, ControlPlaneSettings
from mesh.control.store.sealing import load_sealer
from mesh.control.store.store import Store
from mesh.discovery.client import ControlPlaneClient, ControlPlaneClientSettings
from mesh.discovery.messages import Ack, Nack, Push, Resync, encode_message
from mesh.discovery.subscription import Candidate, Subscription
from mesh.identity.certificate import KeyType
from mesh.identity.tokens import issue_dataplane_token
from mesh.model.names import Address
from mesh.model.security import Svid
from sim.host import Host
from sim.signing_key import make_simulated_signing_key, simulated_signing_key
from sim.world import World

CONTROL_PLANE = "control-plane"
MESH = "default"
PORT = 5678
INBOUND_PORT = 8080
# Each service calls so many others, drawn evenly.
CALLED_MIN, CALLED_MAX = 5, 10
START_S = 9.0  # of virtual time
_TOKEN_LIFETIME_S = 86400.0


@attrs.define(eq=False)
class Tally:
    """What reached the sidecars."""

    pushes: int = 0
    push_bytes: int = 0


@attrs.define(eq=False)
class CountedSubscription(Subscription):
    """A subscription whose pushes are counted."""

    tally: Tally = attrs.field(factory=Tally)

    def receive(self, push: Push) -> Candidate | Ack | Nack | Resync | None:
        self.tally.pushes += 1
        self.tally.push_bytes += len(encode_message(push))
        return super().receive(push)


class NoProxy:
    """Lives by every configuration."""

    def apply(self, snapshot: Snapshot) -> None:
        pass

    def use_identity(self, svid: Svid) -> None:
        pass


@attrs.define(eq=False)
class Installation:
    """`services` services that call one another, `instances` proxies each."""

    world: World
    services: int
    instances: int
    tally: Tally = attrs.field(factory=Tally)
    plane: ControlPlane | None = attrs.field(default=None, init=False)
    called_by: dict[int, tuple[int, ...]] = attrs.field(init=False)
    _host: Host = attrs.field(init=False)
    _prepared: trio.Event = attrs.field(factory=trio.Event, init=False)
    _next_number: dict[int, int] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._host = self.world.add_host(CONTROL_PLANE, boot=self._boot_control_plane)
        draw = random.Random(self.services)
        self.called_by = {
            service: tuple(
                sorted(draw.sample(range(self.services), min(self.services, draw.randint(CALLED_MIN, CALLED_MAX))))
            )
            for service in range(self.services)
        }

    @property
    def proxies(self) -> int:
        return self.services * self.instances

    async def start_all(self) -> None:
        """Start every sidecar, spread over three heartbeats.

        All at one instant they would go on to say that they live at one instant, which is in the way of what is measured.
        """
        await self._prepared.wait()
        for service in range(self.services):
            for _ in range(self.instances):
                self.add_instance(service)
                await trio.sleep(START_S / self.proxies)

    def add_instance(self, service: int) -> None:
        """Start one more instance of a service."""
        number = self._next_number[service] = self._next_number.get(service, 0) + 1
        self.world.add_host(f"{service_name(service)}-{number}", boot=self._boot_sidecar)

    async def _boot_control_plane(self, host: Host) -> None:
        env = host.environment
        store = await Store.open(
            await env.disk.open_database("mesh.db"),
            sealer=await load_sealer(env, "encryption.key"),
            wall_clock=env.wall_clock,
            log=env.log,
        )
        settings = ControlPlaneSettings(
            address=Address(host.address, PORT),
            plaintext=True,
            key_type=KeyType.ED25519,
            new_signing_key=make_simulated_signing_key,
        )
        plane = ControlPlane(env, settings, store)
        await plane.prepare()
        self.plane = plane
        self._prepared.set()
        await plane.run()

    async def _boot_sidecar(self, host: Host) -> None:
        await self._prepared.wait()
        service = int(host.name.rpartition("-")[0].removeprefix("s"))
        token = issue_dataplane_token(
            simulated_signing_key(1),
            mesh=MESH,
            name=host.name,
            workload=service_name(service),
            lifetime_s=_TOKEN_LIFETIME_S,
            now=host.wall_clock(),
            random=host.environment.randomness.stream("token"),
        )
        settings = ControlPlaneClientSettings(
            address=Address(self._host.address, PORT),
            tls=None,
            token=token,
            dataplane=self._dataplane(host, service),
            state_folder="sidecar",
            key_type=KeyType.ED25519,
        )
        client = ControlPlaneClient(host.environment, settings, NoProxy())
        client.subscription = CountedSubscription(tally=self.tally)
        await client.run()

    def _dataplane(self, host: Host, service: int) -> dict[str, Any]:
        outbound = [
            {
                "port": 10_001 + index,
                "backendRef": {"kind": "MeshService", "name": service_name(called), "port": INBOUND_PORT},
            }
            for index, called in enumerate(self.called_by[service])
        ]
        inbound = {"port": INBOUND_PORT, "servicePort": INBOUND_PORT + 1, "protocol": "http"}
        return {
            "type": "Dataplane",
            "mesh": MESH,
            "name": host.name,
            "labels": {"kuma.io/workload": service_name(service)},
            "networking": {"address": host.address, "inbound": [inbound], "outbound": outbound},
        }


def service_name(service: int) -> str:
    """Name a service."""
    return f"s{service}"
