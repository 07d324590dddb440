"""Real sockets behind simulated links: what crosses takes its time, is cut off, refused and silent, as in simulation."""

import socket

import pytest
import trio

from mesh.model.errors import BrokenConnection, ConnectFailed
from mesh.model.names import Address
from mesh.runtime.environment import Connection
from sim.network.breaks import Refuse, Reset
from sim.network.cuts import Partition
from sim.network.rules import Between
from tests.sim.local.linked_processes import FAR, LATENCY_S, NEAR, anywhere, echo, two_hosts

BETWEEN = Between(source=(NEAR.name,), target=(FAR.name,))


async def test_connecting_takes_one_round_trip_and_an_echo_another() -> None:
    took: list[float] = []

    async def call(reactor, address: Address) -> None:
        began = trio.current_time()
        connection = await reactor.connect(address)
        took.append(trio.current_time() - began)
        await connection.send(b"hello")
        assert await connection.receive() == b"hello"
        took.append(trio.current_time() - began - took[0])
        assert connection.remote == address
        connection.close()

    async with two_hosts() as two:
        listener = two.far.listen(anywhere(FAR), echo)
        await two.in_pump(call, two.near, listener.address)
    # The kernel's timer makes them exact; the machine may be busy.
    assert all(2 * LATENCY_S <= span < 2 * LATENCY_S + 0.1 for span in took), took


async def test_many_bytes_arrive_in_order_and_the_end_after_them() -> None:
    sent = bytes(range(256)) * 8192
    received: list[bytes] = []

    async def call(reactor, address: Address) -> None:
        connection = await reactor.connect(address)
        reactor.start(_send(connection), name="send")
        while data := await connection.receive():
            received.append(data)

    async def _send(connection: Connection) -> None:
        await connection.send(sent)
        await connection.send_eof()

    async with two_hosts(latency_s=0.001) as two:
        listener = two.far.listen(anywhere(FAR), echo)
        await two.in_pump(call, two.near, listener.address)
    assert b"".join(received) == sent


async def test_streams_of_ordinary_tasks_cross_the_links_too() -> None:
    async with two_hosts() as two:
        listener = two.far.listen(anywhere(FAR), echo)
        began = trio.current_time()
        stream = await two.links.connect_stream(listener.address)
        await stream.send_all(b"hello")
        assert await stream.receive_some() == b"hello"
        assert trio.current_time() - began >= 4 * LATENCY_S
        await stream.aclose()


async def test_far_side_sees_the_address_of_the_near_host() -> None:
    seen: list[str] = []

    async def note(connection: Connection) -> None:
        seen.append(connection.remote.host)

    async def call(reactor, address: Address) -> None:
        connection = await reactor.connect(address)
        assert await connection.receive() == b""

    async with two_hosts(latency_s=0.001) as two:
        listener = two.far.listen(anywhere(FAR), note)
        await two.in_pump(call, two.near, listener.address)
    assert seen == [NEAR.address]


async def test_a_port_where_nobody_listens_refuses_after_a_round_trip() -> None:
    with socket.socket() as taken:
        taken.bind((FAR.address, 0))
        port = taken.getsockname()[1]

        async def call(reactor) -> None:
            began = trio.current_time()
            with pytest.raises(ConnectFailed):
                await reactor.connect(Address(FAR.address, port))
            assert trio.current_time() - began >= 2 * LATENCY_S

        async with two_hosts() as two:
            await two.in_pump(call, two.near)


async def test_a_partition_stalls_what_is_sent_until_it_is_over() -> None:
    async with two_hosts(latency_s=0.001) as two:
        listener = two.far.listen(anywhere(FAR), echo)

        async def call() -> None:
            connection = await two.near.connect(listener.address)
            rule = two.links.network.add_rule(Partition(between=BETWEEN))
            two.near.call_at(two.near.now() + 0.15, rule.remove)
            began = two.near.now()
            await connection.send(b"late")
            assert await connection.receive() == b"late"
            assert two.near.now() - began >= 0.15
            assert rule.hits > 0
            connection.close()

        await two.in_pump(call)


@pytest.mark.parametrize("rule", [Refuse(between=BETWEEN), Reset(between=BETWEEN)])
async def test_refusals_and_resets_reach_the_caller(rule) -> None:
    async with two_hosts(latency_s=0.001) as two:
        listener = two.far.listen(anywhere(FAR), echo)

        async def call() -> None:
            two.links.network.add_rule(rule)
            connection = await two.near.connect(listener.address)
            await connection.send(b"never")
            await connection.receive()

        with pytest.raises(BrokenConnection):
            await two.in_pump(call)


async def test_a_reset_by_the_far_process_arrives_as_one() -> None:
    async def reset(connection: Connection) -> None:
        await connection.receive()
        connection.abort()

    async with two_hosts() as two:
        listener = two.far.listen(anywhere(FAR), reset)

        async def call() -> None:
            connection = await two.near.connect(listener.address)
            await connection.send(b"x")
            with pytest.raises(BrokenConnection):
                await connection.receive()

        await two.in_pump(call)


async def test_a_host_without_power_is_silent_and_resets_old_connections_when_it_is_back() -> None:
    async with two_hosts(latency_s=0.001) as two:
        listener = two.far.listen(anywhere(FAR), echo)

        async def call() -> None:
            connection = await two.near.connect(listener.address)
            await connection.send(b"x")
            assert await connection.receive() == b"x"
            two.links.set_power(FAR.name, on=False)
            assert not two.links.network.host_by_name[FAR.name].bridges
            two.near.call_at(two.near.now() + 0.1, lambda: two.links.set_power(FAR.name, on=True))
            began = two.near.now()
            await connection.send(b"into the dark")
            with pytest.raises(BrokenConnection):
                await connection.receive()
            # Nothing was heard before TCP sent it again to the new life.
            assert two.near.now() - began >= 0.1
            connection = await two.near.connect(listener.address)
            connection.close()

        await two.in_pump(call)


async def test_near_addresses_are_reached_without_links() -> None:
    async with two_hosts(latency_s=5.0) as two:
        listener = two.near.listen(anywhere(NEAR), echo)

        async def call() -> None:
            connection = await two.near.connect(listener.address)
            await connection.send(b"x")
            assert await connection.receive() == b"x"
            connection.close()

        with trio.fail_after(2):
            await two.in_pump(call)


async def test_timers_are_exact_to_less_than_a_millisecond_most_of_the_time() -> None:
    late: list[float] = []

    async def sleep(reactor) -> None:
        for _ in range(40):
            due = reactor.now() + 0.0023
            await reactor.sleep(0.0023)
            late.append(trio.current_time() - due)

    async with two_hosts() as two:
        await two.in_pump(sleep, two.near)
    assert min(late) >= 0.0
    # Epoll alone would be late by 0.7 ms at the best of times.
    assert sorted(late)[len(late) // 4] < 0.0006
