"""What references mean: services written and made, routes; the oldest where one is wanted; marked where there is none."""

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.backends import resolve_backends
from mesh.config.destinations import Candidate, Candidates, candidates_of, oldest
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource


def resource(kind: str, name: str, mesh: str = "default", **fields: Any) -> Resource:
    return load_resource({"type": kind, "name": name, "mesh": mesh, **fields}, file="t")


def dataplane(name: str, workload: str, *ports: tuple[int, str], mesh: str = "default") -> Resource:
    inbound = [{"port": port, "servicePort": 1000 + port, **({"name": name} if name else {})} for port, name in ports]
    networking = {"address": "10.0.0.1", "inbound": inbound}
    return resource("Dataplane", name, mesh, labels={"kuma.io/workload": workload}, networking=networking)


def service(name: str, *ports: int, **labels: str) -> Resource:
    return resource("MeshService", name, labels=labels, spec={"ports": [{"port": port} for port in ports]})


def places(candidates: Candidates) -> list[tuple[str, str, list[int]]]:
    return [(candidate.kind, candidate.name, list(candidate.ports)) for candidate in candidates.all]


def test_services_are_made_of_workloads_where_nobody_wrote_them() -> None:
    resources = [
        dataplane("w2", "web", (81, "")),
        dataplane("w1", "web", (80, "http"), (81, "admin")),
        dataplane("b1", "backend", (80, "")),
        dataplane("c1", "calls-only"),
        dataplane("o1", "other", (80, ""), mesh="other"),
        service("backend", 8080),
    ]
    found = candidates_of(resources, mesh="default")
    assert places(found) == [("MeshService", "backend", [8080]), ("MeshService", "web", [80, 81])]
    assert found.all[1].labels["kuma.io/workload"] == found.all[1].labels["kuma.io/display-name"] == "web"
    # Where Dataplanes disagree, the first by name is followed.
    assert found.all[1].ports == {80: "http", 81: "admin"}


def test_a_port_has_a_name_and_a_number() -> None:
    web = Candidate(name="web", labels={}, ports={80: "http", 81: ""})
    assert [web.port_of(section) for section in ("http", "80", "81", "admin", "")] == [80, 80, 81, None, None]
    assert [web.section_of(port) for port in (80, 81, 0)] == ["http", "81", ""]


def test_labels_mean_everything_that_carries_all_of_them() -> None:
    resources = [service("a", 1, app="x"), service("b", 1, app="x", team="t"), service("c", 1, team="t")]
    found = candidates_of(resources, mesh="default")

    def meant(**labels: str) -> list[str]:
        return [candidate.name for candidate in found.meant_by("MeshService", labels)]

    assert meant(app="x") == ["a", "b"]
    assert meant(app="x", team="t") == ["b"]
    assert found.meant_by("MeshHTTPRoute", {"app": "x"}) == ()


candidates = st.builds(
    Candidate, name=st.sampled_from("abcd"), labels=st.just({}), created=st.sampled_from([0.0, 1.0, 2.0])
)


@given(st.lists(candidates, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_the_oldest_is_meant_and_of_equally_old_ones_the_first_by_name(found: list[Candidate]) -> None:
    chosen = oldest(found)
    assert chosen is not None
    assert all((chosen.created, chosen.name) <= (other.created, other.name) for other in found)
    assert oldest(reversed(found)) == chosen


def test_of_none_none_is_the_oldest() -> None:
    nobody: list[Candidate] = []
    assert oldest(nobody) is None


def ref(port: int | None = None, section: str = "", kind: str = "MeshService", **more: Any) -> dict[str, Any]:
    named = {"port": port} if port is not None else {"sectionName": section} if section else {}
    return {"kind": kind, "labels": {"app": "x"}, "weight": 1, **named, **more}


def test_a_backend_with_several_services_is_the_oldest() -> None:
    young, old = (
        attrs.evolve(service(name, 80, app="x"), created=created) for name, created in (("a", 20.0), ("b", 10.0))
    )
    (backend,) = resolve_backends([ref(80, weight=7)], candidates_of([young, old], mesh="default"))
    assert backend.service is not None
    assert (backend.service.name, backend.port, backend.weight, backend.is_resolved) == ("b", 80, 7, True)


@pytest.mark.parametrize(
    ("written", "port"),
    [
        (ref(80), 80),
        (ref(section="80"), 80),
        (ref(section="http"), 80),
        (ref(81), None),
        (ref(section="admin"), None),
        # A port that is not named is none, even where there is but one: it would move once there were two.
        (ref(), None),
    ],
)
def test_a_backend_names_its_port(written: dict[str, Any], port: int | None) -> None:
    spec = {"ports": [{"port": 80, "name": "http"}]}
    found = candidates_of([resource("MeshService", "a", labels={"app": "x"}, spec=spec)], mesh="default")
    (backend,) = resolve_backends([written], found)
    assert backend.port == port
    assert backend.is_resolved is (port is not None)


def test_an_external_service_has_but_one_port() -> None:
    spec = {"match": {"type": "HostnameGenerator", "port": 443}, "endpoints": [{"address": "x.example", "port": 443}]}
    found = candidates_of([resource("MeshExternalService", "a", labels={"app": "x"}, spec=spec)], mesh="default")
    (backend,) = resolve_backends([ref(kind="MeshExternalService")], found)
    assert backend.port == 443


def test_a_backend_that_is_not_there_is_kept_and_marked() -> None:
    found = candidates_of([service("a", 80, app="x")], mesh="default")
    known, unknown = resolve_backends([ref(80), ref(80, labels={"app": "y"})], found)
    assert (known.is_resolved, unknown.is_resolved, unknown.service) == (True, False, None)
    assert unknown.ref["labels"] == {"app": "y"}
