"""Settings after merging, and who wrote each of them: matched and merged by the code that the control plane uses. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from mesh.config.lint.finding import Place
from mesh.config.merging import merge
from mesh.resources.policy import Conf

Keys = tuple[str, ...]


@attrs.frozen(eq=False)
class Contribution:
    """One item or rule of a policy that counts somewhere. Where `rank` is equal, the names of the policies decide."""

    place: Place
    conf: Conf
    rank: tuple[int, ...]

    def place_of(self, keys: Keys) -> Place:
        """Return where it writes a setting."""
        return Place(self.place.resource, (*self.place.path, "default", *keys))


@attrs.define(eq=False)
class Effective:
    """Settings merged from contributions, the strongest last."""

    contributions: tuple[Contribution, ...] = ()
    conf: Conf = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.conf = merge(contribution.conf for contribution in self.contributions)

    def get(self, *keys: str, default: Any = None) -> Any:
        """Return one setting, or `default` where nobody wrote it."""
        return look_up(self.conf, keys, default)

    def place(self, *keys: str) -> Place | None:
        """Return where a setting comes from: the strongest contribution that writes it; None where nobody does."""
        for contribution in reversed(self.contributions):
            if look_up(contribution.conf, keys, _ABSENT) is not _ABSENT:
                return contribution.place_of(keys)
        return None

    def surviving(self) -> Iterator[tuple[Contribution, tuple[Keys, ...]]]:
        """Yield each contribution with those of its settings that no stronger one replaces."""
        replaced: set[Keys] = set()
        for contribution in reversed(self.contributions):
            own = tuple(keys for keys, _ in leaves(contribution.conf))
            yield contribution, tuple(keys for keys in own if keys not in replaced)
            replaced.update(keys for keys in own if not keys[-1].startswith("append"))

    def decided_by_name(self) -> Iterator[tuple[Keys, Contribution, Contribution]]:
        """Yield settings for which two policies of one rank want different things: the setting, who wins, who loses."""
        decided: dict[Keys, Contribution] = {}
        reported: set[Keys] = set()
        for contribution in reversed(self.contributions):
            for keys, value in leaves(contribution.conf):
                winner = decided.setdefault(keys, contribution)
                tie = winner.rank == contribution.rank and winner.place.resource is not contribution.place.resource
                if tie and keys not in reported and look_up(winner.conf, keys, None) != value:
                    reported.add(keys)
                    yield keys, winner, contribution


_ABSENT = object()


def look_up(conf: Conf, keys: Keys, default: Any) -> Any:
    """Return what stands at `keys` of nested mappings, or `default`."""
    value: Any = conf
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return value


def leaves(conf: Conf, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield every setting of nested mappings: its keys and value."""
    for key, value in conf.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*keys, key))
        else:
            yield (*keys, key), value


def places(*found: Place | None) -> tuple[Place, ...]:
    """Return those places that exist, each once."""
    kept: list[Place] = []
    for place in found:
        if place is not None and all(
            place.path != other.path or place.resource is not other.resource for other in kept
        ):
            kept.append(place)
    return tuple(kept)


def joined(words: Iterable[str], *, most: int = 3) -> str:
    """Write a list for people: `a, b, c and 4 more`."""
    listed = list(words)
    text = ", ".join(listed[:most])
    return f"{text} and {len(listed) - most} more" if len(listed) > most else text
