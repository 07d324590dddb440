"""Checks that are always on: an ordinary run gives each something to judge and nothing to find; each finds a bug planted for it.

A bug is planted in the product (or, where a layer below would refuse, in what it leaves behind), and seen by the check whose
matter it is, with the moment, and where a request is concerned with that request and its trace.
"""

import math
from pathlib import Path

import attrs
import pytest
import trio

from mesh.control.publisher import Publisher
from mesh.discovery.messages import Ack
from mesh.discovery.subscription import Subscription
from mesh.identity.rotation import IdentityHolder
from mesh.policy.authorization import Authorizer, Decision, Verdict
from mesh.policy.circuit_breaking import CircuitBreaker
from mesh.policy.outlier_detection import OutlierDetector
from mesh.policy.rate_limit import TokenBucket
from mesh.policy.retry import RetryState
from mesh.policy.retry_budget import RateBudget, RetryBudget
from mesh.policy.timeout import Deadlines
from mesh.proxy import cluster, http_exchange
from mesh.proxy.sidecar import Sidecar
from mesh.runtime.drain import Drain
from sim.checks.always.catalogue import WATCHERS
from sim.checks.record_tally import RecordTally
from sim.network.socket import Socket
from sim.runner import run_scenario
from sim.scenario.loader import parse_scenario

SCENARIO = """\
type: Scenario
format: 1
name: everything
duration: 16s
warmup: 2s
zones: [here]
services:
  web: {instances: {here: 1}, endpoints: {GET /: {steps: [{call: stock GET /}]}, POST /: {steps: [{call: orders GET /}]}}}
  stock: {instances: {here: 3}, endpoints: {GET /: {steps: [{work: 5ms}]}}}
  orders: {instances: {here: 2}, endpoints: {GET /: {steps: [{work: 2ms}]}}}
  safe: {instances: {here: 1}, endpoints: {GET /: {}}}
  news: {instances: {here: 1}, endpoints: {GET /: {}}}
workload:
  readers: {rate: 15/s, journeys: {read: [GET news/]}}
  users: {rate: 30/s, journeys: {look: [GET web/], buy: [POST web/]}, mix: {look: 70, buy: 30}}
  stranger: {rate: 5/s, journeys: {pry: [GET safe/]}}
timeline:
  - {at: 3s, for: 6s, fail: stock-1, errors: {503: 100%}}
  - {at: 4s, for: 3s, slow: orders, factor: 1000}
  - {at: 8s, for: 3s, fail: orders, errors: {503: 100%}}
  - {at: 11s, scale: stock, to: {here: 2}}
  - {at: 14s, scale: stock, to: {here: 3}}
  - {at: 13s, for: 2s, fail: stock, errors: {503: 100%}, name: all-fail}
---
type: MeshIdentity
name: i
spec:
  selector: {dataplane: {matchLabels: {}}}
  provider:
    type: Bundled
    bundled: {insecureAllowSelfSigned: true, autogenerate: {enabled: true}, certificateParameters: {expiry: 1m}}
---
type: MeshTrafficPermission
name: members
spec: {targetRef: {kind: Mesh}, rules: [{default: {allow: [{spiffeID: {type: Prefix, value: spiffe://default.}}]}}]}
---
type: MeshTrafficPermission
name: no-strangers
spec:
  targetRef: {kind: Dataplane, labels: {kuma.io/workload: safe}}
  rules: [{default: {deny: [{spiffeID: {type: Exact, value: spiffe://default.here.mesh.local/workload/stranger}}]}}]
---
type: MeshTimeout
name: short
spec: {to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 1s}}}]}
---
type: MeshRetry
name: bounded
spec:
  to:
    - targetRef: {kind: MeshService, labels: {kuma.io/display-name: stock}}
      default:
        http:
          {numRetries: 2, retryOn: [5xx], backOff: {baseInterval: 20ms}, retryBudget: {percent: 20, minConcurrency: 2}}
    - targetRef: {kind: MeshService, labels: {kuma.io/display-name: orders}}
      default: {http: {numRetries: 3, perTryTimeout: 900ms, retryOn: [5xx], retryBudget: {percent: 10, ratePerSecond: 1}}}
---
type: MeshCircuitBreaker
name: outliers
spec:
  to:
    - targetRef: {kind: Mesh}
      default:
        connectionLimits: {maxRequests: 5, maxPendingRequests: 5}
        outlierDetection:
          {interval: 1s, baseEjectionTime: 3s, maxEjectionPercent: 40, detectors: {totalFailures: {consecutive: 3}}}
---
type: MeshRateLimit
name: ten-a-second
spec:
  targetRef: {kind: Dataplane, labels: {kuma.io/workload: news}}
  rules: [{default: {local: {http: {requestRate: {num: 10, interval: 1s}}}}}]
"""


def run(text=SCENARIO, **changed):
    return run_scenario(attrs.evolve(parse_scenario(text, file="everything.yaml", folder=Path()), **changed))


def verdicts(result):
    names = {watcher.name for watcher in WATCHERS}
    return {check.name: check for check in result.checks if check.name in names}


@pytest.fixture(scope="module")
def ordinary():
    return verdicts(run())


@pytest.mark.parametrize("name", [watcher.name for watcher in WATCHERS])
def test_ordinary_run_is_judged_and_nothing_is_found(ordinary, name):
    verdict = ordinary[name]
    found, judged = verdict.value.split(" of ")
    assert verdict.ok, verdict.detail
    assert int(found) == 0
    assert int(judged) > 0, "it saw nothing, and so has proven nothing"
    assert verdict.always


def test_names_are_distinct():
    assert len({watcher.name for watcher in WATCHERS}) == len(WATCHERS)


# One bug each. `plant(monkeypatch)` makes it.


def lose_peers(monkeypatch):
    """The proof of who called is lost on the way to the application."""
    append = RecordTally.append

    def without_peer(self, record):
        if self._workload == "stock":
            record.peer = ""
        append(self, record)

    monkeypatch.setattr(RecordTally, "append", without_peer)


def allow_everybody(monkeypatch):
    monkeypatch.setattr(Authorizer, "decide", lambda self, peer, sni: Decision(Verdict.ALLOWED))


def forget_renewal(monkeypatch):
    monkeypatch.setattr(IdentityHolder, "renewal_delay_s", lambda self, **when: 1e6)


def take_older_version(monkeypatch):
    """A sidecar takes a push to be the version that it held before the present one."""
    accept, held = Subscription.accept, {}

    def stale(self, candidate):
        answer = accept(self, candidate)
        versions = held.setdefault(id(self), [])
        versions.append(answer.version)
        return Ack(version=versions[0], nonce=answer.nonce) if len(versions) > 2 else answer

    monkeypatch.setattr(Subscription, "accept", stale)


def leave_out_clusters(monkeypatch):
    """A configuration is applied but for the endpoints of its clusters."""
    update = cluster.ClusterState.update

    def partly(self, config, endpoints, security):
        update(self, config, endpoints if self._wanted is None else self._wanted, security)

    monkeypatch.setattr(cluster.ClusterState, "update", partly)


def record_twice(monkeypatch):
    finish = http_exchange.HttpExchange._finish

    def twice(self):
        finish(self)
        if self.record.status == 503:
            self.http.context.records.append(self.record)

    monkeypatch.setattr(http_exchange.HttpExchange, "_finish", twice)


def lose_records(monkeypatch):
    """A request that its client gave up leaves no record."""
    append = RecordTally.append
    monkeypatch.setattr(RecordTally, "append", lambda self, record: record.status == 504 or append(self, record))


def forget_timeouts(monkeypatch):
    begin = Deadlines.begin_complete

    def endless(self, timeouts, per_try_s, now, per_try_idle_s=0.0):
        begin(self, timeouts, per_try_s, now, per_try_idle_s)
        self.request = math.inf
        return self.earliest()

    monkeypatch.setattr(Deadlines, "begin_complete", endless)
    monkeypatch.setattr(Deadlines, "begin_try", lambda *arguments: None)


def count_wrongly(monkeypatch):
    count = http_exchange.count_completed

    def flattering(listener, cluster, status, *spans):
        count(listener, cluster, 200 if status == 503 else status, *spans)

    monkeypatch.setattr(http_exchange, "count_completed", flattering)


def go_elsewhere(monkeypatch):
    """What a record says is an address that nobody configured."""
    append = RecordTally.append

    def elsewhere(self, record):
        if record.cluster == "orders_8080":
            record.upstream = "10.9.9.9:8080"
        append(self, record)

    monkeypatch.setattr(RecordTally, "append", elsewhere)


def use_ejected(monkeypatch):
    monkeypatch.setattr(cluster, "_usable", lambda endpoint: endpoint.healthy)


def eject_without_bound(monkeypatch):
    eject = OutlierDetector._eject

    def at_will(self, *arguments):
        config = self._config
        self._config = attrs.evolve(config, ejection_percent_max=100)
        ejected = eject(self, *arguments)
        self._config = config
        return ejected

    monkeypatch.setattr(OutlierDetector, "_eject", at_will)


def retry_once_more(monkeypatch):
    init = RetryState.__init__

    def generous(self, *arguments):
        init(self, *arguments)
        self._left += 1

    monkeypatch.setattr(RetryState, "__init__", generous)


def drop_budget(monkeypatch):
    monkeypatch.setattr(RetryBudget, "limit", lambda self, active: 1000)
    monkeypatch.setattr(CircuitBreaker, "admit_request", admit_any)


def admit_any(self):
    self.requests += 1
    return True


def drop_rate_budget(monkeypatch):
    monkeypatch.setattr(RateBudget, "withdraw", lambda self, now: True)


def drop_breaker(monkeypatch):
    monkeypatch.setattr(CircuitBreaker, "admit_request", admit_any)


def leak_retries(monkeypatch):
    monkeypatch.setattr(CircuitBreaker, "release_retry", lambda self: None)


def leak_tokens(monkeypatch):
    monkeypatch.setattr(TokenBucket, "take", lambda self, now: True)


def stop_draining_early(monkeypatch):
    async def wait_idle(self, deadline):
        return False

    monkeypatch.setattr(Drain, "wait_idle", wait_idle)


def drop_window(monkeypatch):
    send = Socket.send_now

    def eager(self, data):
        if self.send_limit >= 0:
            self.send_limit = self.sent + 10_000_000
            for _ in range(40):  # Of a peer that reads a segment a time, more and more is kept.
                self.sent += 50_000
        return send(self, data)

    monkeypatch.setattr(Socket, "send_now", eager)


def tick_without_end(monkeypatch):
    def tick(self):
        self._env.reactor.call_at(self._env.reactor.now() + 5e-5, self._tick)

    monkeypatch.setattr(Sidecar, "_tick", tick)


PLANTED = {
    "no-plaintext": lose_peers,
    "permitted": allow_everybody,
    "config-versions": take_older_version,
    "whole-versions": leave_out_clusters,
    "one-outcome": forget_timeouts,
    "conservation": lose_records,
    "telemetry": count_wrongly,
    "endpoints-known": go_elsewhere,
    "ejected-idle": use_ejected,
    "ejected-share": eject_without_bound,
    "retries": retry_once_more,
    "retry-rate": drop_rate_budget,
    "breaker-limits": drop_breaker,
    "breakers-idle": leak_retries,
    "rate-limits": leak_tokens,
    "drain": stop_draining_early,
    "bounded-buffers": drop_window,
    "no-livelock": tick_without_end,
}
OF_REQUESTS = (
    "no-plaintext",
    "permitted",
    "one-outcome",
    "endpoints-known",
    "ejected-idle",
    "retries",
    "rate-limits",
)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bug_is_found(name, monkeypatch):
    PLANTED[name](monkeypatch)
    verdict = verdicts(run())[name]
    assert not verdict.ok, verdict.value
    assert verdict.first_s is not None
    assert 0.0 <= verdict.first_s <= 20.0
    if name in OF_REQUESTS:
        assert verdict.requests
        assert len(verdict.trace) == 32


def test_request_that_ends_twice_is_found(monkeypatch):
    record_twice(monkeypatch)
    verdict = verdicts(run())["one-outcome"]
    assert "ended twice" in verdict.detail


def test_retries_beyond_a_budget_of_what_is_active_are_found(monkeypatch):
    drop_budget(monkeypatch)
    storm = SCENARIO.replace("backOff: {baseInterval: 20ms}", "backOff: {baseInterval: 2s}").replace(
        "errors: {503: 100%}}", "errors: {503: 100%}}\n  - {at: 3s, for: 6s, fail: stock, errors: {503: 100%}}"
    )
    verdict = verdicts(run(storm.replace("requestTimeout: 1s", "requestTimeout: 10s")))["retries"]
    assert "retries to stock_8080 at once" in verdict.detail


def test_certificate_that_nobody_renews_is_found(monkeypatch):
    longer = SCENARIO.replace("duration: 16s", "duration: 70s").replace("rate: 30/s", "rate: 1/s")
    assert verdicts(run(longer))["certificates"].ok
    forget_renewal(monkeypatch)
    verdict = verdicts(run(longer))["certificates"]
    assert not verdict.ok
    assert "nothing has renewed it" in verdict.detail


def test_request_to_who_has_left_the_mesh_is_found(monkeypatch):
    mesh_changed = Publisher.mesh_changed

    def tell_nobody(self, mesh):
        if trio.current_time() < 10.0:
            mesh_changed(self, mesh)

    monkeypatch.setattr(Publisher, "mesh_changed", tell_nobody)
    nobody_ejected = SCENARIO.replace("consecutive: 3", "consecutive: 1000")
    verdict = verdicts(run(nobody_ejected.replace("duration: 16s", "duration: 30s")))["endpoints-known"]
    assert "which had left the mesh at" in verdict.detail
    assert verdict.trace
