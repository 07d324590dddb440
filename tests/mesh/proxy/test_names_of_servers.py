"""Servers outside the mesh are found by their names, and by priority."""

from typing import Any

import pytest
import trio

from mesh.config.snapshot import (
    Snapshot,
)
from mesh.model.names import Address
from mesh.model.traffic import ResponseFlag
from mesh.proxy import name_resolution
from tests.mesh.proxy.laboratory import Lab, Upstream
from tests.mesh.proxy.outside_world import NAME, Names, parts_of, run


def test_a_request_waits_until_the_name_is_known(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        async def let_go() -> None:
            await trio.sleep(0.05)
            assert network.gate is not None
            network.gate.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_go)
            assert (await lab.request()).status == 200
        assert [endpoint.label for endpoint in lab.sidecar.clusters["api"].endpoints.values()] == [
            str(upstream.address)
        ]
        assert (await lab.request()).status == 200
        assert lab.sidecar.clusters["api"].breaker.connections == 1

    async def main() -> None:
        network.gate = trio.Event()

    network = Names({NAME: ("127.0.0.1",)})
    trio.run(main)
    run(tmp_path, body, None, network=network)


def test_a_name_that_nobody_knows_is_no_endpoint(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        assert (await lab.request()).status == 503
        assert lab.records[0].flags == (ResponseFlag.UPSTREAM_CONNECTION_FAILURE,)

    run(tmp_path, body, None, network=Names({}))


def test_waiting_ends_with_the_cluster(tmp_path: Any) -> None:
    network = Names({})

    async def body(lab: Lab, upstream: Upstream) -> None:
        async def take_away() -> None:
            await trio.sleep(0.05)
            lab.sidecar.apply(Snapshot({}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_away)
            assert (await lab.request()).status == 503

    async def main() -> None:
        network.gate = trio.Event()

    trio.run(main)
    run(tmp_path, body, None, network=network)


def test_names_are_asked_for_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # As long as one another, as they are outside of tests.
    monkeypatch.setattr(name_resolution, "REFRESH_S", 0.02)
    monkeypatch.setattr(name_resolution, "RESOLVE_TIMEOUT_S", 0.018)
    network = Names({NAME: ("127.0.0.9",)})

    async def addresses(lab: Lab, wanted: list[str]) -> None:
        with trio.fail_after(5):
            while [e.address.host for e in lab.sidecar.clusters["api"].endpoints.values()] != wanted:
                await trio.sleep(0.01)

    async def body(lab: Lab, upstream: Upstream) -> None:
        await addresses(lab, ["127.0.0.9"])
        assert (await lab.request()).status == 503
        network.known[NAME] = ("127.0.0.2", "127.0.0.1")
        await addresses(lab, ["127.0.0.1", "127.0.0.2"])
        selector = lab.sidecar.clusters["api"].selector
        del network.known[NAME]
        asked = len(network.asked)
        while len(network.asked) < asked + 3:
            await trio.sleep(0.01)
        # It keeps what it was, and whoever turned the balancer goes on.
        await addresses(lab, ["127.0.0.1", "127.0.0.2"])
        assert lab.sidecar.clusters["api"].selector is selector
        lab.sidecar.apply(Snapshot({}))
        asked = len(network.asked)
        await trio.sleep(0.05)
        assert len(network.asked) <= asked + 1

    run(tmp_path, body, None, network=network)


@pytest.mark.parametrize(
    ("found", "used"),
    [(["::1", "127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"]), (["::1"], ["::1"]), ([], [NAME])],
)
def test_one_family_of_addresses_is_used(tmp_path: Any, found: list[str], used: list[str]) -> None:
    network = Names({NAME: found})

    async def body(lab: Lab, upstream: Upstream) -> None:
        with trio.fail_after(5):
            while NAME not in lab.sidecar._resolver.addresses_by_name:
                await trio.sleep(0.01)
        assert [e.address.host for e in lab.sidecar.clusters["api"].endpoints.values()] == used

    run(tmp_path, body, None, network=network)


def test_a_later_priority_is_used_while_the_earlier_ones_are_away(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        near, far = Address("near.test", upstream.address.port), Address("127.0.0.1", upstream.address.port)
        parts = parts_of(lab.port, [near, far], priorities=[0, 1])
        lab.sidecar.apply(Snapshot.of(*parts))
        with trio.fail_after(5):
            while (await lab.request()).status != 200:
                await trio.sleep(0.01)

    run(tmp_path, body, None, network=Names({}))


def test_there_is_no_panic_while_a_later_priority_is_well(tmp_path: Any) -> None:
    async def body(lab: Lab, upstream: Upstream) -> None:
        names = [Address(f"{name}.test", upstream.address.port) for name in ("a", "b", "c")]
        near, far = Address("127.0.0.1", upstream.address.port), Address("127.0.0.2", upstream.address.port)
        lab.sidecar.apply(Snapshot.of(*parts_of(lab.port, [*names, near, far], priorities=[0, 0, 0, 0, 1])))
        cluster = lab.sidecar.clusters["api"]
        with trio.fail_after(5):
            while len([e for e in cluster.endpoints.values() if e.resolution and e.resolution.failed]) < 3:
                await trio.sleep(0.01)
        assert not cluster.panicking
        # One of four is well, which is thought able to carry 35 % of the traffic; the rest goes to the later priority.
        picked = [endpoint.address for endpoint in (cluster.pick() for _ in range(200)) if endpoint is not None]
        assert set(picked) == {near, far}
        assert 40 <= picked.count(near) <= 100

    run(tmp_path, body, None, network=Names({}))
