"""Outlier detection against a naive model that replays each host's history."""

import math
import random
import statistics

import attrs
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mesh.policy.failure import FailureKind
from mesh.policy.load_balancing import EndpointSelector, LoadBalancing, PeakEwma
from mesh.policy.outlier_detection import HostRecord, OutlierDetection, OutlierDetector


def names(hosts: tuple[HostRecord, ...]) -> list[str]:
    return [host.name for host in hosts]


@attrs.define(eq=False)
class NaiveHost:
    """Everything that happened to a host, as a list; every question is answered by reading it from the start."""

    record: HostRecord
    # ("status", int) | ("eject" | "return" | "tick", milliseconds) | ("fired-5xx" | "fired-gateway" | "fired-local", 0)
    # | ("connected" | "local-failure", 0), where errors are split
    history: list[tuple[str, int]] = attrs.Factory(list)

    def ejected(self) -> bool:
        return [kind for kind, _ in self.history if kind in ("eject", "return")][-1:] == ["eject"]

    def run(self, gateway: bool) -> int:
        length = 0
        for kind, status in self.history:
            if kind == "status" and (status in (502, 503, 504) if gateway else 500 <= status < 600):
                length += 1
            elif kind in ("status", "return") or kind == ("fired-gateway" if gateway else "fired-5xx"):
                length = 0
        return length

    def local_run(self) -> int:
        length = 0
        for kind, _ in self.history:
            if kind == "local-failure":
                length += 1
            elif kind in ("connected", "return", "fired-local"):
                length = 0
        return length

    def backoff(self, interval_ms: int, base_ms: int, max_ms: int) -> int:
        steps, returned_ms, out = 0, None, False
        for kind, at_ms in self.history:
            if kind == "eject":
                out = True
                steps += steps * base_ms < max_ms + base_ms
            elif kind == "return":
                out, returned_ms = False, at_ms
            elif kind == "tick" and not out and returned_ms is not None and at_ms - returned_ms >= interval_ms:
                steps = max(steps - 1, 0)
        return steps

    def interval(self, local_origin: bool) -> list[bool]:
        """The outcomes since the last tick; True: a success."""
        since = [index for index, (kind, _) in enumerate(self.history) if kind == "tick"]
        recent = self.history[since[-1] + 1 if since else 0 :]
        if local_origin:
            return [kind == "connected" for kind, _ in recent if kind in ("connected", "local-failure")]
        return [not 500 <= status < 600 for kind, status in recent if kind == "status"]


INTERVAL_MS, BASE_MS, MAX_MS = 500, 700, 1600


class DetectorAgainstReplayedHistory(RuleBasedStateMachine):
    """Responses, failures, health checks, time and membership in any order.

    Planted once and found: ejection allowed at `ejected_count` instead of `ejected_count + 1`; a back-off that decays while the
    host is out; counts of the interval not closed at the tick; `remove_host` that does not give its share back. Others
    stay planted below.
    """

    detector_type = OutlierDetector

    @initialize(
        consecutive=st.integers(0, 3),
        gateway=st.integers(0, 3),
        local=st.integers(0, 3),
        split=st.booleans(),
        percent=st.sampled_from([0, 10, 34, 50, 100]),
        always_one=st.booleans(),
        minimum_hosts=st.tuples(st.integers(0, 3), st.integers(0, 3)),
        panic_percent=st.sampled_from([0.0, 50.0]),
        hosts=st.integers(1, 5),
    )
    def begin(
        self,
        consecutive: int,
        gateway: int,
        local: int,
        split: bool,
        percent: int,
        always_one: bool,
        minimum_hosts: tuple[int, int],
        panic_percent: float,
        hosts: int,
    ) -> None:
        self.config = OutlierDetection(
            interval_s=INTERVAL_MS / 1000,
            base_ejection_s=BASE_MS / 1000,
            ejection_s_max=MAX_MS / 1000,
            ejection_percent_max=percent,
            always_eject_one=always_one,
            consecutive_5xx=consecutive,
            consecutive_gateway_failures=gateway,
            consecutive_local_origin_failures=local,
            split_local_origin_errors=split,
            success_rate_minimum_hosts=minimum_hosts[0],
            success_rate_request_volume=3,
            success_rate_standard_deviation_factor=1.3,
            failure_percentage_minimum_hosts=minimum_hosts[1],
            failure_percentage_request_volume=2,
            failure_percentage_threshold=60,
        )
        self.detector = self.detector_type(self.config)
        self.hosts = {f"u{index}": NaiveHost(self.detector.add_host(f"u{index}")) for index in range(hosts)}
        self.panic_percent = panic_percent
        self.now_ms = 0
        self.overflows = 0
        self.added = hosts
        self.random = random.Random(0)

    def naively_eject(self, host: NaiveHost) -> None:
        out = sum(other.ejected() for other in self.hosts.values())
        allowed = (out + 1) * 100 <= self.config.ejection_percent_max * len(self.hosts)
        if allowed or (self.config.always_eject_one and out == 0):
            host.history.append(("eject", self.now_ms))
        else:
            self.overflows += 1

    def naively_respond(self, host: NaiveHost, status: int) -> None:
        if self.config.split_local_origin_errors:
            host.history.append(("connected", 0))
        self.naively_record(host, status)

    def naively_fail(self, host: NaiveHost, kind: FailureKind) -> None:
        if kind is FailureKind.OVERFLOW:
            return
        if not self.config.split_local_origin_errors:
            self.naively_record(host, 503)
            return
        if kind not in (FailureKind.CONNECT_FAILURE, FailureKind.CONNECT_TIMEOUT):
            host.history.append(("connected", 0))
        host.history.append(("local-failure", 0))
        if host.local_run() == self.config.consecutive_local_origin_failures and not host.ejected():
            self.naively_eject(host)
            host.history.append(("fired-local", 0))

    def naively_record(self, host: NaiveHost, status: int) -> None:
        host.history.append(("status", status))
        for gateway, threshold in (
            (True, self.config.consecutive_gateway_failures),
            (False, self.config.consecutive_5xx),
        ):
            last_counts = status in (502, 503, 504) if gateway else 500 <= status < 600
            if last_counts and host.run(gateway) == threshold and not host.ejected():
                self.naively_eject(host)
                host.history.append(("fired-gateway" if gateway else "fired-5xx", 0))

    def traffic(self) -> list[NaiveHost]:
        """Whom a cluster would send to now: everybody in a panic, else those who are in."""
        everybody = list(self.hosts.values())
        well = [host for host in everybody if not host.ejected()]
        panic = 100 * len(well) < self.panic_percent * len(everybody) and 140 * len(well) < 100 * len(everybody)
        allowed = everybody if panic else well
        members = [BalancedHost(host) for host in everybody]
        selector = EndpointSelector(
            LoadBalancing(panic_percent=self.panic_percent),
            members,
            lambda member: not member.host.record.ejected,
            self.random,
            now=self.now_ms / 1000,
        )
        assert selector.panicking == panic
        for _ in range(8):
            picked = selector.pick(self.now_ms / 1000)
            assert picked.host in allowed if picked is not None else not allowed
        return allowed

    @rule(statuses=st.lists(st.sampled_from([200, 404, 500, 502, 503, 504]), min_size=1, max_size=6), data=st.data())
    def balanced_responses(self, statuses: list[int], data: st.DataObject) -> None:
        if hosts := self.traffic():
            host = data.draw(st.sampled_from(hosts))
            for status in statuses:
                was_out = host.ejected()
                fired = self.detector.on_response(host.record, status, self.now_ms / 1000, self.random)
                self.naively_respond(host, status)
                assert fired == (host.ejected() and not was_out)

    @rule(status=st.sampled_from([200, 500, 503]), data=st.data())
    def late_response(self, status: int, data: st.DataObject) -> None:
        """One that was under way, perhaps while its host was ejected."""
        host = data.draw(st.sampled_from(list(self.hosts.values())))
        self.detector.on_response(host.record, status, self.now_ms / 1000, self.random)
        self.naively_respond(host, status)

    @rule(kind=st.sampled_from(FailureKind), data=st.data())
    def local_failure(self, kind: FailureKind, data: st.DataObject) -> None:
        host = data.draw(st.sampled_from(list(self.hosts.values())))
        self.detector.on_local_failure(host.record, kind, self.now_ms / 1000, self.random)
        self.naively_fail(host, kind)

    @rule(data=st.data())
    def health_check_passed(self, data: st.DataObject) -> None:
        host = data.draw(st.sampled_from(list(self.hosts.values())))
        was_out = host.ejected()
        assert self.detector.on_health_check_passed(host.record, self.now_ms / 1000) == was_out
        if was_out:
            host.history.append(("return", self.now_ms))

    @rule(steps_ms=st.integers(1, 2000))
    def wait(self, steps_ms: int) -> None:
        until_ms = self.now_ms + steps_ms
        while (next_tick_ms := self.now_ms - self.now_ms % INTERVAL_MS + INTERVAL_MS) <= until_ms:
            self.now_ms = next_tick_ms
            self.tick()
        self.now_ms = until_ms

    def tick(self) -> None:
        expected = []
        for name, host in self.hosts.items():
            if host.ejected():
                ejected_ms = [at_ms for kind, at_ms in host.history if kind == "eject"][-1]
                lasts_ms = min(host.backoff(INTERVAL_MS, BASE_MS, MAX_MS) * BASE_MS, MAX_MS)
                if ejected_ms + lasts_ms <= self.now_ms:
                    host.history.append(("return", self.now_ms))
                    expected.append(name)
        outcomes = {
            local: [(host, host.interval(local)) for host in self.hosts.values() if not host.ejected()]
            for local in (False, True)
        }
        tick = self.detector.tick(self.now_ms / 1000, self.random)
        assert names(tick.returned) == expected
        before = [name for name, host in self.hosts.items() if host.ejected()]
        for local in (False, True):
            still_in = [(host, seen) for host, seen in outcomes[local] if not host.ejected()]
            for host in self.naive_outliers(still_in):
                if not host.ejected():
                    self.naively_eject(host)
        out = [name for name, host in self.hosts.items() if host.ejected()]
        assert sorted(names(tick.ejected)) == sorted(set(out) - set(before))
        for host in self.hosts.values():
            host.history.append(("tick", self.now_ms))

    def naive_outliers(self, outcomes: list[tuple[NaiveHost, list[bool]]]) -> list[NaiveHost]:
        rates = [(host, 100.0 * sum(seen) / len(seen)) for host, seen in outcomes if len(seen) >= 3]
        outliers: list[NaiveHost] = []
        if rates and 0 < self.config.success_rate_minimum_hosts <= len(rates):
            spread = statistics.pstdev(rate for _, rate in rates)
            mean = statistics.fmean(rate for _, rate in rates)
            outliers += [host for host, rate in rates if rate < mean - 1.3 * spread]
        judged = [(host, seen) for host, seen in outcomes if len(seen) >= 2]
        if judged and 0 < self.config.failure_percentage_minimum_hosts <= len(judged):
            outliers += [host for host, seen in judged if 100 * seen.count(False) >= 60 * len(seen)]
        return outliers

    @rule()
    def add_host(self) -> None:
        if len(self.hosts) < 7:
            name = f"u{self.added}"
            self.hosts[name] = NaiveHost(self.detector.add_host(name))
            self.added += 1

    @rule(data=st.data())
    def remove_host(self, data: st.DataObject) -> None:
        if len(self.hosts) > 1:
            name = data.draw(st.sampled_from(list(self.hosts)))
            late = self.hosts.pop(name).record
            self.detector.remove_host(name)
            assert not self.detector.on_response(late, 500, self.now_ms / 1000, self.random)

    @rule()
    def same_configuration_again(self) -> None:
        self.detector.replace_config(self.config)
        self.detector.replace_hosts(list(self.hosts))

    @invariant()
    def detector_and_model_agree(self) -> None:
        if not hasattr(self, "hosts"):
            return
        for host in self.hosts.values():
            assert host.record.ejected == host.ejected()
            assert host.record.backoff == host.backoff(INTERVAL_MS, BASE_MS, MAX_MS)
        assert self.detector.ejected_count == sum(host.ejected() for host in self.hosts.values())
        assert self.detector.overflows == self.overflows

    @invariant()
    def ejected_hosts_get_nothing_but_in_a_panic(self) -> None:
        if hasattr(self, "hosts"):
            self.traffic()


@attrs.define(eq=False)
class BalancedHost:
    host: NaiveHost
    active: int = 0
    weight: int = 1
    priority: int = 0
    locality: str = ""
    locality_weight: int = 0
    healthy_since: float = -math.inf
    latency: PeakEwma | None = None

    @property
    def label(self) -> str:
        return self.host.record.name


TestDetectorAgainstReplayedHistory = DetectorAgainstReplayedHistory.TestCase
TestDetectorAgainstReplayedHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class _Ungrateful(OutlierDetector):
    """Planted: a host that returns keeps its run of failures."""

    def _return(self, host: HostRecord, now: float) -> None:
        run = host.consecutive_5xx
        super()._return(host, now)
        host.consecutive_5xx = run


class _Forgetful(OutlierDetector):
    """Planted: each ejection lasts as long as the first."""

    def _is_due(self, host: HostRecord, now: float) -> bool:
        return now - host.ejected_at + 1e-6 >= self.config.base_ejection_s


class _Late(OutlierDetector):
    """Planted: a host returns at the tick after the one that it is due at."""

    def _is_due(self, host: HostRecord, now: float) -> bool:
        return super()._is_due(host, now - self.config.interval_s)


class _Hasty(OutlierDetector):
    """Planted: a host that is back owes nothing any more."""

    def _return(self, host: HostRecord, now: float) -> None:
        super()._return(host, now)
        host.backoff = 0


class _Deaf(OutlierDetector):
    """Planted: a connect is no success, so that resets come in a row."""

    def on_connected(self, host: HostRecord, *, final: bool = False) -> None:
        pass


PLANTED = settings(
    derandomize=True, database=None, max_examples=300, stateful_step_count=30, deadline=None, phases=[Phase.generate]
)


@pytest.mark.parametrize("planted", [_Ungrateful, _Forgetful, _Late, _Hasty, _Deaf])
def test_the_machine_finds_planted_bugs(planted: type[OutlierDetector]) -> None:
    class Machine(DetectorAgainstReplayedHistory):
        detector_type = planted

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Machine, settings=PLANTED)


def test_the_machine_finds_a_selector_that_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: everybody counts as usable for EndpointSelector."""
    make = EndpointSelector.__init__

    def blind(self: object, config: LoadBalancing, hosts: object, _: object, *others: object, **named: object) -> None:
        make(self, config, hosts, lambda host: True, *others, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(EndpointSelector, "__init__", blind)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(DetectorAgainstReplayedHistory, settings=PLANTED)
