"""Control headers over real sockets: who may steer the retries and timeouts of a request, and that they end here."""

from pathlib import Path

import pytest
import trio

from mesh.config.snapshot import Backend, InboundListener, Part, Route
from mesh.model.names import Address
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.control_headers import CONTROL_NAMES
from tests.mesh.proxy.laboratory import Fleet, Lab, UpstreamCall, flags, run_fleet, sick

ROUTES = [Route(name="r", backends=(Backend(cluster="c"),))]
RETRIES = "x-envoy-max-retries: 2\r\nx-envoy-retry-on: 5xx\r\n"


async def slow(call: UpstreamCall) -> None:
    await trio.sleep(0.4)
    await call.answer()


def test_application_beside_us_asks_for_retries(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        for _ in range(2):
            assert (await lab.request(f"GET / HTTP/1.1\r\nhost: svc\r\n{RETRIES}\r\n")).status == 503
        await lab.request()
        assert [(record.tries, flags(record)) for record in lab.records] == [(3, "URX"), (3, "URX"), (1, "")]

    run_fleet(tmp_path, body, {"c": [[sick]]}, routes=ROUTES)


def test_application_beside_us_asks_for_a_shorter_time(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        response = await lab.request("GET / HTTP/1.1\r\nhost: svc\r\nx-envoy-upstream-rq-timeout-ms: 100\r\n\r\n")
        assert (response.status, response.body) == (504, b"upstream request timeout")
        assert b"x-envoy-expected-rq-timeout-ms: 100\r\n" in fleet.one().calls[0].head
        assert (await lab.request()).status == 200

    run_fleet(tmp_path, body, {"c": [[slow]]}, routes=ROUTES)


def test_request_that_comes_from_elsewhere_steers_nothing(tmp_path: Path) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        # As recorded from Envoy: with x-forwarded-for it is no request of the application's own.
        head = f"GET / HTTP/1.1\r\nhost: svc\r\nx-forwarded-for: 1.2.3.4\r\n{RETRIES}\r\n"
        assert (await lab.request(head)).status == 503
        assert (await lab.record()).tries == 1
        assert b"x-forwarded-for: 1.2.3.4" in fleet.one().calls[0].head

    run_fleet(tmp_path, body, {"c": [[sick]]}, routes=ROUTES)


def test_callers_of_an_inbound_steer_nothing(tmp_path: Path) -> None:
    def listeners(port: int, fleet: Fleet) -> list[Part]:
        address = Address("127.0.0.1", port)
        return [
            InboundListener(
                name="in",
                address=address,
                application=fleet.one().address,
                protocol=Protocol.HTTP,
                tls_mode=TlsMode.OFF,
                permissions=None,
            )
        ]

    async def body(lab: Lab, fleet: Fleet) -> None:
        await lab.request(f"GET / HTTP/1.1\r\nhost: svc\r\n{RETRIES}\r\n")
        assert (await lab.record()).tries == 1
        assert b"x-envoy-max-retries" not in fleet.one().calls[0].head

    run_fleet(tmp_path, body, {"c": [[sick]]}, listeners=listeners)


@pytest.mark.parametrize("origin", ["", "x-forwarded-for: 1.2.3.4\r\n"])
def test_control_headers_end_here(tmp_path: Path, origin: str) -> None:
    async def body(lab: Lab, fleet: Fleet) -> None:
        lines = "".join(f"{name.decode().title()}: none\r\n" for name in sorted(CONTROL_NAMES))
        await lab.request(f"GET / HTTP/1.1\r\nhost: svc\r\nx-envoy-other: 1\r\n{origin}{lines}\r\n")
        seen = fleet.one().calls[0].head.lower().split(b"\r\n")
        names = [line.partition(b":")[0] for line in seen]
        assert [name for name in names if name in CONTROL_NAMES - {b"x-envoy-expected-rq-timeout-ms"}] == []
        assert names.count(b"x-envoy-other") == 1

    run_fleet(tmp_path, body, {"c": [[sick]]}, routes=ROUTES)
