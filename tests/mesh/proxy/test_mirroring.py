"""Mirroring over real sockets: who gets a copy, of what, and that nobody waits for it."""

from pathlib import Path

import pytest
import trio

from mesh.config.snapshot import Backend, Mirror, Route
from mesh.proxy.mirroring import shadow_host
from tests.mesh.proxy.laboratory import Fleet, Lab, UpstreamCall, ok, read_response, run_fleet, silent


def route(percent: float = 100.0) -> Route:
    return Route(name="r", backends=(Backend(cluster="c"),), mirrors=(Mirror(cluster="m", percent=percent),))


async def mirrored(fleet: Fleet, count: int) -> list[UpstreamCall]:
    while fleet.calls("m") != [count]:
        await trio.sleep(0.005)
    return fleet.one("m").calls


def test_mirror_gets_the_request_under_a_name_of_its_own(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request("POST /a?b HTTP/1.1\r\nhost: svc.local\r\ncontent-length: 5\r\n\r\n", b"hello")
        assert (response.status, response.body) == (200, b"ok")
        [copy] = await mirrored(fleet, 1)
        lines = copy.head.decode().lower().split("\r\n")
        assert lines[0] == "post /a?b http/1.1"
        assert "host: svc.local-shadow" in lines  # as recorded from Envoy
        assert copy.body == b"hello"
        assert len(lab.records) == 1
        stats = lab.sidecar.clusters["m"].stats
        while not stats.requests_by_status:
            await trio.sleep(0.005)
        assert (stats.requests_by_status, stats.requests_total) == ({200: 1}, 1)
        assert lab.sidecar.clusters["m"].breaker.requests == 0

    run_fleet(tmp_path, body, {"c": [[ok]], "m": [[ok]]}, routes=[route()])


def test_silent_mirror_delays_nobody(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        with trio.fail_after(1.0):
            for _ in range(5):
                assert (await lab.request()).status == 200
        await mirrored(fleet, 5)
        assert lab.sidecar.clusters["m"].breaker.requests == 5

    run_fleet(tmp_path, body, {"c": [[ok]], "m": [[silent]]}, routes=[route()])


def test_absent_mirror_is_counted_and_no_more(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        assert (await lab.request()).status == 200
        assert lab.sidecar.clusters["m"].stats.requests_by_status == {503: 1}

    run_fleet(tmp_path, body, {"c": [[ok]], "m": []}, routes=[route()])


def test_so_many_in_a_hundred_are_mirrored(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(100):
            await lab.request()
        await trio.sleep(0.05)
        [copies] = fleet.calls("m")
        assert 12 <= copies <= 38  # 25 are expected; the seed is fixed

    run_fleet(tmp_path, body, {"c": [[ok]], "m": [[ok]]}, routes=[route(25.0)])


@pytest.mark.parametrize(("size", "copies"), [(1000, 1), (200_000, 0)])
def test_body_that_comes_late_is_mirrored_when_it_is_complete_and_small(tmp_path: Path, size: int, copies: int) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: %d\r\n\r\n" % size)
            await trio.sleep(0.02)
            await stream.send_all(b"x" * size)
            assert (await read_response(stream)).status == 200
        await lab.record()
        await trio.sleep(0.05)
        assert [len(call.body) for call in fleet.one("m").calls] == [size] * copies
        assert lab.sidecar.clusters["c"].stats.replay_abandoned == 1 - copies

    run_fleet(tmp_path, body, {"c": [[ok]], "m": [[ok]]}, routes=[route()])


def test_connection_to_a_mirror_is_used_again(tmp_path: Path) -> None:
    async def chunked(call: UpstreamCall) -> None:
        await call.stream.send_all(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await trio.sleep(0.01)
        await call.stream.send_all(b"0\r\n\r\n")

    async def body(lab: Lab, fleet: Fleet) -> None:
        for count in range(1, 4):
            await lab.request()
            await mirrored(fleet, count)
            while lab.sidecar.clusters["m"].breaker.requests:
                await trio.sleep(0.005)
        assert fleet.one("m").connections == 1

    run_fleet(tmp_path, body, {"c": [[ok]], "m": [[chunked]]}, routes=[route()])


@pytest.mark.parametrize(
    ("host", "shadow"),
    [
        (b"svc", b"svc-shadow"),
        (b"svc:80", b"svc-shadow:80"),
        (b"[::1]", b"[::1]-shadow"),
        (b"[::1]:80", b"[::1]-shadow:80"),
    ],
)
def test_name_of_a_mirror_keeps_the_port(host: bytes, shadow: bytes) -> None:
    assert shadow_host(host) == shadow
