"""A document that somebody damaged is refused with places, or taken and written again the same; nothing else happens."""

import copy
from pathlib import Path as FilePath
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.errors import ConfigError
from mesh.resources.documents import Path, load_documents
from mesh.resources.loading import load_resource, load_values
from mesh.resources.writing import kubernetes, universal

FILE = FilePath(__file__).parent / "data" / "every_kind.yaml"
DOCUMENTS = load_documents(FILE.read_text(encoding="utf-8"), file=FILE.name)
KUBERNETES = [kubernetes(load_resource(document.data, file="f")) for document in DOCUMENTS]

# What stood there in 2.14, or what nobody ever meant.
TAGS = {"kuma.io/service": "web", "kuma.io/protocol": "http"}
ODD_KEYS = {
    "from": [{"targetRef": {"kind": "MeshSubset", "tags": TAGS}, "default": {"action": "Allow"}}, {}],
    "mtls": {"enabledBackend": "a", "backends": [{"name": "a", "type": "builtin"}, 3]},
    "tags": TAGS,
    "targetRef": {"kind": "MeshService", "name": "a_b_svc_80", "proxyTypes": ["Sidecar"]},
    "reachableServices": ["a"],
    "dataplaneTags": TAGS,
    "endpoint": "otel:4317",
    "hashPolicies": [{"type": "SourceIP"}],
    "name": "x",
    "nobody": None,
}
JUNK = (None, True, 0, -1, 2.5, "", "x", "1s", "SourceIP", "MeshSubset", [], [None], [{}], {}, {"a": {}}, {"kind": 1})


def put(data: Any, path: Path, value: Any) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


def paths(data: Any, path: Path = ()) -> list[Path]:
    below = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(one for key, value in below for one in paths(value, (*path, key)))]


def at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    documents = [document.data for document in DOCUMENTS] + KUBERNETES
    data: Any = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 3))):
        places = paths(data)[1:]
        place = draw(st.sampled_from(places))
        value = at(data, place)
        if isinstance(value, dict) and draw(st.booleans()):
            key = draw(st.sampled_from(sorted(ODD_KEYS)))
            value[key] = copy.deepcopy(ODD_KEYS[key])
        else:
            put(data, place, copy.deepcopy(draw(st.sampled_from(JUNK))))
    return data


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_damaged_documents_are_refused_or_right(data: Any) -> None:
    before = copy.deepcopy(data)
    try:
        resources = load_values([data], file="f")
    except ConfigError:
        resources = []
    assert data == before, "what was given stays as it is"
    for resource in resources:
        again = load_resource(universal(resource), file="again")
        assert again == resource and universal(again) == universal(resource)
