"""Kubernetes' form is read as the universal one, with places and paths of what was written."""

from typing import Any

import pytest

from mesh.model.errors import ConfigError
from mesh.resources.dataplane import Dataplane
from mesh.resources.loading import load_resource, load_resources
from mesh.resources.resource import Resource
from mesh.resources.secret import Secret
from mesh.resources.writing import kubernetes, universal


def read(text: str) -> Resource:
    (resource,) = load_resources({"k.yaml": text})
    return resource


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_resources({"k.yaml": text})
    return [str(violation) for violation in caught.value.violations]


TIMEOUT = """
apiVersion: kuma.io/v1alpha1
kind: MeshTimeout
metadata:
  name: all
  namespace: kuma-system
  labels: {kuma.io/mesh: retail, team: a}
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}
  creationTimestamp: "2026-01-01T00:00:00Z"
spec:
  to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 5s}}}]
"""


def test_metadata_is_the_envelope() -> None:
    resource = read(TIMEOUT)
    assert resource.key == ("MeshTimeout", "retail", "all")
    assert resource.labels == {"team": "a", "k8s.kuma.io/namespace": "kuma-system"}
    assert (resource.created, resource.warnings, resource.source.line) == (1767225600.0, (), 2)
    assert universal(resource) == {
        "type": "MeshTimeout",
        "mesh": "retail",
        "name": "all",
        "labels": {"team": "a", "k8s.kuma.io/namespace": "kuma-system"},
        "creationTime": "2026-01-01T00:00:00Z",
        "spec": {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"requestTimeout": "5s"}}}]},
    }
    assert kubernetes(resource)["metadata"] == {
        "name": "all",
        "namespace": "kuma-system",
        "labels": {"team": "a", "kuma.io/mesh": "retail"},
    }


def test_without_a_label_the_mesh_is_an_annotation_or_the_default() -> None:
    assert read(TIMEOUT.replace("kuma.io/mesh: retail, ", "")).mesh == "default"
    annotated = TIMEOUT.replace("kuma.io/mesh: retail, ", "").replace(
        "annotations: {", "annotations: {kuma.io/mesh: x, "
    )
    assert read(annotated).mesh == "x"


def test_kinds_with_their_fields_at_the_top_have_a_spec_here() -> None:
    mesh = read(
        "{apiVersion: kuma.io/v1alpha1, kind: Mesh, metadata: {name: m}, spec: {skipCreatingInitialPolicies: ['*']}}"
    )
    assert universal(mesh) == {"type": "Mesh", "name": "m", "skipCreatingInitialPolicies": ["*"]}
    dataplane = read("""
apiVersion: kuma.io/v1alpha1
kind: Dataplane
mesh: retail
metadata: {name: d, labels: {kuma.io/workload: web}}
spec: {networking: {address: 10.0.0.1, inbound: [{port: 80, servicePort: 81}]}}
""")
    assert dataplane.mesh == "retail" and dataplane.spec_as(Dataplane).inbounds[0].port == 80
    zone = read("{apiVersion: kuma.io/v1alpha1, kind: Zone, metadata: {name: east}, spec: {enabled: false}}")
    assert zone.written["enabled"] is False


def test_secrets_are_kubernetes_own() -> None:
    secret = read("""
apiVersion: v1
kind: Secret
metadata: {name: ca, namespace: kuma-system, labels: {kuma.io/mesh: retail}}
data: {value: c2VjcmV0}
type: system.kuma.io/secret
""")
    assert (secret.kind, secret.mesh, secret.spec) == ("Secret", "retail", Secret(data=b"secret"))
    assert load_resource(kubernetes(secret), file="k8s") == secret
    assert refused("{apiVersion: v1, kind: Secret, metadata: {name: x}, type: Opaque, data: {value: c2VjcmV0}}") == [
        "k.yaml:1:53: type: not a Secret of Kuma's (type is one of system.kuma.io/secret, system.kuma.io/global-secret)"
    ]


def test_what_is_wrong_is_named_as_it_was_written() -> None:
    text = """
apiVersion: kuma.io/v1
kind: Mesh
metadata: {name: M, labels: [a]}
spec: {skipCreatingInitialPolicies: 1}
extra: {}
"""
    assert [found.partition(" (")[0] for found in refused(text)] == [
        "k.yaml:2:1: apiVersion: unknown apiVersion 'kuma.io/v1'",
        "k.yaml:4:12: metadata.name: expects a name of lower case letters, digits and '-', starting with a letter, got 'M'",
        "k.yaml:4:21: metadata.labels: expects a mapping of labels, got a list",
        "k.yaml:5:8: spec.skipCreatingInitialPolicies: expects a list, each item a kind of policy, or '*', got the number 1",
        "k.yaml:6:1: extra: unknown key 'extra'",
    ]
    assert "kind MeshGateway is gone since Kuma 3.0" in refused("{apiVersion: kuma.io/v1alpha1, kind: MeshGateway}")[-1]


def test_spellings_of_2_14_are_rewritten_here_too() -> None:
    document: Any = kubernetes(read(TIMEOUT))
    document["spec"]["to"][0]["targetRef"] = {"kind": "MeshService", "name": "db_demo_svc_5432"}
    resource = load_resource(document, file="k8s")
    assert str(resource.warnings[0]).startswith("k8s: spec.to[0].targetRef.name: 'name' in a reference is gone")
    assert resource.written["type"] == "MeshTimeout" and "apiVersion" not in resource.written
