"""What `mesh check` says of routes, beside the example of each code."""

from mesh.config.lint.engine import lint
from mesh.config.lint.samples import WEB, backends
from mesh.resources.loading import load_resources

ROUTE = """
type: MeshHTTPRoute
name: r
spec:
  to:
    - targetRef: {kind: MeshService, labels: {kuma.io/display-name: backend}}
      rules:
        - matches: [{path: {type: PathPrefix, value: /}}]
          default: {backendRefs: [{kind: MeshService, labels: {kuma.io/display-name: backend}}]}
"""


def messages(text: str, code: str) -> list[str]:
    return [finding.message for finding in lint(load_resources({"f.yaml": text})) if finding.code.code == code]


def test_a_backend_named_without_a_port_is_an_error() -> None:
    assert messages(WEB + backends() + ROUTE, "TM701") == ["MeshService backend is named without a port; it has 8080"]


def test_an_http_route_towards_grpc_has_no_effect_yet() -> None:
    assert messages(WEB + backends(protocol="grpc") + ROUTE, "TM705") == [
        "port backend:8080 is grpc: nothing is read there"
    ]
    assert messages(WEB + backends() + ROUTE, "TM705") == []
