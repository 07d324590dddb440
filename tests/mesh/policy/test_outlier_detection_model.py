"""Outlier detection against a naive model that replays each host's history."""

import random
import statistics

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mesh.policy.failure import FailureKind
from mesh.policy.load_balancing import LoadBalancing, healthy_or_panic, make_balancer
from mesh.policy.outlier_detection import HostRecord, OutlierDetection, OutlierDetector


def names(hosts: tuple[HostRecord, ...]) -> list[str]:
    return [host.name for host in hosts]


@attrs.define(eq=False)
class NaiveHost:
    """Everything that happened to a host, as a list; every question is answered by reading it from the start."""

    record: HostRecord
    # ("status", int) | ("eject" | "return" | "tick", milliseconds) | ("fired-5xx" | "fired-gateway", 0)
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

    def interval(self) -> list[bool]:
        """The outcomes since the last tick; True: a success."""
        since = [index for index, (kind, _) in enumerate(self.history) if kind == "tick"]
        recent = self.history[since[-1] + 1 if since else 0 :]
        return [not 500 <= status < 600 for kind, status in recent if kind == "status"]


INTERVAL_MS, BASE_MS, MAX_MS = 500, 700, 1600


class DetectorAgainstReplayedHistory(RuleBasedStateMachine):
    """Responses, failures, time and membership in any order.

    Planted once and found: `_return` that leaves `consecutive_5xx`; ejection allowed at `ejected_count` instead of
    `ejected_count + 1`; a back-off that decays while the host is out; counts of the interval not closed at the tick;
    `remove_host` that does not give its share back; and, in `healthy_or_panic`, everyone taken for healthy.
    """

    @initialize(
        consecutive=st.integers(0, 3),
        gateway=st.integers(0, 3),
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
            success_rate_minimum_hosts=minimum_hosts[0],
            success_rate_request_volume=3,
            success_rate_standard_deviation_factor=1.3,
            failure_percentage_minimum_hosts=minimum_hosts[1],
            failure_percentage_request_volume=2,
            failure_percentage_threshold=60,
        )
        self.detector = OutlierDetector(self.config)
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
        """Whom a balancer would send to now."""
        selection = healthy_or_panic(self.hosts.values(), lambda host: not host.record.ejected, self.panic_percent)
        for host in selection.hosts:
            assert selection.panic or not host.ejected()
        return list(selection.hosts)

    @rule(statuses=st.lists(st.sampled_from([200, 404, 500, 502, 503, 504]), min_size=1, max_size=6), data=st.data())
    def balanced_responses(self, statuses: list[int], data: st.DataObject) -> None:
        if hosts := self.traffic():
            host = data.draw(st.sampled_from(hosts))
            for status in statuses:
                was_out = host.ejected()
                fired = self.detector.on_response(host.record, status, self.now_ms / 1000, self.random)
                self.naively_record(host, status)
                assert fired == (host.ejected() and not was_out)

    @rule(status=st.sampled_from([200, 500, 503]), data=st.data())
    def late_response(self, status: int, data: st.DataObject) -> None:
        """One that was under way, perhaps while its host was ejected."""
        host = data.draw(st.sampled_from(list(self.hosts.values())))
        self.detector.on_response(host.record, status, self.now_ms / 1000, self.random)
        self.naively_record(host, status)

    @rule(kind=st.sampled_from(FailureKind), data=st.data())
    def local_failure(self, kind: FailureKind, data: st.DataObject) -> None:
        host = data.draw(st.sampled_from(list(self.hosts.values())))
        self.detector.on_local_failure(host.record, kind, self.now_ms / 1000, self.random)
        if kind is not FailureKind.OVERFLOW:
            self.naively_record(host, 503)

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
        outliers = self.naive_outliers()
        tick = self.detector.tick(self.now_ms / 1000, self.random)
        assert names(tick.returned) == expected
        before = [name for name, host in self.hosts.items() if host.ejected()]
        for host in outliers:
            if not host.ejected():
                self.naively_eject(host)
        out = [name for name, host in self.hosts.items() if host.ejected()]
        assert sorted(names(tick.ejected)) == sorted(set(out) - set(before))
        for host in self.hosts.values():
            host.history.append(("tick", self.now_ms))

    def naive_outliers(self) -> list[NaiveHost]:
        outcomes = [(host, host.interval()) for host in self.hosts.values() if not host.ejected()]
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
    def no_balancer_sends_to_an_ejected_host_while_others_serve(self) -> None:
        if hasattr(self, "hosts") and (hosts := self.traffic()):
            members = [BalancedHost(host) for host in hosts]
            picked = make_balancer(LoadBalancing(), members, self.random).pick().host
            well = [host for host in self.hosts.values() if not host.ejected()]
            assert not picked.ejected() or len(well) * 2 < len(self.hosts)


@attrs.define(eq=False)
class BalancedHost:
    host: NaiveHost
    active: int = 0
    weight: int = 1


TestDetectorAgainstReplayedHistory = DetectorAgainstReplayedHistory.TestCase
TestDetectorAgainstReplayedHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
