"""Pieces of files that the examples of codes share: two proxies and the call between them, an identity for all."""

_CALL = "{port: 10001, backendRef: {kind: MeshService, name: backend, port: 8080}}"

WEB = f"""
{{type: Dataplane, name: web-1, labels: {{kuma.io/workload: web}}, networking: {{address: 10.0.0.1, outbound: [{_CALL}]}}}}
---
"""

IDENTITY = """
type: MeshIdentity
name: everybody
spec:
  selector: {dataplane: {matchLabels: {}}}
  provider: {type: Bundled, bundled: {insecureAllowSelfSigned: true, autogenerate: {enabled: true}}}
---
"""

MEMBERS = """
type: MeshTrafficPermission
name: web-may-call
spec:
  targetRef: {kind: Dataplane, labels: {kuma.io/workload: backend}}
  rules: [{default: {allow: [{spiffeID: {type: Exact, value: "spiffe://default.default.mesh.local/workload/web"}}]}}]
---
"""


def backends(count: int = 2, *, protocol: str = "http") -> str:
    """Write the Dataplanes of a service `backend`."""
    documents = (
        f"""
type: Dataplane
name: backend-{number}
labels: {{kuma.io/workload: backend}}
networking: {{address: 10.0.1.{number}, inbound: [{{port: 8080, servicePort: 8081, protocol: {protocol}}}]}}
---
"""
        for number in range(1, count + 1)
    )
    return "".join(documents)


def policy(kind: str, name: str, spec: str) -> str:
    """Write a policy; `spec` in flow style."""
    return f"\ntype: {kind}\nname: {name}\nspec: {spec}\n---\n"


def towards_all(kind: str, default: str, *, name: str = "all") -> str:
    """Write a policy for what every proxy sends."""
    return policy(kind, name, f"\n  to:\n    - targetRef: {{kind: Mesh}}\n      default: {default}")
