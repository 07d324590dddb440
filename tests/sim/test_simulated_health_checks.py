"""Active health checks and ejections in the simulated world: the sidecar's own pumps and timers, in virtual time, over TLS."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from mesh.config.snapshot import Cluster, Endpoint
from mesh.identity.authority import Authority, issue_svid
from mesh.identity.certificate import KeyType
from mesh.model.names import Address, SpiffeId
from mesh.model.security import ClientTls, ServerTls, Svid, TrustBundle
from mesh.policy.failure import FailureKind
from mesh.policy.health_check import HealthCheck, HealthCheckKind
from mesh.policy.load_balancing import LoadBalancing
from mesh.policy.outlier_detection import OutlierDetection
from mesh.proxy.cluster import ClusterState
from mesh.proxy.name_resolution import LocatedEndpoint
from mesh.proxy.upstream_pool import UpstreamSecurity
from mesh.runtime.environment import Connection
from mesh.runtime.real.randomness import SystemRandomness
from sim.host import Host
from sim.tls import ModelledTls
from sim.world import EPOCH, World

RANDOM = SystemRandomness(3).stream("serials")
ROOT = Authority.create("shop", now=EPOCH, serial_random=RANDOM, key_type=KeyType.ED25519)
TRUST = (TrustBundle(trust_domain="shop", roots_pem=(ROOT.root_pem,)),)
CHECK = HealthCheck(
    kind=HealthCheckKind.HTTP, interval_s=10.0, no_traffic_interval_s=60.0, timeout_s=2.0, unhealthy_threshold=2
)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
IPS = ("10.0.0.11", "10.0.0.12")


def svid(name: str) -> Svid:
    return issue_svid(
        ROOT,
        SpiffeId("shop", f"/{name}"),
        lifetime_s=86_400.0,
        now=EPOCH,
        serial_random=RANDOM,
        key_type=KeyType.ED25519,
    )


WEB, API = svid("web"), svid("api")


@attrs.define(eq=False)
class Service:
    """An endpoint that answers what the test sets, and notes when it was asked."""

    answer: bytes = OK
    asked_s: list[float] = attrs.Factory(list)

    async def boot(self, host: Host) -> None:
        env = host.environment
        context = env.tls.server(ServerTls(svid=API, trust=TRUST))

        async def serve(raw: Connection) -> None:
            connection = await context.handshake(raw)
            while await connection.receive():
                self.asked_s.append(env.reactor.now())
                await connection.send(self.answer)

        env.reactor.listen(Address("0.0.0.0", 80), serve)
        await trio.sleep_forever()


@attrs.define(eq=False)
class Scene:
    """Two services, and a caller with a cluster of them."""

    world: World
    services: list[Service]
    cluster: ClusterState
    began_s: float

    def usable(self) -> list[str]:
        cluster = self.cluster
        return sorted({endpoint.name for _ in range(8) if (endpoint := cluster.pick()) is not None})

    def now(self) -> float:
        return trio.current_time() - self.began_s


def play(body: Callable[[Scene], Awaitable[None]], *, check: HealthCheck | None = CHECK, **config: Any) -> str:
    """Run `body` in a world of its own; return the run's event hash."""
    world = World(
        seed=1,
        tls_factory=lambda host: ModelledTls(host.wall_clock, host.world.randomness.stream("tls", host.name)),
    )
    services = [Service() for _ in IPS]
    for index, (ip, service) in enumerate(zip(IPS, services, strict=True)):
        world.add_host(f"api-{index}", address=ip, boot=service.boot)
    caller = world.add_host("web", boot=_sleep)
    fields: dict[str, Any] = {"name": "api", "load_balancing": LoadBalancing(panic_percent=0.0)} | config
    if check is not None:
        fields["health_checks"] = (check,)

    async def main(_: World) -> None:
        env = caller.environment
        context = env.tls.client(ClientTls(svid=WEB, trust=TRUST, expected_peers=(API.spiffe_id,), sni="api"))
        cluster = ClusterState(
            Cluster(**fields),
            reactor=env.reactor,
            random=env.randomness.stream("cluster"),
            check_random=lambda: env.randomness.stream("health-checks"),
            log=env.log,
        )
        scene = Scene(world, services, cluster, trio.current_time())
        located = [
            LocatedEndpoint(
                name=f"api-{index}",
                endpoint=Endpoint(name=f"api-{index}", address=Address(ip, 80)),
                address=Address(ip, 80),
            )
            for index, ip in enumerate(IPS)
        ]
        cluster.update(Cluster(**fields), tuple(located), UpstreamSecurity(required=True, context=context))
        await body(scene)
        cluster.close()

    return world.run(main).event_hash


async def _sleep(_: Host) -> None:
    await trio.sleep_forever()


def pauses(asked_s: list[float]) -> list[float]:
    return [round(after - before) for before, after in itertools.pairwise(asked_s)]


async def first_checks(scene: Scene) -> None:
    await trio.sleep(1.0)
    assert scene.usable() == ["api-0", "api-1"]


def test_endpoints_are_checked_rarely_until_the_first_request() -> None:
    async def body(scene: Scene) -> None:
        assert scene.usable() == []
        await first_checks(scene)
        await trio.sleep(130.0)
        assert pauses(scene.services[0].asked_s) == [60, 60]
        scene.cluster.stats.connections_total += 1  # a request came
        await trio.sleep(80.0)
        assert pauses(scene.services[0].asked_s)[2:] == [60, 10, 10, 10]

    assert play(body) == play(body)


def test_a_cut_off_endpoint_goes_after_its_threshold_and_comes_back_when_it_answers() -> None:
    async def body(scene: Scene) -> None:
        scene.cluster.stats.connections_total += 1
        await first_checks(scene)
        scene.world.hosts["api-1"].kill()
        await trio.sleep(12.0)
        assert scene.usable() == ["api-0", "api-1"]  # one failure is borne: no answer from 10 to 12 s
        await trio.sleep(12.0)
        assert scene.usable() == ["api-0"]  # nor from 22 to 24 s
        scene.world.hosts["api-1"].restart()
        await trio.sleep(10.0)
        assert scene.usable() == ["api-0", "api-1"]

    assert play(body) == play(body)


def test_jitter_is_drawn_from_the_seed() -> None:
    async def body(scene: Scene) -> None:
        scene.cluster.stats.connections_total += 1
        await trio.sleep(100.0)
        assert len(set(pauses(scene.services[0].asked_s))) > 2

    jittered = attrs.evolve(CHECK, interval_jitter_s=5.0, initial_jitter_s=3.0)
    assert (
        play(body, check=jittered)
        == play(body, check=jittered)
        != play(body, check=attrs.evolve(jittered, interval_s=9.0))
    )


@pytest.mark.parametrize(("interval_s", "returned_at_s"), [(10.0, 40.0), (0.7, 35.0), (4.0, 36.0)])
def test_an_ejected_endpoint_returns_exactly_at_a_tick_of_its_interval(interval_s: float, returned_at_s: float) -> None:
    detection = OutlierDetection(consecutive_5xx=3, interval_s=interval_s, ejection_percent_max=50)

    async def body(scene: Scene) -> None:
        cluster = scene.cluster
        await trio.sleep(5.0)
        for _ in range(3):
            cluster.on_local_failure(cluster.endpoints["api-1"], FailureKind.REMOTE_RESET)
        assert scene.usable() == ["api-0"]
        await trio.sleep(returned_at_s - scene.now() - 0.001)
        assert scene.usable() == ["api-0"]
        await trio.sleep(0.002)
        assert scene.usable() == ["api-0", "api-1"]

    play(body, check=None, outlier_detection=detection)
