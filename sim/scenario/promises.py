"""What a scenario promises about its run. Values only; `sim.checks` judges them."""

import enum
from collections.abc import Iterable
from typing import TypeAlias

import attrs

from sim.scenario.expression import Comparison, Metric


class Span(enum.Enum):
    """The part of the run that a check looks at. The warm-up is never judged."""

    ALWAYS = "always"
    OUTSIDE_FAULTS = "outside faults"
    DURING = "during"
    AFTER = "after"
    BETWEEN = "between"
    AT_END = "at end"


@attrs.frozen(kw_only=True)
class When:
    """When a check is judged.

    `during`: a name or verb of the timeline, for AFTER too: from the end of the last one on; `between_s`: two moments;
    `grace_s` prolongs each fault for OUTSIDE_FAULTS and AFTER.
    """

    span: Span = Span.ALWAYS
    during: str = ""
    between_s: tuple[float, float] = (0.0, 0.0)
    grace_s: float = 0.0


@attrs.frozen(kw_only=True)
class Expectation:
    """An expression that must hold, over the whole time or (`window_s`) in every window of that length."""

    comparison: Comparison
    when: When = When()
    window_s: float | None = None
    uncounted: tuple[str, ...] = ()  # events that it asks for in a scenario where no endpoint counts any: not judged


@attrs.frozen(kw_only=True)
class Recovers:
    """After each fault the share of successful journeys is back near its baseline within `within_s`: no metastable state."""

    within_s: float


@attrs.frozen(kw_only=True)
class NoDoubleDelivery:
    """No request is executed twice by the named endpoints (`GET /x` of a service)."""

    to: tuple[tuple[str, str], ...]  # (service, operation)


@attrs.frozen(kw_only=True)
class MtlsEverywhere:
    """No byte reaches an application from another host without mutual TLS and a proven identity."""


@attrs.frozen(kw_only=True)
class ConfigConverges:
    """Every change of configuration is live in every reachable proxy within `within_s`."""

    within_s: float


Promise: TypeAlias = Expectation | Recovers | NoDoubleDelivery | MtlsEverywhere | ConfigConverges
BUILTINS: tuple[str, ...] = ("recovers", "no-double-delivery", "mtls-everywhere", "config-converges")


@attrs.frozen(kw_only=True)
class Check:
    """A promise with its name in reports."""

    name: str
    promise: Promise


def metrics_of(checks: Iterable[Check]) -> tuple[Metric, ...]:
    """Return every metric that checks ask for, once each."""
    expectations = [check.promise for check in checks if isinstance(check.promise, Expectation)]
    return tuple(dict.fromkeys(metric for promise in expectations for metric in promise.comparison.metrics()))
