"""Resources written again, in Kuma's universal form or in Kubernetes', with values as Kuma re-marshals them.

The inverse of `loading`.
Spans become canonical (`111s` -> `1m51s`), a backendRef's weight is written out, keys stand in Kuma's order; nothing
else is added or left out.
"""

from mesh.resources.documents import Value
from mesh.resources.kubernetes import API_VERSION, SECRET_TYPE_BY_KIND
from mesh.resources.registry import KIND_BY_NAME
from mesh.resources.resource import MESH, NAMESPACE, SERVER_FIELDS, Resource
from mesh.resources.times import format_time

_ENVELOPE = ("type", "mesh", "name", "labels", *SERVER_FIELDS)


def universal(resource: Resource, *, created: float = 0.0, modified: float = 0.0) -> dict[str, Value]:
    """Return a resource as one document in Kuma's universal form, for JSON or YAML.

    `created` and `modified` are what a store knows, in seconds since the epoch; otherwise what was read stands.
    """
    kind = KIND_BY_NAME[resource.kind]
    written = resource.written
    document: dict[str, Value] = {"type": resource.kind}
    if kind.mesh_scoped:
        document["mesh"] = resource.mesh
    document["name"] = resource.name
    if resource.labels:
        document["labels"] = dict(resource.labels)
    times = {"creationTime": created or resource.created, "modificationTime": modified}
    for name, instant in times.items():
        if instant or name in written:
            document[name] = format_time(instant) if instant else written[name]
    spec = canonical_spec(resource)
    document |= spec if kind.inline else {"spec": spec}
    if kind.generated and "status" in written:
        document["status"] = written["status"]
    return document


def canonical_spec(resource: Resource) -> dict[str, Value]:
    """Return the spec (the inline fields of the old kinds) as Kuma writes it again."""
    kind = KIND_BY_NAME[resource.kind]
    written = resource.written
    own = {key: value for key, value in written.items() if key not in _ENVELOPE} if kind.inline else written.get("spec")
    spec = kind.spec.canonical(own if own is not None else {})
    assert isinstance(spec, dict), "a spec that was read is a mapping"
    return spec


def kubernetes(resource: Resource) -> dict[str, Value]:
    """Return a resource as one document in Kubernetes' form; its namespace is its label `k8s.kuma.io/namespace`."""
    kind = KIND_BY_NAME[resource.kind]
    labels = {key: value for key, value in resource.labels.items() if key != NAMESPACE}
    metadata: dict[str, Value] = {"name": resource.name}
    if NAMESPACE in resource.labels:
        metadata["namespace"] = resource.labels[NAMESPACE]
    if kind.mesh_scoped:
        labels[MESH] = resource.mesh
    if labels:
        metadata["labels"] = dict(labels)
    spec = canonical_spec(resource)
    if resource.kind in SECRET_TYPE_BY_KIND:
        head: dict[str, Value] = {"apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE_BY_KIND[resource.kind]}
        return {**head, "metadata": metadata, "data": {"value": spec["data"]}}
    return {"apiVersion": API_VERSION, "kind": resource.kind, "metadata": metadata, "spec": spec}
