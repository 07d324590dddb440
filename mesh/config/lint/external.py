"""Findings about what lies outside the mesh (TLS to external services, passthrough) and about hostnames. TM601 to TM607."""

from collections.abc import Iterator

from mesh.config.lint.finding import Code, Finding, Place, Severity
from mesh.config.lint.samples import backends, policy
from mesh.config.lint.scene import Scene, found
from mesh.model.traffic import Protocol
from mesh.resources.data_source import DataSourceKind
from mesh.resources.mesh_external_service import MeshExternalService
from mesh.resources.resource import Resource

_HTTPS_PORT = 443


def _service(protocol: str, tls: str = "") -> str:
    begins = f"\n  tls: {tls}" if tls else ""
    return f"""
type: MeshExternalService
name: api
spec:
  match: {{type: HostnameGenerator, port: 443, protocol: {protocol}}}
  endpoints: [{{address: api.example.com, port: 443}}]{begins}
---
"""


def _generator(name: str, template: str) -> str:
    return f"""
type: HostnameGenerator
name: {name}
spec: {{template: "{template}", selector: {{meshService: {{matchLabels: {{}}}}}}}}
---
"""


UNVERIFIED = Code(
    code="TM601",
    title="The certificate of an external service is not verified",
    severity=Severity.WARNING,
    why="SkipCA and SkipAll take any certificate, SkipSAN that of any server of the same authority: whoever is on "
    "the way reads and changes everything, credentials among it.",
    fix="Write mode: Secured, with caCert where the authority is a private one and serverName where the name differs.",
    example=_service("http", "{enabled: true, verification: {mode: SkipAll}}"),
    better=_service("http", "{enabled: true, verification: {mode: Secured}}"),
)
PLAIN_443 = Code(
    code="TM602",
    title="Plain HTTP to port 443",
    severity=Severity.WARNING,
    why="A server on port 443 expects TLS. With protocol: http and tls off the proxy sends it plaintext: 400 Bad "
    "Request, or a closed connection.",
    fix="Write tls: {enabled: true}; or protocol: tcp where the application itself speaks TLS.",
    example=_service("http"),
    better=_service("http", "{enabled: true}"),
)
NO_ENDPOINTS = Code(
    code="TM603",
    title="An external service without endpoints",
    severity=Severity.WARNING,
    why="Nothing finds endpoints for it in this version: every call is answered 503 (UH).",
    fix="Write endpoints: [{address: ..., port: ...}].",
    example="{type: MeshExternalService, name: api, spec: {match: {port: 443, protocol: tcp}}}",
    better=_service("tcp"),
)
NO_SECRET = Code(
    code="TM604",
    title="A Secret that is not there",
    severity=Severity.WARNING,
    why="Without the certificate or key that it names, TLS to the service cannot begin: nothing is sent.",
    fix="Apply the Secret, or correct its name. (Secrets are seldom kept with the other files: ignore the code then.)",
    example=_service(
        "http",
        "{enabled: true, verification: {caCert: {type: Secret, secretRef: {kind: Secret, name: roots}}}}",
    )
    + "{type: Secret, name: root, data: eA==}",
    better=_service(
        "http",
        "{enabled: true, verification: {caCert: {type: Secret, secretRef: {kind: Secret, name: roots}}}}",
    )
    + "{type: Secret, name: roots, data: eA==}",
)
PASSTHROUGH_ALL = Code(
    code="TM605",
    title="Everything outside the mesh may be reached",
    severity=Severity.WARNING,
    why="With passthroughMode: All a workload that is taken over may send what it finds wherever it likes, and a "
    "mistyped host name leaves the mesh unnoticed.",
    fix="Write passthroughMode: Matched with the destinations in appendMatch, or MeshExternalServices.",
    example=policy("MeshPassthrough", "p", "{default: {passthroughMode: All}}"),
    better=policy(
        "MeshPassthrough",
        "p",
        "{default: {passthroughMode: Matched, appendMatch: [{type: Domain, value: example.com, port: 443, protocol: tls}]}}",
    ),
)
SAME_HOSTNAME = Code(
    code="TM606",
    title="Two services are given one hostname",
    severity=Severity.ERROR,
    why="The first by kind and name gets it, the other cannot be reached by it: requests go to the wrong service.",
    fix="Make the template contain what tells the services apart: {{ .DisplayName }}, {{ .Zone }}, or a label.",
    example=backends(1)
    + backends(1).replace("backend", "stock").replace("10.0.1", "10.0.2")
    + _generator("all", "api.mesh.local"),
    better=backends(1)
    + backends(1).replace("backend", "stock").replace("10.0.1", "10.0.2")
    + _generator("all", "{{ .DisplayName }}.mesh.local"),
)
NO_HOSTNAME = Code(
    code="TM607",
    title="A hostname that cannot be made",
    severity=Severity.WARNING,
    why="The template asks for a label that the service lacks, or what comes out is no host name: the service "
    "goes without.",
    fix="Give the services the label, or narrow the generator's selector.",
    example=backends(1) + _generator("all", "{{ .DisplayName }}.{{ .Zone }}.mesh.local"),
    better=backends(1) + _generator("all", "{{ .DisplayName }}.mesh.local"),
)
CODES = (UNVERIFIED, PLAIN_443, NO_ENDPOINTS, NO_SECRET, PASSTHROUGH_ALL, SAME_HOSTNAME, NO_HOSTNAME)


def check(scene: Scene) -> Iterator[Finding]:
    """Look at external services, passthrough and hostnames."""
    secrets = {resource.name for resource in scene.of_kind("Secret")}
    for resource in scene.of_kind("MeshExternalService"):
        yield from _external(resource)
        if secrets:
            yield from _sources(resource, secrets)
    for wide in scene.wide:
        passthrough = wide.of("MeshPassthrough")
        if passthrough.get("passthroughMode") == "All":
            message = "the applications of these proxies may reach every address"
            yield from found(PASSTHROUGH_ALL, message, passthrough.place("passthroughMode"), affects=wide.affects)
    yield from _hostnames(scene)


def _external(resource: Resource) -> Iterator[Finding]:
    spec = resource.spec_as(MeshExternalService)
    if spec.tls is not None and spec.tls.mode != "Secured":
        takes = "a certificate for any name" if spec.tls.mode == "SkipSAN" else "any certificate"
        yield from found(
            UNVERIFIED, f"{spec.tls.mode} takes {takes}", Place(resource, ("spec", "tls", "verification", "mode"))
        )
    if not spec.endpoints:
        yield from found(NO_ENDPOINTS, "it has no endpoints", Place(resource, ("spec",)))
    for number, endpoint in enumerate(spec.endpoints):
        if endpoint.address.port == _HTTPS_PORT and spec.tls is None and spec.protocol is not Protocol.TCP:
            message = f"{spec.protocol.value} goes to {endpoint.address} in plaintext"
            yield from found(PLAIN_443, message, Place(resource, ("spec", "endpoints", number)))


def _sources(resource: Resource, secrets: set[str]) -> Iterator[Finding]:
    tls = resource.spec_as(MeshExternalService).tls
    if tls is None:
        return
    for key, source in (("caCert", tls.ca_cert), ("clientCert", tls.client_cert), ("clientKey", tls.client_key)):
        if source is not None and source.kind is DataSourceKind.SECRET and source.place not in secrets:
            place = Place(resource, ("spec", "tls", "verification", key))
            yield from found(NO_SECRET, f"there is no Secret '{source.place}' in mesh {resource.mesh}", place)


def _hostnames(scene: Scene) -> Iterator[Finding]:
    generators = {resource.name: resource for resource in scene.of_kind("HostnameGenerator")}
    for conflict in scene.index.services.conflicts:
        kind, name = conflict.service
        place = Place(generators[conflict.generator], ("spec", "template"))
        # A name that somebody else has is one; everything else is a template that could not be filled.
        code = SAME_HOSTNAME if conflict.reason.endswith(" has it") else NO_HOSTNAME
        message = f"'{conflict.hostname}': {conflict.reason}"
        yield from found(code, message, place, affects=(f"{kind} {name}",))
