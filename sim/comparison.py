"""Compares two runs by the files that they left: per edge (caller and service) and per check, what differs.

Of one scenario simulated and on real processes, or of two settings. Reads `result.json` and `edges.json`; judges nothing but
whether two figures are as good as the same.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec

from mesh.model.errors import ConfigError, Violation

TOLERANCE = 0.1  # of a median
SUCCESS_TOLERANCE = 0.005  # of all requests
TRIES_TOLERANCE = 0.01  # tries a request
QUANTILES = ("p50_s", "p90_s", "p99_s")
_EPSILON_S = 1e-9


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """What one caller got from one service in one run. `success` is a share, `tries` counts all tries."""

    caller: str
    service: str
    requests: int
    success: float
    tries: int
    statuses: dict[str, int]
    p50_s: float
    p90_s: float
    p99_s: float

    @property
    def tries_per_request(self) -> float:
        return self.tries / self.requests if self.requests else 0.0


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one check."""

    name: str
    ok: bool
    value: str


class _EdgeFile(msgspec.Struct):
    edges: list[Edge]


class _ResultFile(msgspec.Struct):
    scenario: str
    seed: int
    checks: list[Check]


@attrs.frozen(kw_only=True)
class RunFiles:
    """What one run left in its folder."""

    folder: str
    scenario: str
    seed: int
    edges: Mapping[tuple[str, str], Edge]
    checks: Mapping[str, Check]


@attrs.frozen(kw_only=True)
class EdgeDifference:
    """One edge in both runs; None where it had no requests.

    `same_outcomes`: success and tries a request are as good as the same. `p50_change` is a share of the first run's.
    """

    caller: str
    service: str
    first: Edge | None
    second: Edge | None
    same_outcomes: bool
    p50_change: float | None


@attrs.frozen(kw_only=True)
class CheckDifference:
    """One check in both runs; None where it was not judged."""

    name: str
    first: Check | None
    second: Check | None

    @property
    def same(self) -> bool:
        return (self.first and self.first.ok) == (self.second and self.second.ok)


@attrs.frozen(kw_only=True)
class Comparison:
    """Everything that two runs have, side by side."""

    first: RunFiles
    second: RunFiles
    tolerance: float
    edges: tuple[EdgeDifference, ...]
    checks: tuple[CheckDifference, ...]

    @property
    def alike(self) -> bool:
        """Same verdicts, outcomes and tries everywhere, and every median within the tolerance."""
        return all(check.same for check in self.checks) and all(self.is_alike(edge) for edge in self.edges)

    def is_alike(self, edge: EdgeDifference) -> bool:
        """Is one edge as good as the same?"""
        return edge.same_outcomes and edge.p50_change is not None and abs(edge.p50_change) <= self.tolerance


def read_run(folder: Path) -> RunFiles:
    """Read what a run left with `--out`. Raises: ConfigError naming the file."""
    result = _read(folder / "result.json", _ResultFile)
    edges = _read(folder / "edges.json", _EdgeFile).edges
    return RunFiles(
        folder=str(folder),
        scenario=result.scenario,
        seed=result.seed,
        edges={(edge.caller, edge.service): edge for edge in edges},
        checks={check.name: check for check in result.checks},
    )


def _read(file: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as error:
        message = f"cannot read a run: {error.strerror}"
        hint = "name the folder that `mesh run FILE --out DIR` wrote"
        raise ConfigError([Violation(file=str(file), message=message, hint=hint)]) from error
    except msgspec.DecodeError as error:
        raise ConfigError([Violation(file=str(file), message=f"is not a file of a run: {error}")]) from error


def compare(first: RunFiles, second: RunFiles, *, tolerance: float = TOLERANCE) -> Comparison:
    """Put two runs side by side."""
    return Comparison(
        first=first,
        second=second,
        tolerance=tolerance,
        edges=tuple(_compare_edge(key, first, second) for key in _either(first.edges, second.edges)),
        checks=tuple(
            CheckDifference(name=name, first=first.checks.get(name), second=second.checks.get(name))
            for name in _either(first.checks, second.checks)
        ),
    )


def _either(first: Iterable[Any], second: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys((*first, *second)))


def _compare_edge(key: tuple[str, str], first: RunFiles, second: RunFiles) -> EdgeDifference:
    one, other = first.edges.get(key), second.edges.get(key)
    if one is None or other is None:
        return EdgeDifference(
            caller=key[0], service=key[1], first=one, second=other, same_outcomes=False, p50_change=None
        )
    same = (
        abs(other.success - one.success) <= SUCCESS_TOLERANCE
        and abs(other.tries_per_request - one.tries_per_request) <= TRIES_TOLERANCE
    )
    change = (other.p50_s - one.p50_s) / max(one.p50_s, _EPSILON_S)
    return EdgeDifference(caller=key[0], service=key[1], first=one, second=other, same_outcomes=same, p50_change=change)
