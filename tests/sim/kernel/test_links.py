import random
import statistics
from itertools import pairwise

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.host import Host
from sim.network.latency import Constant, Drawn, Exponential, Latency, LogNormal
from sim.network.links import Link, LinkBetween, NetworkModel, Pipe
from sim.scenario.distributions import Histogram
from sim.world import World
from tests.sim.kernel.simulated_pair import MS, SimulatedPair, make_pair, plain_network, receive_exactly, round_trip


def draws_ms(latency: Latency, count: int = 20_000) -> list[float]:
    sample, chance = latency.sampler(), random.Random(1)
    return [sample(chance) / 1e6 for _ in range(count)]


def test_latencies_have_the_quantiles_they_name() -> None:
    drawn = statistics.quantiles(draws_ms(LogNormal(p50_s=9 * MS, p99_s=12 * MS), 50_000), n=100)
    assert drawn[49] == pytest.approx(9.0, rel=0.01)
    assert drawn[98] == pytest.approx(12.0, rel=0.01)
    assert statistics.mean(draws_ms(Exponential(mean_s=5 * MS))) == pytest.approx(5.0, rel=0.03)
    assert set(draws_ms(Constant(2 * MS), 10)) == {2.0}
    assert set(draws_ms(Drawn(Histogram(bins=((MS, 1.0), (3 * MS, 1.0)))))) == {1.0, 3.0}


def test_the_tail_of_a_log_normal_is_not_cut() -> None:
    highest = max(draws_ms(LogNormal(p50_s=MS, p99_s=10 * MS), 200_000))
    assert highest > 50.0  # The 99.99th percentile is 39 ms.


def test_impossible_links_are_refused() -> None:
    for make in (
        lambda: LogNormal(p50_s=2.0, p99_s=1.0),
        lambda: Constant(-1.0),
        lambda: Exponential(mean_s=0.0),
        lambda: Link(loss=1.0),
        lambda: Link(bandwidth_bytes_per_s=0.0),
        lambda: NetworkModel(window_bytes=10),
    ):
        with pytest.raises(ValueError, match=r"must|p99"):
            make()


def test_connecting_takes_a_round_trip_and_so_does_an_echo() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        assert trio.current_time() == pytest.approx(2 * MS)
        assert await round_trip(stream) == pytest.approx(2 * MS)

    make_pair().run(body)


def test_within_a_host_it_takes_microseconds() -> None:
    async def body(pair: SimulatedPair) -> None:
        for address in (pair.address.host, "127.0.0.1"):
            stream = await pair.server.environment.network.connect(type(pair.address)(address, 80))
            assert await round_trip(stream) == pytest.approx(30e-6)

    make_pair().run(body)


def test_jitter_is_added_to_the_latency() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        spans = [await round_trip(stream) for _ in range(200)]
        assert min(spans) >= 2 * MS
        assert len(set(spans)) > 100
        assert statistics.mean(spans) == pytest.approx(4 * MS, rel=0.2)

    make_pair(NetworkModel(default=Link(latency=Constant(MS), jitter=Exponential(mean_s=MS)))).run(body)


def test_hosts_go_before_zones_and_zones_before_the_default() -> None:
    def link(latency_s: float) -> Link:
        return Link(latency=Constant(latency_s))

    model = NetworkModel(
        default=link(1.0),
        links=(
            LinkBetween(between=("eu", "us"), link=link(2.0)),
            LinkBetween(between=("a", "c"), link=link(3.0)),
            LinkBetween(between=("us", "us"), link=link(4.0)),
            LinkBetween(between=("d", "c"), link=link(5.0), one_way=True),
        ),
    )
    world = World(seed=1, network=model)
    host = {
        name: world.add_host(name, zone=zone).network_host
        for name, zone in (("a", "eu"), ("b", "eu"), ("c", "us"), ("d", "us"))
    }

    def latency_s(source: str, target: str) -> float:
        return world.network.path(host[source], host[target]).nominal_ns / 1e9

    assert latency_s("a", "b") == 1.0
    assert latency_s("b", "c") == latency_s("c", "b") == 2.0
    assert latency_s("a", "c") == latency_s("c", "a") == 3.0
    assert latency_s("d", "c") == 5.0
    assert latency_s("c", "d") == 4.0


@settings(max_examples=50, deadline=None)
@given(
    st.floats(min_value=1e3, max_value=1e9),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)), min_size=1, max_size=30),
)
def test_a_pipe_lets_bytes_through_one_after_the_other(bytes_per_s: float, segments: list[tuple[int, int]]) -> None:
    pipe, now_ns, free_ns = Pipe(bytes_per_s), 0, 0.0
    for pause_ns, size in segments:
        now_ns += pause_ns
        free_ns = max(free_ns, now_ns) + size / bytes_per_s * 1e9
        assert now_ns + pipe.delay_ns(size, now_ns) == pytest.approx(free_ns, abs=len(segments))


def test_bandwidth_delays_by_the_bytes_in_front() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        # 100 kB at 1 MB/s take 100 ms each way, and 1 ms of latency each; the echo streams back as it arrives.
        assert await round_trip(stream, bytes(100_000)) == pytest.approx(0.202)
        began = trio.current_time()
        await stream.send_all(bytes(50_000))
        await stream.send_all(bytes(50_000))
        await receive_exactly(stream, 100_000)
        # The second half travels there while the first travels back.
        assert trio.current_time() - began == pytest.approx(0.152)

    make_pair(NetworkModel(default=Link(latency=Constant(MS), bandwidth_bytes_per_s=1e6))).run(body)


def test_hosts_of_two_zones_share_the_bandwidth_between_them() -> None:
    link = LinkBetween(between=("zone-1", "zone-2"), link=Link(latency=Constant(MS), bandwidth_bytes_per_s=1e6))
    pair = make_pair(plain_network(links=(link,)))
    other = pair.world.add_host("other", zone="zone-1")

    async def body(pair: SimulatedPair) -> None:
        spans: list[float] = []

        async def call(host: Host) -> None:
            stream = await host.environment.network.connect(pair.address)
            await trio.sleep_until(1.0)
            spans.append(await round_trip(stream, bytes(100_000)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, pair.client)
            nursery.start_soon(call, other)
        # One waits for the other on the way there; on the way back they follow one another.
        assert sorted(spans) == pytest.approx([0.202, 0.302])

    pair.run(body)


def test_loss_stalls_a_stream_for_the_retransmission() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        spans = [await round_trip(stream) for _ in range(300)]
        quick = [span for span in spans if span < 3 * MS]
        stalled = [span for span in spans if span >= 3 * MS]
        assert all(span == pytest.approx(2 * MS) for span in quick)
        assert all(span >= 0.2 for span in stalled)
        assert any(span == pytest.approx(0.202) for span in stalled)
        # Two crossings at 10 % each.
        assert 0.12 < len(stalled) / len(spans) < 0.28

    make_pair(NetworkModel(default=Link(latency=Constant(MS), loss=0.1))).run(body)


def test_large_segments_are_lost_more_often_than_small_ones() -> None:
    world = World(seed=1, network=NetworkModel(default=Link(loss=0.01)))
    a, b = (world.add_host(name).network_host for name in "ab")
    path, chance = world.network.path(a, b), random.Random(1)

    def share(size: int) -> float:
        return sum(path.loses(size, chance) for _ in range(5000)) / 5000

    assert share(100) == pytest.approx(0.01, abs=0.005)
    assert share(144_800) == pytest.approx(1 - 0.99**100, abs=0.03)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_bytes_of_one_direction_never_change_their_order(seed: int) -> None:
    network = NetworkModel(default=Link(latency=LogNormal(p50_s=MS, p99_s=0.1), loss=0.05))

    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        for number in range(100):
            await stream.send_all(number.to_bytes(4, "big"))
        data = await receive_exactly(stream, 400)
        numbers = [int.from_bytes(data[start : start + 4], "big") for start in range(0, 400, 4)]
        assert all(a < b for a, b in pairwise(numbers))

    make_pair(network, seed=seed).run(body)
