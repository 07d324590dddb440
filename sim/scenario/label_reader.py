"""Reads `labels` of services and workloads: what their Dataplanes carry besides workload and zone."""

from sim.scenario.reading import Cursor

_OURS = ("kuma.io/workload", "kuma.io/zone")


def read_labels(cursor: Cursor) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Read `{key: value}` or `{key: [first instance's, second's, ...]}`; what is no label is refused with the Dataplanes."""
    labels = []
    for key, entry in cursor.entries().items():
        if key in _OURS:
            entry.refuse(f"'{key}' follows from where the instance stands")
        values = tuple(element.text() for element in entry.elements()) if isinstance(entry.value, list) else ()
        if isinstance(entry.value, list) and not values:
            entry.refuse("must have at least one value")
        labels.append((key, values or ((entry.text(),) if isinstance(entry.value, str) else ("",))))
        if not isinstance(entry.value, str | list):
            entry.refuse_type("text, or a list with one for each instance")
    return tuple(labels)
