"""The whole control plane in the simulated world, its power cut again and again while it writes: from its disk it goes on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import trio
from memory_store import same_key

from mesh.control.control_plane import ControlPlane, ControlPlaneSettings
from mesh.control.store.sealing import load_sealer
from mesh.control.store.store import Store
from mesh.control.store.values import Put
from mesh.identity.certificate import KeyType
from mesh.model.names import Address
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource
from sim.host import Host
from sim.world import World

CUTS = 8
NAMES = 5


def numbered(number: int) -> Resource:
    conf = {"http": {"requestTimeout": f"{number}s"}}
    spec = {"to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]}
    name = f"t-{number % NAMES}"
    return load_resource({"type": "MeshTimeout", "mesh": "default", "name": name, "spec": spec}, file="test")


@attrs.define(eq=False)
class Operator:
    """Applies numbered resources as long as the control plane lives; what it was told of outlives both."""

    begun: dict[str, int] = attrs.Factory(dict)
    acknowledged: dict[str, int] = attrs.Factory(dict)
    number: int = 0

    async def write(self, plane: ControlPlane) -> None:
        while True:
            self.number += 1
            resource = numbered(self.number)
            self.begun[resource.name] = self.number
            await plane.catalogue.write([Put(resource=resource)], by="jo")
            self.acknowledged[resource.name] = self.number

    def lost(self, plane: ControlPlane) -> Iterator[str]:
        """Tell what was acknowledged and is not there, nor anything that was begun after it."""
        for name, number in self.acknowledged.items():
            stored = plane.catalogue.get(("MeshTimeout", "default", name))
            wanted = [numbered(number).written, numbered(self.begun[name]).written]
            if stored is None or stored.resource.written["spec"] not in [document["spec"] for document in wanted]:
                yield f"{name}: {number}, held is {stored}"


def live(seed: int) -> tuple[str, int]:
    """Play one life of a control plane; return the event hash and how much was acknowledged."""
    operator, losses, starts = Operator(), list[str](), list[ControlPlane]()

    async def boot(host: Host) -> None:
        env = host.environment
        store = await Store.open(
            await env.disk.open_database("mesh.db"),
            sealer=await load_sealer(env, "encryption.key"),
            wall_clock=env.wall_clock,
            log=env.log,
        )
        settings = ControlPlaneSettings(
            address=Address(host.address, 5678), plaintext=True, new_signing_key=same_key, key_type=KeyType.ED25519
        )
        plane = ControlPlane(env, settings, store)
        await plane.prepare()
        starts.append(plane)
        losses.extend(operator.lost(plane))
        host.spawn("operator", operator.write, plane)
        await plane.run()

    async def main(world: World) -> None:
        host = world.hosts["control-plane"]
        random = world.randomness.stream("test", "cuts")
        for cut in range(1, CUTS + 1):
            while len(starts) < cut:
                await trio.sleep(0.01)
            await trio.sleep(random.uniform(0.0, 0.1))
            host.kill()
            await trio.sleep(1.0)
            host.start()
        while len(starts) <= CUTS:
            await trio.sleep(0.01)

    world = World(seed=seed)
    world.add_host("control-plane", boot=boot)
    result = world.run(main, until_s=120.0)
    assert result.finished and len(starts) == CUTS + 1
    assert losses == []
    assert len({plane.secrets.ca_pem for plane in starts}) == 1, "it is the same installation to its sidecars"
    return result.event_hash, len(operator.acknowledged) and operator.number


def test_nothing_that_was_acknowledged_is_lost_and_a_run_can_be_repeated() -> None:
    first = live(1)
    assert first[1] > 10 * CUTS
    root = Path(__file__).parents[3]
    paths = os.pathsep.join(map(str, (root, Path(__file__).parent)))
    for hash_seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths, "PATH": "/usr/bin"}
        command = [sys.executable, "-c", f"import {Path(__file__).stem} as test; print(test.live(1)[0])"]
        ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        assert ended.stdout.strip() == first[0]
    assert live(2)[0] != first[0]
