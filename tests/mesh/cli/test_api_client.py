"""The client: every way to fail is put into words that say what to do, and no token is among them."""

import datetime
import http.server
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Mesh
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fake_control_plane import Asked, FakeControlPlane, problem

from mesh.cli.api_client import ApiClient, InvalidParameter, RequestRefused, path_of
from mesh.cli.contexts import Context
from mesh.cli.failures import CommandFailed
from mesh.model.errors import ConfigError

TOKEN = "aaaa.bbbb.cccc"


_clients: list[ApiClient] = []


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while _clients:
        _clients.pop().close()


def client_of(address: str, *, timeout_s: float = 2, **options: str) -> ApiClient:
    client = ApiClient(Context(address=address, **options), timeout_s=timeout_s)
    _clients.append(client)
    return client


def failure(client: ApiClient) -> str:
    with pytest.raises(CommandFailed) as failed:
        client.get("/meshes")
    return str(failed.value)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_nobody_there_says_which_address_and_how_to_start_one() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert failure(client_of(address)) == (
        f"no control plane answers at {address}: connection refused (start one with `mesh control-plane --data DIR`,"
        " or name another: mesh config control-planes add --name NAME --address URL)"
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "not found"),
        (409, "somebody else changed it meanwhile: Conflict (get it again, and apply your change to that)"),
        (412, "somebody else changed it meanwhile: Precondition failed"),
        (418, "the control plane refused: Teapot"),
        (503, "the control plane cannot do it now: Store: away (try again in a moment; its log says more)"),
        (500, "the control plane failed: Bug (its log says more)"),
    ],
)
def test_errors_are_put_into_words(plane: FakeControlPlane, status: int, words: str) -> None:
    title, _, detail = words.partition(": ")[2].partition(" (")[0].partition(": ")
    plane.answer("GET", "/meshes", problem(status, title, detail), status=status)
    assert failure(client_of(plane.address)).startswith(words)


@pytest.mark.parametrize(
    ("status", "title", "words"),
    [
        (401, "Unauthorized", "the control plane does not know who is asking: why (show a user token:"),
        (403, "Access Denied", "this is not allowed to you: why (ask somebody of the group mesh-system:admin"),
        (404, "Could not retrieve a resource", "not found: why"),
    ],
)
def test_titles_that_say_what_our_words_say_are_left_out(
    plane: FakeControlPlane, status: int, title: str, words: str
) -> None:
    plane.answer("GET", "/meshes", problem(status, title, "why"), status=status)
    assert failure(client_of(plane.address)).startswith(words)


def test_what_is_invalid_is_said_where_it_has_no_place_in_a_file(mesh: Mesh, plane: FakeControlPlane) -> None:
    reason = "Mesh 'shop': cannot be deleted: there are Dataplanes in it: web-1 (stop their sidecars first)"
    answer = problem(400, "Could not process a resource", "not valid", invalid_parameters=[{"reason": reason}])
    plane.answer("DELETE", "/meshes/shop", answer, status=400)
    assert mesh("delete", "mesh", "shop").errors == [f"the control plane refused: {reason}"]


def test_port_for_sidecars_is_no_api(plane: FakeControlPlane) -> None:
    plane.answer("GET", "/meshes", "", status=400)
    assert failure(client_of(plane.address)) == (
        f"what answers at {plane.address} is not a control plane's API"
        " (its API is on 5681 (http) and 5682 (https); 5678 is for sidecars)"
    )


def test_error_that_is_no_json_is_still_an_error(plane: FakeControlPlane) -> None:
    plane.answer("GET", "/meshes", "<html>bad gateway</html>", status=502)
    assert (
        failure(client_of(plane.address)) == f"the control plane failed (502 from {plane.address}) (its log says more)"
    )
    plane.answer("GET", "/meshes", "<html>welcome</html>")
    assert "is not a control plane's API" in failure(client_of(plane.address))


@pytest.mark.parametrize("key", ["invalid_parameters", "causes"])
def test_what_is_invalid_is_read_in_both_spellings(plane: FakeControlPlane, key: str) -> None:
    items: Any = [{"field": "spec.to", "reason": "no", "message": "no"}]
    plane.answer("POST", "/apply", problem(400, "Invalid", **{key: items}), status=400)
    with pytest.raises(RequestRefused) as refused:
        client_of(plane.address).post("/apply", {})
    assert (refused.value.status, refused.value.invalid) == (400, (InvalidParameter("spec.to", "no"),))


def test_pages_are_followed_but_not_their_links(plane: FakeControlPlane) -> None:
    items = [{"name": f"m{number}"} for number in range(1203)]
    plane.list_of("/meshes", items)
    assert list(client_of(plane.address).items("/meshes")) == items
    assert [asked.query["offset"] for asked in plane.asked] == ["0", "500", "1000"]


def test_redirection_is_not_followed_with_the_token(plane: FakeControlPlane) -> None:
    plane.answer("GET", "/meshes", {}, status=302)
    assert "sends us on to elsewhere" in failure(client_of(plane.address, token=TOKEN))
    assert len(plane.asked) == 1


def test_names_are_quoted_in_paths(plane: FakeControlPlane) -> None:
    assert path_of("meshes", "a/b", "x y?") == "/meshes/a%2Fb/x%20y%3F"
    plane.answer("GET", "/meshes/a%2Fb", {})
    assert client_of(plane.address).get(path_of("meshes", "a/b")) == {}


def test_address_may_have_a_path(plane: FakeControlPlane) -> None:
    plane.answer("GET", "/cp/meshes", {"items": []})
    assert client_of(f"{plane.address}/cp").get("/meshes") == {"items": []}


def test_one_connection_serves_many_requests_and_survives_its_end(plane: FakeControlPlane) -> None:
    def end_after(asked: Asked) -> tuple[int, object]:
        return 200, {}

    plane.handle("GET", "/meshes", end_after)
    client = client_of(plane.address)
    client.get("/meshes")
    first = client._connection
    client.get("/meshes")
    assert client._connection is first
    assert first is not None
    first.sock.shutdown(socket.SHUT_RDWR)  # As a server does that closes idle connections.
    assert client.get("/meshes") == {}


def test_token_stands_in_no_representation_or_message(plane: FakeControlPlane, tmp_path: Path) -> None:
    context = Context(address=plane.address, token=TOKEN)
    assert TOKEN not in repr(context)
    assert TOKEN not in failure(client_of(plane.address, token=TOKEN))
    (tmp_path / "token").write_text("two words")
    with pytest.raises(ConfigError, match="this is not a token"):
        client_of(plane.address, token_file=str(tmp_path / "token"))
    with pytest.raises(ConfigError, match="cannot read the token: No such file"):
        client_of(plane.address, token_file=str(tmp_path / "none"))


def test_silence_is_bounded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert (
            failure(client_of(address, timeout_s=0.05))
            == f"the control plane at {address} did not answer within 0.05 s"
        )


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[str]:
    """A TLS server for 127.0.0.1 whose certificate is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "ca.pem").write_bytes(pem)
    (tmp_path / "chain.pem").write_bytes(pem + key_pem)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that do not trust us are part of the test."""

    with Server(("127.0.0.1", 0), Handler) as server:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(tmp_path / "chain.pem")
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_control_plane_is_recognised_by_its_own_authority(tls_server: str, tmp_path: Path) -> None:
    assert client_of(f"https://{tls_server}", ca_cert_file=str(tmp_path / "ca.pem")).get("/meshes") == {}
    unknown = failure(client_of(f"https://{tls_server}", name="prod"))
    assert "is not vouched for by this machine's authorities" in unknown
    again = f"mesh config control-planes add --overwrite --name prod --address https://{tls_server}"
    assert unknown.endswith(f"(name the control plane's ca.pem: {again} --ca-cert-file FILE)")
    (tmp_path / "ca.pem").write_text("junk")
    with pytest.raises(ConfigError, match=r"ca\.pem: cannot read the control plane's CA certificate: no certificate"):
        client_of(f"https://{tls_server}", ca_cert_file=str(tmp_path / "ca.pem")).get("/")


def test_http_and_https_taken_for_one_another_are_named(plane: FakeControlPlane, tls_server: str) -> None:
    https_to_plain = failure(client_of(plane.address.replace("http:", "https:")))
    assert "does not speak TLS (write http://" in https_to_plain
    assert "(write https:// if it is the TLS port, 5682)" in failure(client_of(f"http://{tls_server}"))
