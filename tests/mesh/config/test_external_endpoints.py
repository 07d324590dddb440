"""How the endpoints of services outside the mesh are called."""

import pytest

from mesh.config.external_services import external_service
from mesh.resources.loading import load_resource


@pytest.mark.parametrize(
    ("address", "port", "https", "hostname"),
    [
        ("api.example.com", 443, True, "api.example.com"),
        ("api.example.com", 443, False, "api.example.com:443"),
        ("api.example.com", 80, False, "api.example.com"),
        ("api.example.com", 8443, True, "api.example.com:8443"),
        ("192.0.2.7", 443, True, "192.0.2.7"),
        ("2001:db8::7", 443, True, "[2001:db8::7]"),
        ("2001:db8::443", 8443, True, "[2001:db8::443]:8443"),
    ],
)
def test_a_server_is_called_as_its_own_clients_call_it(address: str, port: int, https: bool, hostname: str) -> None:
    spec = {
        "match": {"port": 443, "protocol": "http"},
        "endpoints": [{"address": address, "port": port}],
        "tls": {"enabled": https},
    }
    written = {"type": "MeshExternalService", "mesh": "default", "name": "api", "spec": spec}
    service = external_service(load_resource(written, file="api.yaml"), {})
    assert [endpoint.hostname for endpoint in service.endpoints_by_port[443]] == [hostname]
