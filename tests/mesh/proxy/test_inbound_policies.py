"""Policies of an inbound over real sockets: rates, injected faults, slow answers, spans by caller."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from mesh.config.snapshot import InboundListener, Part
from mesh.model.names import Address
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.authorization import PeerMatch
from mesh.policy.fault_injection import Abort, Delay, Fault, ResponseBandwidth
from mesh.policy.rate_limit import CallerRateLimit, Rate, RateLimit
from mesh.policy.routing import HeaderChanges
from mesh.policy.timeout import CallerTimeouts, Timeouts
from tests.mesh.proxy.laboratory import Fleet, Handler, Lab, UpstreamCall, flags, ok, read_response, run_fleet


def run(tmp_path: Path, body: Callable[[Lab, Fleet], Awaitable[None]], handler: Handler = ok, **fields: Any) -> None:
    """Run with one inbound in front of an application; `fields` are the listener's."""

    def listeners(port: int, fleet: Fleet) -> list[Part]:
        usual = {"protocol": Protocol.HTTP, "tls_mode": TlsMode.OFF, "permissions": None}
        address = Address("127.0.0.1", port)
        return [InboundListener(name="in", address=address, application=fleet.one().address, **{**usual, **fields})]

    run_fleet(tmp_path, body, {"c": [[handler]]}, listeners=listeners)


def test_requests_above_the_rate_are_refused(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        assert [(await lab.request()).status for _ in range(2)] == [200, 200]
        refused = await lab.request()
        assert (refused.status, refused.body, refused.headers["x-rl"]) == (429, b"local_rate_limited", "1")
        record = await lab.record(2)
        assert (flags(record), record.detail, record.tries) == ("RL", "local_rate_limited", 0)

    limit = RateLimit(rate=Rate(count=2, interval_s=3600.0), headers=HeaderChanges(set=(("x-rl", "1"),)))
    run(tmp_path, body, rate_limits=(CallerRateLimit(match=PeerMatch(), limit=limit),))


def test_connections_above_the_rate_are_closed_unread(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(2):
            assert (await lab.request()).status == 200
        async with await lab.connect() as stream:
            try:
                assert await stream.receive_some() == b""
            except trio.BrokenResourceError:
                pass
        assert fleet.calls() == [2]
        listener = next(iter(lab.sidecar.listeners.values()))
        assert listener.plan.connection_limiter is not None
        assert listener.plan.connection_limiter.counts.rate_limited == 1

    run(tmp_path, body, connection_rate=Rate(count=2, interval_s=3600.0))


def test_delay_comes_before_the_abort(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        began_at = trio.current_time()
        response = await lab.request()
        assert (response.status, response.body) == (503, b"fault filter abort")
        assert trio.current_time() - began_at >= 0.1
        record = await lab.record()
        assert (flags(record), record.detail, record.tries) == ("DI,FI", "fault_filter_abort", 0)
        assert fleet.calls() == [0]

    delay, abort = Delay(delay_s=0.1, percent=100.0), Abort(status=503, percent=100.0)
    run(tmp_path, body, faults=(Fault(delay=delay, abort=abort),))


def test_delayed_request_goes_on_with_all_its_time(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request("POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 3\r\n\r\n", b"abc")
        assert response.status == 200
        # As recorded from Envoy: the delay is not the upstream's.
        assert int(response.headers["x-envoy-upstream-service-time"]) < 100
        assert fleet.one().calls[0].body == b"abc"
        assert flags(await lab.record()) == "DI"

    faults = (Fault(delay=Delay(delay_s=0.2, percent=100.0)),)
    run(tmp_path, body, faults=faults, timeouts=Timeouts(request_s=0.15))


def test_client_that_leaves_ends_its_delay(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        stream = await lab.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
        await trio.sleep(0.05)
        listener = next(iter(lab.sidecar.listeners.values()))
        counts = listener.plan.handle.faults.injector.counts  # type: ignore[union-attr]
        assert counts.active == 1
        await stream.aclose()
        record = await lab.record()
        assert (record.status, flags(record)) == (0, "DI,DC")
        assert counts.active == 0
        assert fleet.calls() == [0]

    run(tmp_path, body, faults=(Fault(delay=Delay(delay_s=60.0, percent=100.0)),))


def test_answer_comes_at_the_injected_rate(tmp_path: Path) -> None:
    async def large(call: UpstreamCall) -> None:
        await call.answer(200, b"x" * 30_000)

    async def body(lab: Lab, fleet: Fleet) -> None:
        async with await lab.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: svc\r\n\r\n")
            began_at = trio.current_time()
            response = await read_response(stream)
            assert len(response.body) == 30_000
            # Of 100,000 a second, those of one interval go out at once.
            assert 0.2 <= trio.current_time() - began_at <= 0.5
            assert fleet.one().connections == 1
        assert lab.sidecar.clusters[str(fleet.one().address)].breaker.requests == 0

    faults = (Fault(response_bandwidth=ResponseBandwidth(bytes_per_s=100_000.0, percent=100.0)),)
    run(tmp_path, body, large, faults=faults)


def test_callers_have_spans_of_their_own(tmp_path: Path) -> None:
    async def slow(call: UpstreamCall) -> None:
        await trio.sleep(0.3)
        await call.answer()

    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request()
        assert (response.status, response.body) == (504, b"upstream request timeout")

    by_caller = (
        CallerTimeouts(match=PeerMatch(spiffe_id="spiffe://mesh/other"), timeouts=Timeouts(request_s=9.0)),
        CallerTimeouts(match=PeerMatch(), timeouts=Timeouts(request_s=0.1)),
    )
    run(tmp_path, body, slow, caller_timeouts=by_caller)
