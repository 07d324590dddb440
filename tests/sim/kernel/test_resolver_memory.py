"""A zone's resolver against a model that keeps every answer with the time it was given.

Planted bug: `ZoneResolver._recall` without the comparison with the time (answers are kept for ever); the machine finds an
answer of the past within a few steps. It is the second test.
"""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sim.clock import NS_PER_S
from sim.network.dns import RECURSION_NS, ZoneResolver
from sim.network.names import UNKNOWN, Answer, Code, NameFault
from tests.sim.kernel.simulated_pair import make_pair

NAMES = ("a.example", "b.example")
ADDRESSES = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), max_size=2, unique=True)


class ResolverMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.network = make_pair().world.network
        self.resolver = self.network.resolver("zone-1")
        self.truth: dict[str, Answer] = {}
        self.given: dict[str, tuple[Answer, int]] = {}  # by name: what the domain said last, and when
        self.fault: Any = None

    @rule(name=st.sampled_from(NAMES), addresses=ADDRESSES, ttl_s=st.sampled_from([1.0, 10.0]))
    def move(self, name: str, addresses: list[str], ttl_s: float) -> None:
        self.network.set_name(name, addresses, ttl_s=ttl_s)
        self.truth[name] = Answer(Code.FOUND, tuple(addresses), ttl_s) if addresses else UNKNOWN

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.network.clock.now_ns += round(seconds * NS_PER_S)

    @precondition(lambda self: self.fault is None)
    @rule(code=st.sampled_from([Code.NXDOMAIN, Code.SERVFAIL]), authority=st.booleans())
    def break_down(self, code: Code, authority: bool) -> None:
        self.fault = self.network.add_name_fault(NameFault(code=code, authority=authority), name="outage")

    @precondition(lambda self: self.fault is not None)
    @rule()
    def mend(self) -> None:
        self.fault.remove()
        self.fault = None

    @rule(name=st.sampled_from(NAMES))
    def ask(self, name: str) -> None:
        answer, delay_ns = self.resolver.answer(name, "client")
        fault = self.fault.fault if self.fault else None
        now_ns = self.network.clock.now_ns
        known, asked_ns = self.given.get(name, (UNKNOWN, -(10**18)))
        if now_ns >= asked_ns + RECURSION_NS + round(known.ttl_s * NS_PER_S):
            assert delay_ns >= RECURSION_NS
            known = self.truth.get(name, UNKNOWN)
            if fault is not None and fault.authority:
                known = Answer(fault.code, (), 30.0 if fault.code is Code.NXDOMAIN else 5.0)
            self.given[name] = known, now_ns
        if fault is not None and not fault.authority:
            assert answer.code is fault.code
        else:
            assert answer == known

    @invariant()
    def nothing_is_left_of_mended_faults(self) -> None:
        assert len(self.network.names.faults) == (0 if self.fault is None else 1)


def test_a_resolver_remembers_for_a_ttl_and_no_longer() -> None:
    run_state_machine_as_test(ResolverMachine, settings=settings(max_examples=60, deadline=None))


def test_the_machine_finds_a_resolver_that_never_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    recall = ZoneResolver._recall

    def never_forgets(self: ZoneResolver, name: str, asker: str) -> tuple[Answer, int]:
        return (self._remembered[name][0], 0) if name in self._remembered else recall(self, name, asker)

    monkeypatch.setattr(ZoneResolver, "_recall", never_forgets)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            ResolverMachine, settings=settings(max_examples=60, deadline=None, derandomize=True, database=None)
        )
