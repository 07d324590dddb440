"""Clients and upstreams that keep to no turn: answers before the request is there, bodies that break while the answer is on its
way, protocols that change in between. No byte of one message may ever become part of another."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
import trio

from mesh.config.snapshot import Backend, Route
from mesh.model.errors import BrokenConnection
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.timeout import Timeouts
from mesh.protocol.http1 import MAX_HEAD_BYTES
from mesh.runtime.real.sockets import SocketConnection
from tests.mesh.proxy.laboratory import Fleet, Lab, UpstreamCall, flags, ok, run_fleet, sick, silent

CHUNKED = b"POST / HTTP/1.1\r\nhost: svc\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n"


def route(**fields: Any) -> list[Route]:
    return [Route(name="r", backends=(Backend(cluster="c"),), **fields)]


async def read_all(stream: trio.SocketStream, wait_s: float = 1.0) -> bytes:
    """Return what comes until the end, a reset or a pause."""
    received = b""
    with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(wait_s):
        while data := await stream.receive_some():
            received += data
    return received


def run_quietly(tmp_path: Any, body: Callable[[Lab, Fleet], Awaitable[None]], *handlers: Any, **fields: Any) -> None:
    """Run `body` in front of one upstream; nothing may crash meanwhile."""
    with structlog.testing.capture_logs() as logs:
        run_fleet(tmp_path, body, {"c": [list(handlers)]}, routes=route(**fields))
    assert not [entry for entry in logs if entry["log_level"] == "error" or entry["event"] == "pump.failed"]


async def answer_in_between(call: UpstreamCall) -> None:
    """Answer at length, to a request of which only the beginning is there."""
    await call.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
    await trio.sleep_forever()


def test_a_connection_that_still_takes_a_body_carries_no_other_request(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Found with an upstream that answered early and did not read: the rest of a body of 3.3 MB was never sent, and the
    # next request on that connection was taken for it.
    send, end = SocketConnection.send, b"0\r\n\r\n"

    async def send_with_a_pause(self: SocketConnection, data: bytes) -> None:
        if data == end:
            await send(self, data[:3])
            paused.set()
            await self._reactor.sleep(0.4)
            data = data[3:]
        await send(self, data)

    monkeypatch.setattr(SocketConnection, "send", send_with_a_pause)
    paused = trio.Event()

    async def early(call: UpstreamCall) -> None:
        # The laboratory's upstream knows no chunks: to it the request ends with its head.
        await paused.wait()
        await call.answer()

    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(CHUNKED)
            await trio.sleep(0.05)
            await stream.send_all(end)
            assert b" 200 " in await stream.receive_some()
        with trio.fail_after(2):
            second = await lab.request("GET /second HTTP/1.1\r\nhost: svc\r\n\r\n")
        assert (second.status, fleet.one().connections) == (200, 2)
        assert fleet.one().calls[-1].head.startswith(b"GET /second")

    run_quietly(tmp_path, body, early)


def test_an_upload_may_take_longer_than_a_stream_may_be_idle(tmp_path: Any) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 8\r\n\r\n")
            for _ in range(8):
                await trio.sleep(0.1)
                await stream.send_all(b"x")
            assert b" 200 " in await stream.receive_some()
        assert fleet.one().calls[0].body == b"xxxxxxxx"

    run_quietly(tmp_path, body, ok, timeouts=Timeouts(stream_idle_s=0.4))


@pytest.mark.parametrize(("rest", "flag"), [(b"zz\r\n", "DPE"), (b"", "SI"), (None, "DC")])
def test_a_body_that_breaks_while_the_answer_is_on_its_way_gets_no_second_answer(
    tmp_path: Any, rest: bytes | None, flag: str
) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(CHUNKED)
            received = await stream.receive_some()
            if rest is not None:
                await stream.send_all(rest)
                received += await read_all(stream)
        assert received.endswith(b"hello")
        assert received.count(b"HTTP/1.1") == 1
        record = await lab.record()
        assert (record.status, flags(record)) == (200, flag)
        assert next(iter(lab.sidecar.clusters["c"].endpoints.values())).active == 0

    run_quietly(tmp_path, body, answer_in_between, timeouts=Timeouts(stream_idle_s=0.3))


def test_no_protocol_is_switched_while_the_request_s_body_still_comes(tmp_path: Any) -> None:
    async def switch(call: UpstreamCall) -> None:
        await call.stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello"
        )
        await trio.sleep_forever()

    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(CHUNKED.replace(b"host", b"connection: upgrade\r\nupgrade: websocket\r\nhost"))
            assert b" 502 " in await stream.receive_some()
        assert flags(await lab.record()) == "UPE"

    run_quietly(tmp_path, body, switch)


def test_interim_responses_have_an_end(tmp_path: Any) -> None:
    async def chatter(call: UpstreamCall) -> None:
        while True:
            await call.stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)

    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
            received = await read_all(stream)
        assert b"HTTP/1.1 502 " in received
        assert len(received) < MAX_HEAD_BYTES + 1000

    run_quietly(tmp_path, body, chatter)


def test_a_client_that_does_not_take_its_answer_is_cut_off_and_the_record_says_so(tmp_path: Any) -> None:
    async def big(call: UpstreamCall) -> None:
        await call.answer(body=b"x" * 60_000)

    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(5):
                while not lab.records or not lab.records[-1].flags:
                    await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
                    await trio.sleep(0.002)
        assert (lab.records[-1].status, flags(lab.records[-1])) == (200, "UT")
        assert lab.sidecar.drain_state.in_flight == 0

    run_quietly(tmp_path, body, big, timeouts=Timeouts(request_s=0.5))


def test_a_body_s_end_that_meets_a_broken_upstream_begins_the_request_s_span(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last part was sent to a connection that had broken, and the retry then had no request timeout.
    send = SocketConnection.send

    async def send_to_broken(self: SocketConnection, data: bytes) -> None:
        if data == b"0\r\n\r\n":
            broken.set()
            raise BrokenConnection
        await send(self, data)

    monkeypatch.setattr(SocketConnection, "send", send_to_broken)
    broken = trio.Event()

    async def break_(call: UpstreamCall) -> None:
        await broken.wait()
        await call.stream.aclose()

    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(CHUNKED)
            await trio.sleep(0.1)
            await stream.send_all(b"0\r\n\r\n")
            assert b" 504 " in await stream.receive_some()
        record = await lab.record()
        assert (record.tries, flags(record)) == (2, "UT")

    retry = RetryPolicy(retries_max=1, conditions=(RetryOn.RESET,))
    run_quietly(tmp_path, body, break_, silent, timeouts=Timeouts(request_s=0.4), retry=retry)


def test_a_hedged_request_whose_endpoints_have_all_gone_is_answered_at_once(tmp_path: Any) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
            while not fleet.one().calls:
                await trio.sleep(0.001)
            lab.sidecar.clusters["c"].close()
            with trio.fail_after(2):
                assert b" 503 " in await stream.receive_some()
        assert "UH" in flags(await lab.record())

    retry = RetryPolicy(
        retries_max=2,
        conditions=(RetryOn.SERVER_ERROR,),
        per_try_timeout_s=5.0,
        hedge_on_per_try_timeout=True,
        backoff_base_s=0.2,
    )
    run_quietly(tmp_path, body, sick, timeouts=Timeouts(request_s=0.0), retry=retry)
