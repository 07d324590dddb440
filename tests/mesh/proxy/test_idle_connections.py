"""How long a connection that nobody uses is kept: real loopback, no sidecar around the cluster."""

import math

import trio

from mesh.policy.timeout import Timeouts
from tests.mesh.proxy.checked_cluster import Checked, run

IDLE_S = 0.15


async def use(checked: Checked) -> None:
    pool = checked.cluster.pool

    async def once() -> None:
        pool.release(await pool.open(checked.endpoint, deadline=math.inf))

    checked.reactor.start(once(), name="use")
    await checked.until(lambda: checked.endpoint.idle)


def test_idle_connection_is_closed_at_its_moment_however_far_the_next_tick() -> None:
    async def body(checked: Checked) -> None:
        await use(checked)
        checked.cluster.tick(checked.reactor.now() + 60.0)
        assert checked.endpoint.idle  # not too early
        with trio.fail_after(5.0):
            await checked.until(lambda: not checked.endpoint.idle)
            await checked.until(lambda: not checked.servers[0].open)
        assert checked.cluster.breaker.connections == 0

    run(body, timeouts=Timeouts(idle_s=IDLE_S))


def test_connection_that_was_used_again_is_idle_anew() -> None:
    async def body(checked: Checked) -> None:
        await use(checked)
        checked.cluster.tick(checked.reactor.now() + 60.0)
        upstream = checked.endpoint.idle.pop()
        await trio.sleep(IDLE_S)
        checked.cluster.pool.release(upstream)
        checked.cluster.tick(checked.reactor.now() + 60.0)
        assert checked.endpoint.idle == [upstream]
        with trio.fail_after(5.0):
            await checked.until(lambda: not checked.endpoint.idle)

    run(body, timeouts=Timeouts(idle_s=IDLE_S))


def test_connections_are_kept_without_a_limit() -> None:
    async def body(checked: Checked) -> None:
        await use(checked)
        checked.cluster.tick(checked.reactor.now() + 60.0)
        await trio.sleep(2 * IDLE_S)
        assert checked.endpoint.idle

    run(body, timeouts=Timeouts(idle_s=0.0))
