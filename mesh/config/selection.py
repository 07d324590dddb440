"""Selection by labels without looking at everything: who carries some labels, and who selects by them.

The indexes are values: an update shares what stays with the index before it. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import attrs

Label = tuple[str, str]
K = TypeVar("K")
V = TypeVar("V")


@attrs.frozen(eq=False)
class Inverted(Generic[K, V]):
    """Which names have a value, from which values a name has. Names come in no order: whoever takes them out sorts them."""

    values_by_name: Mapping[K, Iterable[V]] = attrs.field(factory=dict)
    names_by_value: Mapping[V, Mapping[K, None]] = attrs.field(factory=dict)

    def updated(self, changes: Mapping[K, Iterable[V] | None]) -> "Inverted[K, V]":
        """Return the index after some names got other values, or (None) went."""
        if not changes:
            return self
        values_by_name, names_by_value = dict(self.values_by_name), dict(self.names_by_value)
        copied: dict[V, dict[K, None]] = {}
        for name, values in changes.items():
            for value in values_by_name.pop(name, ()):
                _copy(value, names_by_value, copied).pop(name, None)
            if values is not None:
                values_by_name[name] = values
                for value in values:
                    _copy(value, names_by_value, copied)[name] = None
        for value, names in copied.items():
            if names:
                names_by_value[value] = names
            else:
                names_by_value.pop(value, None)
        return Inverted(values_by_name, names_by_value)

    def names(self, value: V) -> Mapping[K, None]:
        return self.names_by_value.get(value, {})


def _copy(value: V, source: Mapping[V, Mapping[K, None]], copied: dict[V, dict[K, None]]) -> dict[K, None]:
    """Return our own copy of the names of a value, made at the first call."""
    if value not in copied:
        copied[value] = dict(source.get(value, {}))
    return copied[value]


@attrs.frozen(eq=False)
class Carriers(Generic[K]):
    """Names by the labels that they carry."""

    labels_by_name: Mapping[K, Mapping[str, str]] = attrs.field(factory=dict)
    _names: Inverted[K, Label] = attrs.field(factory=Inverted)

    def updated(self, changes: Mapping[K, Mapping[str, str] | None]) -> "Carriers[K]":
        """Return the index after some names got other labels, or (None) went."""
        if not changes:
            return self
        labels_by_name = dict(self.labels_by_name)
        for name, labels in changes.items():
            if labels is None:
                labels_by_name.pop(name, None)
            else:
                labels_by_name[name] = labels
        values = {name: None if labels is None else labels.items() for name, labels in changes.items()}
        return Carriers(labels_by_name, self._names.updated(values))

    def matching(self, labels: Mapping[str, str]) -> Iterator[K]:
        """Yield the names that carry all of `labels`; none at all are carried by everybody."""
        if not labels:
            yield from self.labels_by_name
            return
        # The rarest label leaves the fewest to look at.
        for name in min((self._names.names(label) for label in labels.items()), key=len):
            carried = self.labels_by_name[name]
            if all(carried.get(key) == value for key, value in labels.items()):
                yield name


@attrs.frozen(eq=False)
class Selectors(Generic[K]):
    """Those who select by labels, found from the labels of what may be selected. Labels None select nothing."""

    _labels_by_name: Mapping[K, Mapping[str, str]] = attrs.field(factory=dict)
    _names_by_label: Mapping[Label, tuple[K, ...]] = attrs.field(factory=dict)
    _unlabelled: tuple[K, ...] = ()

    @classmethod
    def of(cls, selectors: Mapping[K, Mapping[str, str] | None]) -> "Selectors[K]":
        labels_by_name = {name: labels for name, labels in selectors.items() if labels is not None}
        names_by_label: dict[Label, list[K]] = {}
        for name, labels in labels_by_name.items():
            if labels:
                # One label is enough to be found by; `selecting` compares all.
                names_by_label.setdefault(min(labels.items()), []).append(name)
        unlabelled = tuple(name for name, labels in labels_by_name.items() if not labels)
        return cls(labels_by_name, {label: tuple(names) for label, names in names_by_label.items()}, unlabelled)

    def selecting(self, carried: Mapping[str, str]) -> Iterator[K]:
        """Yield the names of those who select what carries these labels."""
        yield from self._unlabelled
        for label in carried.items():
            for name in self._names_by_label.get(label, ()):
                if all(carried.get(key) == value for key, value in self._labels_by_name[name].items()):
                    yield name
