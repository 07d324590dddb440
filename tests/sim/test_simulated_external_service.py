"""A sidecar in the simulated world calls a server outside the mesh: by its name, over modelled TLS."""

import trio

from mesh.config.snapshot import (
    Backend,
    Cluster,
    ClusterEndpoints,
    Endpoint,
    Origination,
    OutboundListener,
    PemSource,
    Route,
    Snapshot,
    UpstreamTls,
)
from mesh.discovery.client import ControlPlaneClientSettings
from mesh.identity.authority import Authority, issue_svid
from mesh.identity.certificate import KeyType
from mesh.model.names import Address, SpiffeId
from mesh.model.security import ServerTls
from mesh.model.traffic import Protocol
from mesh.proxy.sidecar import Sidecar, SidecarSettings
from mesh.runtime.environment import Connection
from mesh.runtime.real.randomness import SystemRandomness
from mesh.telemetry.request_record import RequestRecord
from sim.host import Host
from sim.tls import ModelledTls
from sim.world import EPOCH, World

RANDOM = SystemRandomness(3).stream("serials")
ROOT = Authority.create("outside", now=EPOCH, serial_random=RANDOM, key_type=KeyType.ED25519)
SERVER = issue_svid(
    ROOT,
    SpiffeId("outside", "/api"),
    lifetime_s=60.0,
    now=EPOCH,
    serial_random=RANDOM,
    names=("api",),
    key_type=KeyType.ED25519,
)
REQUEST = b"GET / HTTP/1.1\r\nhost: api.extsvc.mesh.local\r\n\r\n"


def snapshot() -> Snapshot:
    endpoint = Endpoint(name="api:443", address=Address("api", 443), hostname="api")
    return Snapshot.of(
        Origination(cluster="api", roots=PemSource(text=ROOT.root_pem)),
        Cluster(name="api", protocol=Protocol.HTTP, tls=UpstreamTls()),
        ClusterEndpoints(cluster="api", endpoints=(endpoint,)),
        OutboundListener(
            name="out",
            address=Address("127.0.0.1", 10001),
            protocol=Protocol.HTTP,
            routes=(Route(name="api", backends=(Backend(cluster="api"),)),),
        ),
    )


async def serve(host: Host) -> None:
    env = host.environment
    context = env.tls.server(ServerTls(svid=SERVER, require_client_certificate=False))

    async def answer(raw: Connection) -> None:
        connection = await context.handshake(raw)
        while received := await connection.receive():
            assert b"host: api\r\n" in received
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    env.reactor.listen(Address("0.0.0.0", 443), answer)
    await trio.sleep_forever()


def run() -> tuple[list[bytes], str]:
    """Ask twice; return the status lines, and the run's event hash."""
    records: list[RequestRecord] = []

    async def sidecar(host: Host) -> None:
        settings = ControlPlaneClientSettings(
            address=Address("127.0.0.1", 1), tls=None, token="", dataplane={}, state_folder="state"
        )
        proxy = Sidecar(host.environment, SidecarSettings(control_plane=settings, records=records))
        proxy.apply(snapshot())
        await trio.sleep_forever()

    world = World(
        seed=1,
        tls_factory=lambda host: ModelledTls(host.wall_clock, host.world.randomness.stream("tls", host.name)),
    )
    world.add_host("api", boot=serve)
    client = world.add_host("web", boot=sidecar)
    answers: list[bytes] = []

    async def ask() -> None:
        stream = await client.environment.network.connect(Address("127.0.0.1", 10001))
        async with stream:
            await stream.send_all(REQUEST)
            answers.append(bytes(await stream.receive_some()).partition(b"\r\n")[0])

    async def main(_: World) -> None:
        await ask()
        await ask()

    return answers, world.run(main).event_hash


def test_a_simulated_sidecar_calls_a_server_outside_the_mesh() -> None:
    answers, event_hash = run()
    assert answers == [b"HTTP/1.1 200 OK"] * 2
    assert run()[1] == event_hash
