"""Bandwidth, jitter, copies and detours; and that no fault of a line ever changes what a stream carries.

Planted bug: `transmission._schedule` without the comparison with `last_due_ns` (segments overtake one another); the property
finds bytes out of order at once. It is the last test.
"""

import itertools
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.network import transmission
from sim.network.cuts import Hold, Partition
from sim.network.delays import Duplicate, Jitter, Loss, Reorder, SlowLink, Throttle
from sim.network.fragments import Fragment
from sim.network.latency import Constant, Exponential
from sim.network.links import Link, NetworkModel
from sim.network.rules import Between, Rule
from tests.sim.kernel.simulated_pair import MS, SimulatedPair, make_pair, plain_network, receive_exactly, round_trip

BOTH = Between(source=("client",), target=("server",))
TO_SERVER = Between(source=("client",), target=("server",), both_ways=False)


def test_a_shared_line_is_one_for_all_that_cross_it() -> None:
    pair = make_pair(plain_network())
    neighbour = pair.world.add_host("neighbour", zone="zone-1")
    spans: list[float] = []

    async def ask(stream: Any) -> None:
        spans.append(await round_trip(stream, bytes(10_000)))

    async def body(pair: SimulatedPair) -> None:
        streams = [await pair.connect(), await neighbour.environment.network.connect(pair.address)]
        between = Between(source=("zone-1",), target=("zone-2",), both_ways=False)
        pair.world.network.add_rule(Throttle(between=between, bytes_per_s=1e5, shared=True))
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(ask, stream)

    pair.run(body)
    assert sorted(spans) == [pytest.approx(0.102), pytest.approx(0.202)]


def test_a_full_queue_loses_what_comes_on_top() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        pair.world.network.add_rule(Throttle(between=TO_SERVER, bytes_per_s=1e5, queue_bytes=8_000))
        for _ in range(3):
            await stream.send_all(bytes(5_000))
        # The second does not fit behind the first, which takes 50 ms: it and the third come again after 200 ms, and the
        # third does not fit again, until 200 ms later.
        await receive_exactly(stream, 15_000)
        assert trio.current_time() == pytest.approx(0.002 + 0.4 + 0.05 + 2 * MS)

    make_pair().run(body)


def test_an_empty_queue_takes_any_segment() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        pair.world.network.add_rule(Throttle(between=TO_SERVER, bytes_per_s=1e5, queue_bytes=1))
        assert await round_trip(stream, bytes(10_000)) == pytest.approx(0.102)

    make_pair().run(body)


def test_jitter_wanders_within_its_span_and_leans_on_the_last_value() -> None:
    def steps(correlation: float) -> float:
        spans: list[float] = []

        async def body(pair: SimulatedPair) -> None:
            stream = await pair.connect()
            rule = Jitter(between=TO_SERVER, span_s=0.1, correlation=correlation)
            pair.world.network.add_rule(rule, name="jitter")
            spans.extend([await round_trip(stream) - 2 * MS for _ in range(200)])

        make_pair().run(body)
        assert min(spans) >= 0.0 and max(spans) <= 0.1
        return sum(abs(a - b) for a, b in itertools.pairwise(spans)) / len(spans)

    assert steps(0.9) < steps(0.0) / 3


def test_copies_take_bandwidth_and_nothing_else() -> None:
    def last_s(rule: Rule | None) -> float:
        spans: list[float] = []

        async def body(pair: SimulatedPair) -> None:
            stream = await pair.connect()
            if rule is not None:
                pair.world.network.add_rule(rule)
            await stream.send_all(bytes(5_000))
            await stream.send_all(bytes(5_000))
            began = trio.current_time()
            await receive_exactly(stream, 10_000)
            spans.append(trio.current_time() - began)

        line = Link(latency=Constant(MS), bandwidth_bytes_per_s=1e5)
        make_pair(NetworkModel(default=line)).run(body)
        return spans[0]

    assert last_s(None) == pytest.approx(0.05 * 3 + 2 * MS)
    # The first one's copy goes before the second message; both directions alike.
    assert last_s(Duplicate(between=BOTH, probability=1.0)) == pytest.approx(0.05 * 5 + 2 * MS, rel=0.2)


def test_a_detour_holds_up_the_stream_behind_it() -> None:
    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        with pair.world.network.add_rule(Reorder(between=TO_SERVER, probability=1.0, detour=Constant(0.08))):
            await stream.send_all(b"late")
        await stream.send_all(b"behind")
        assert await receive_exactly(stream, 10) == b"latebehind"
        assert trio.current_time() == pytest.approx(0.002 + 0.08 + 2 * MS)

    make_pair().run(body)


def test_fragments_arrive_in_pieces_on_the_loopback_too() -> None:
    async def body(pair: SimulatedPair) -> None:
        between = Between(source=("server",), loopback=True)
        rule = pair.world.network.add_rule(Fragment(between=between, probability=1.0))
        stream = await pair.server.environment.network.connect(attrs.evolve(pair.address, host="127.0.0.1"))
        sizes: list[int] = []
        for _ in range(20):
            await stream.send_all(bytes(100))
            left = 100
            while left:
                data = await stream.receive_some()
                sizes.append(len(data))
                left -= len(data)
        assert rule.hits >= 40
        assert 1 in sizes and 99 in sizes and any(1 < size < 99 for size in sizes)

    make_pair().run(body)


RULES = st.sampled_from(
    (
        Partition(between=BOTH),
        Partition(between=TO_SERVER),
        Hold(between=BOTH),
        Loss(between=BOTH, probability=0.4),
        SlowLink(between=BOTH, extra=Exponential(mean_s=0.2), probability=0.5),
        Reorder(between=BOTH, probability=0.5, detour=Exponential(mean_s=0.3)),
        Duplicate(between=BOTH, probability=0.5),
        Fragment(between=BOTH, probability=0.8),
    )
)
# (index of the rule or None, bytes to send, seconds until the next step)
STEPS = st.lists(
    st.tuples(st.none() | RULES, st.integers(1, 3000), st.sampled_from([0.0, 0.01, 0.3, 2.0])), max_size=12
)


def carry(steps: list[tuple[Rule | None, int, float]]) -> None:
    """Send numbered bytes while rules come and go (each lasts one step); all of them come back, in order."""

    async def body(pair: SimulatedPair) -> None:
        stream = await pair.connect()
        sent = bytearray()

        async def send() -> None:
            for rule, size, pause_s in steps:
                installed = pair.world.network.add_rule(rule) if rule is not None else None
                data = bytes((len(sent) + n) % 251 for n in range(size))
                sent.extend(data)
                await stream.send_all(data)
                await trio.sleep(pause_s)
                if installed is not None:
                    installed.remove()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            expected = sum(size for _, size, _ in steps)
            received = await receive_exactly(stream, expected)
        assert received == bytes(sent)

    make_pair().run(body)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_a_stream_carries_the_same_bytes_in_the_same_order_whatever_its_line_does(
    steps: list[tuple[Rule | None, int, float]],
) -> None:
    carry(steps)


def test_the_property_finds_segments_that_overtake(monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaking(socket: Any, delay_ns: int, deliver: transmission.Deliver, argument: Any) -> None:
        socket.clock.push(socket.clock.now_ns + delay_ns, deliver, argument)

    monkeypatch.setattr(transmission, "_schedule", overtaking)

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(STEPS)
    def carries(steps: list[tuple[Rule | None, int, float]]) -> None:
        carry(steps)

    with pytest.raises((AssertionError, ExceptionGroup)):
        carries()
