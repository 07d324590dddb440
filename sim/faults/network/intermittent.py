"""Rules that come and go while a fault lasts: flapping links, and hosts that are cut one by one."""

import itertools
from collections.abc import Iterator, Sequence

import attrs

from mesh.model.randomness import Random
from sim.clock import ns_at_or_after
from sim.network.fabric import SimNetwork
from sim.network.rules import InstalledRule, Rule


@attrs.frozen
class Step:
    """At `at_ns`, rule number `rule` is put into force or lifted."""

    at_ns: int
    rule: int
    on: bool


def flapping(period_s: float, now_s: float) -> Iterator[Step]:
    """Switch rule 0 on now, off after `period_s`, on again, without end."""
    for turn in itertools.count():
        yield Step(ns_at_or_after(now_s + turn * period_s), 0, turn % 2 == 0)


def swizzled(count: int, span_s: float, now_s: float, random: Random) -> Iterator[Step]:
    """Switch `count` rules on at drawn moments within `span_s` from now, and each off within `span_s` after that."""
    steps: list[Step] = []
    for rule in range(count):
        on_s = now_s + random.random() * span_s
        off_s = on_s + random.random() * span_s
        steps += [Step(ns_at_or_after(on_s), rule, True), Step(ns_at_or_after(off_s), rule, False)]
    return iter(sorted(steps, key=lambda step: step.at_ns))


class Intermittent:
    """Carries steps out on the network; implements `sim.faults.active.Active`."""

    def __init__(self, network: SimNetwork, name: str, rules: Sequence[Rule], steps: Iterator[Step]) -> None:
        self._network = network
        self._name = name
        self._rules = rules
        self._steps = steps
        self._installed: dict[int, InstalledRule] = {}
        self._hits = 0  # of rules that are lifted
        self._times = 0
        self._core: frozenset[str] = frozenset()
        self._over = False
        self._go_on(None)

    def end(self) -> None:
        """Lift what is in force, for good."""
        self._over = True
        for rule in list(self._installed):
            self._lift(rule)

    def bit(self) -> bool:
        """Say whether any of the rules, at any time, touched a segment."""
        return self._hits > 0 or any(installed.hits for installed in self._installed.values())

    def spare(self, core: frozenset[str]) -> bool:
        """Leave the core alone, now and in the turns to come."""
        self._core = core
        for installed in self._installed.values():
            installed.spare(core)
        return True

    def _go_on(self, due: Step | None) -> None:
        if self._over:
            return
        step = due or next(self._steps, None)
        clock = self._network.clock
        while step is not None and step.at_ns <= clock.now_ns:
            if step.on:
                self._install(step.rule)
            else:
                self._lift(step.rule)
            step = next(self._steps, None)
        if step is not None:
            clock.push(step.at_ns, self._go_on, step)

    def _install(self, rule: int) -> None:
        self._times += 1
        # A name of its own for each turn: a stream of chance must not start anew with each.
        installed = self._network.add_rule(self._rules[rule], name=f"{self._name} #{self._times}")
        if self._core:
            installed.spare(self._core)
        self._installed[rule] = installed

    def _lift(self, rule: int) -> None:
        installed = self._installed.pop(rule)
        installed.remove()
        self._hits += installed.hits
