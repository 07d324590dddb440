"""Findings: joined, suppressed, and each with all documents that it came from."""

from mesh.config.lint.engine import lint
from mesh.config.lint.finding import Finding
from mesh.resources.loading import load_resources
from mesh.resources.resource import Resource


def caller(name: str, workload: str) -> str:
    ref = "{kind: MeshService, name: x, port: 80}"
    address = f"10.0.{len(workload)}.{ord(name[0]) + int(name[-1])}"
    return f"""
type: Dataplane
name: {name}
labels: {{kuma.io/workload: {workload}}}
networking: {{address: {address}, outbound: [{{port: 1, backendRef: {ref}}}]}}
---
"""


CALLEE = """
type: Dataplane
name: x-1
labels: {kuma.io/workload: x}
networking: {address: 10.0.0.4, inbound: [{port: 80, servicePort: 81, protocol: http}]}
---
"""
CALLERS = caller("a-1", "a") + caller("b-1", "b") + caller("b-2", "b") + CALLEE
TRIES = """
{type: MeshRetry, name: tries, spec: {to: [{targetRef: {kind: Mesh}, default: {http: {perTryTimeout: 9s}}}]}}
---
"""
SHORT = """
{type: MeshTimeout, name: short, spec: {to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 8s}}}]}}
---
"""


def load(text: str) -> list[Resource]:
    return load_resources({"f.yaml": text})


def of_code(code: str, text: str) -> list[Finding]:
    return [finding for finding in lint(load(text)) if finding.code.code == code]


def test_one_mistake_is_one_finding_that_names_all_whom_it_affects() -> None:
    (finding,) = of_code("TM101", CALLERS + TRIES + SHORT)
    assert finding.affects == ("a -> x:80", "b -> x:80")


def test_finding_names_the_documents_that_it_comes_from() -> None:
    (finding,) = of_code("TM101", CALLERS + TRIES + SHORT)
    assert str(finding.place) == "MeshRetry/tries spec.to[0].default.http.perTryTimeout"
    assert [str(place) for place in finding.others] == ["MeshTimeout/short spec.to[0].default.http.requestTimeout"]


def test_settings_are_judged_as_they_are_merged() -> None:
    """A stronger policy for one caller mends what is wrong for it, and for it alone."""
    stronger = """
type: MeshTimeout
name: long
spec:
  targetRef: {kind: Dataplane, labels: {kuma.io/workload: b}}
  to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 20s}}}]
"""
    (finding,) = of_code("TM101", CALLERS + TRIES + SHORT + stronger)
    assert finding.affects == ("a -> x:80",)


def test_files_without_dataplanes_are_judged_for_whom_they_name() -> None:
    (finding,) = of_code("TM101", TRIES + SHORT)
    assert finding.affects == ()


def test_defaults_that_nobody_wrote_are_no_finding() -> None:
    assert lint(load(CALLERS)) == ()


def test_label_suppresses_codes_of_its_resource() -> None:
    labelled = TRIES.replace("name: tries,", "name: tries, labels: {mesh.io/ignore: 'TM102, tm101'},")
    assert of_code("TM101", CALLERS + labelled + SHORT) == []
    other = SHORT.replace("name: short,", "name: short, labels: {mesh.io/ignore: TM101},")
    assert len(of_code("TM101", CALLERS + TRIES + other)) == 1


def test_meshes_do_not_see_one_another() -> None:
    elsewhere = SHORT.replace("name: short,", "name: short, mesh: other,")
    assert of_code("TM101", TRIES + elsewhere) == []


def test_shadow_policies_do_not_count() -> None:
    shadow = SHORT.replace("name: short,", "name: short, labels: {kuma.io/effect: shadow},")
    assert of_code("TM101", TRIES + shadow) == []


def test_findings_do_not_depend_on_the_order_of_documents() -> None:
    resources = load(CALLERS + TRIES + SHORT)
    assert lint(resources) == lint(resources[::-1])


def route(name: str, status: int) -> str:
    return f"""
type: MeshHTTPRoute
name: {name}
spec:
  to:
    - targetRef: {{kind: MeshService, labels: {{kuma.io/display-name: x}}}}
      rules:
        - matches: [{{path: {{type: Exact, value: /old}}}}]
          default: {{filters: [{{type: RequestRedirect, requestRedirect: {{statusCode: {status}}}}}]}}
---
"""


def test_rules_of_routes_meet_by_their_matches() -> None:
    (tie,) = of_code("TM411", CALLERS + route("r1", 301) + route("r2", 302))
    assert str(tie.place) == "MeshHTTPRoute/r2 spec.to[0]"
    assert [str(place) for place in tie.others] == ["MeshHTTPRoute/r1 spec.to[0]"]
    (shadowed,) = of_code("TM409", CALLERS + route("r1", 301) + route("r2", 302))
    assert shadowed.message == "every rule is replaced wherever it would count, by MeshHTTPRoute/r1"


def test_same_resource_in_kubernetes_form_is_found_with_its_line() -> None:
    text = """
apiVersion: kuma.io/v1alpha1
kind: MeshRetry
metadata: {name: tries, namespace: kuma-system, labels: {kuma.io/mesh: default}}
spec: {to: [{targetRef: {kind: Mesh}, default: {http: {perTryTimeout: 9s}}}]}
---
"""
    (finding,) = of_code("TM101", CALLERS + text + SHORT)
    assert finding.place.resource.source.line > 1


def test_nothing_is_found_in_nothing() -> None:
    assert lint([]) == ()
