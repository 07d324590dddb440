"""Servers outside the mesh, on real processes: TLS begun by the sidecar, what it refuses and why, and changes under load."""

import base64
import http.client
import json
import shutil
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from installation import Day, Plane, free_port, wait_until

from mesh.identity.authority import Authority, issue_svid
from mesh.model.names import SpiffeId
from mesh.model.security import Svid
from mesh.runtime.real import wall_clock
from mesh.runtime.real.randomness import SystemRandomness

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

RANDOM = SystemRandomness(5).stream("serials")
# Answers with its name, the Host that it was called by, and how many connections it has taken. TLS where a certificate
# is given; clients show one of the CA's where that is given too.
SERVER = """
import http.server, ssl, sys
name, port, certificate, client_ca = sys.argv[1:]
taken = 0
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def setup(self):
        global taken
        taken += 1
        super().setup()
    def do_GET(self):
        body = f"{name} {self.headers['host']} {taken}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""
SERVICES = ("api", "tcp", "stranger", "other-name", "expired", "no-secret", "uninvited")
BREAKER = """
type: MeshCircuitBreaker
name: api
mesh: shop
spec:
  to:
    - targetRef: {kind: MeshExternalService, labels: {kuma.io/display-name: api}}
      default:
        outlierDetection:
          interval: 200ms
          baseEjectionTime: 1s
          maxEjectionPercent: 100
          detectors: {gatewayFailures: {consecutive: 1}}
"""


@attrs.define(eq=False)
class Outside:
    """What is not ours: an authority, servers with its certificates, and a client certificate for us."""

    day: Day
    authority: Authority = attrs.Factory(lambda: new_authority())
    stranger: Authority = attrs.Factory(lambda: new_authority())

    def certificate(self, *names: str, lifetime_s: float = 600.0) -> Svid:
        return issue_svid(
            self.authority,
            SpiffeId("outside", "/one"),
            lifetime_s=lifetime_s,
            now=wall_clock(),
            serial_random=RANDOM,
            names=names,
        )

    def serve(self, name: str, *, own: Svid | None = None, invited_only: bool = False) -> "subprocess.Popen[bytes]":
        folder, certificate = self.day.folder, ""
        (folder / "ca.crt").write_text(self.authority.root_pem)
        if own is not None:
            (folder / f"{name}.pem").write_text(own.chain_pem + own.private_key_pem)
            certificate = str(folder / f"{name}.pem")
        client_ca = str(folder / "ca.crt") if invited_only else ""
        return self.day.start(name, "-c", SERVER, name, str(self.day.port(name)), certificate, client_ca)


def new_authority() -> Authority:
    return Authority.create("outside", now=wall_clock(), serial_random=RANDOM)


def secret(name: str, text: str) -> str:
    return f"type: Secret\nname: {name}\nmesh: shop\ndata: {base64.b64encode(text.encode()).decode()}\n"


def trusting(ca: str, more: str = "") -> str:
    return f"tls: {{enabled: true, verification: {{caCert: {from_secret(ca)}{more}}}}}"


def from_secret(name: str) -> str:
    return f"{{type: Secret, secretRef: {{kind: Secret, name: {name}}}}}"


def external(name: str, ports: list[int], tls: str = "", protocol: str = "http") -> str:
    """Describe a service whose servers are tried in order of their ports in the list."""
    endpoints = ", ".join(f"{{address: localhost, port: {port}, priority: {n}}}" for n, port in enumerate(ports))
    return (
        f"type: MeshExternalService\nname: {name}\nmesh: shop\nspec:\n  match: {{port: 443, protocol: {protocol}}}\n"
        f"  endpoints: [{endpoints}]\n  {tls}\n"
    )


def start_sidecar(day: Day, plane: Plane) -> None:
    outbounds = ", ".join(
        f"{{address: 127.0.0.1, port: {day.port(f'to {name}')}, "
        f"backendRef: {{kind: MeshExternalService, name: {name}, port: 443}}}}"
        for name in SERVICES
    )
    dataplane = day.folder / "web.yaml"
    dataplane.write_text(
        "type: Dataplane\nname: web\nmesh: shop\nlabels: {kuma.io/workload: web}\nnetworking:\n  address: 127.0.0.1\n"
        f"  inbound: [{{port: {day.port('web')}, servicePort: {day.port('web server')}, protocol: http}}]\n"
        f"  outbound: [{outbounds}]\n"
    )
    token = day.folder / "web.token"
    token.write_text(
        day.mesh(
            "generate", "dataplane-token", "--mesh", "shop", "--name", "web", "--workload", "web", "--valid-for=1h"
        )
    )
    day.start(
        "web-sidecar",
        *("-m", "mesh", "sidecar", "--dataplane", str(dataplane), "--token-file", str(token)),
        *("--ca-cert-file", str(plane.data / "ca.pem"), "--admin", f"127.0.0.1:{day.port('admin')}"),
        *("--control-plane", f"https://127.0.0.1:{plane.stream_port}"),
    )


@attrs.define(eq=False)
class Client:
    """The local application: it calls the api on one connection all the time, and remembers what it got."""

    port: int
    answers: list[str] = attrs.Factory(list)
    failed: list[str] = attrs.Factory(list)
    _over: threading.Event = attrs.Factory(threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Client":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self._over.is_set():
            try:
                connection.request("GET", "/", headers={"host": "api.extsvc.mesh.local"})
                response = connection.getresponse()
                body = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
                continue
            (self.answers if response.status == 200 else self.failed).append(body)
            time.sleep(0.005)
        connection.close()


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    day = Day(tmp_path)
    try:
        yield day
    finally:
        day.stop()


def test_servers_outside_the_mesh(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = Outside(day)
    client = outside.certificate("client")
    (day.folder / "client.crt").write_text(client.chain_pem)
    monkeypatch.setenv("CLIENT_KEY", client.private_key_pem)
    first = outside.serve("first", own=outside.certificate("localhost"), invited_only=True)
    outside.serve("second", own=outside.certificate("localhost"), invited_only=True)
    outside.serve("lapsed", own=outside.certificate("localhost", lifetime_s=1.0))
    outside.serve("plain")

    plane = Plane(day.folder / "cp", free_port(), free_port())
    day.start_plane(plane)
    day.use(plane, ca=plane.data / "ca.pem", token=plane.data / "admin.token")
    port = day.port
    shown = (
        f", clientCert: {{type: File, file: {{path: {day.folder}/client.crt}}}}"
        ", clientKey: {type: EnvVar, envVar: {name: CLIENT_KEY}}"
    )
    ca = secret("ca", outside.authority.root_pem)
    resources = [
        "type: Mesh\nname: shop\n",
        ca,
        secret("strange-ca", outside.stranger.root_pem),
        external("api", [port("first"), port("second")], trusting("ca", shown)),
        external("tcp", [port("plain")], protocol="tcp"),
        external("stranger", [port("first")], trusting("strange-ca", shown)),
        external("other-name", [port("first")], trusting("ca", f"{shown}, serverName: other.example.com")),
        external("expired", [port("lapsed")], trusting("ca")),
        external("no-secret", [port("first")], trusting("absent")),
        external("uninvited", [port("first")], trusting("ca")),
        BREAKER,
    ]
    day.mesh("apply", "-f", "-", stdin="---\n".join(resources))
    start_sidecar(day, plane)
    wait_until(lambda: day.curl("api")[0] == 200, timeout_s=20, what="the api is reached")
    # Over HTTP a server is called by its own name; opaque bytes go out as they are.
    assert day.curl("api")[1].startswith(f"first localhost:{port('first')} ")
    assert day.curl("tcp")[1].startswith(f"plain 127.0.0.1:{port('to tcp')} ")

    refusals_are_explained(day)
    changes_elsewhere_touch_nothing(day)
    the_next_server_takes_over(day, outside, first)

    # A CA that is replaced acts at once, also on connections that are open.
    day.mesh("apply", "--wait", "-f", "-", stdin=secret("ca", outside.stranger.root_pem))
    assert day.curl("api")[0] == 503
    day.mesh("apply", "--wait", "-f", "-", stdin=ca)
    wait_until(lambda: day.curl("api")[0] == 200, timeout_s=10, what="the api is trusted again")
    nothing_secret_is_shown(day, plane, outside, client)


def refusals_are_explained(day: Day) -> None:
    reason_by_service = {
        "stranger": "self-signed certificate in certificate chain",
        "other-name": "expected other.example.com, got",
        "expired": "certificate has expired",
        "no-secret": "there is no Secret 'absent'",
        "uninvited": "the peer refused our certificate: certificate required",
    }
    for service in reason_by_service:
        assert day.curl(service)[0] == 503, service
    time.sleep(0.2)  # The access log is written every 100 ms.
    lines = day.log("web-sidecar").splitlines()
    for service, reason in reason_by_service.items():
        told = [line for line in lines if f"cluster={service}.extsvc_443 " in line and "endpoint.tls_failed" in line]
        assert len(told) == 1, f"{service}: three tries, one line; got {told}"
        assert reason in told[0]
        record = next(json.loads(line) for line in lines if f'"cluster":"{service}.extsvc_443"' in line)
        assert reason.replace(" ", "_") in record["details"]
        assert set(record["flags"].split(",")) & {"UF", "UC"}


def changes_elsewhere_touch_nothing(day: Day) -> None:
    with Client(day.port("to api")) as client:
        wait_until(lambda: len(client.answers) > 20, timeout_s=10, what="calls")
        for seconds in (20, 21):
            timeout = (
                f"type: MeshTimeout\nname: all\nmesh: shop\nspec:\n  to:\n"
                f"    - targetRef: {{kind: Mesh}}\n      default: {{http: {{requestTimeout: {seconds}s}}}}\n"
            )
            more = [external(f"more-{seconds}-{n}", [day.port("plain")]) for n in range(50)]
            day.mesh("apply", "--wait", "-f", "-", stdin="---\n".join([timeout, *more]))
        day.mesh("delete", "meshexternalservice", "tcp", "-m", "shop")
    assert client.failed == []
    assert client.answers[-1] == client.answers[0], "the server has taken another connection"


def the_next_server_takes_over(day: Day, outside: Outside, first: "subprocess.Popen[bytes]") -> None:
    with Client(day.port("to api")) as client:
        wait_until(lambda: len(client.answers) > 20, timeout_s=10, what="calls")
        first.kill()
        first.wait()
        wait_until(lambda: client.answers[-1].startswith("second "), timeout_s=10, what="the second answers")
        outside.serve("first", own=outside.certificate("localhost"), invited_only=True)
        wait_until(lambda: client.answers[-1].startswith("first "), timeout_s=10, what="the first is back")
    assert client.failed == []


def nothing_secret_is_shown(day: Day, plane: Plane, outside: Outside, client: Svid) -> None:
    request = urllib.request.Request(
        f"https://127.0.0.1:{plane.api_port}/meshes/shop/dataplanes/web/_config",
        headers={"authorization": f"Bearer {(plane.data / 'admin.token').read_text().strip()}"},
    )
    trust = ssl.create_default_context(cafile=str(plane.data / "ca.pem"))
    with urllib.request.urlopen(request, context=trust, timeout=10) as response:
        shown = {"_config": response.read().decode()}
    with urllib.request.urlopen(f"http://127.0.0.1:{day.port('admin')}/config_dump", timeout=10) as response:
        shown["/config_dump"] = response.read().decode()
    shown |= {log.name: log.read_text() for log in day.folder.glob("*.log")}
    for where, text in shown.items():
        for pem in (client.private_key_pem, outside.authority.root_pem):
            assert pem.splitlines()[2] not in text, where
