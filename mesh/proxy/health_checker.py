"""Active health checks of one cluster: a pump for each endpoint and check, their verdicts, statistics and log lines.

Owns the pumps and verdicts, and writes `check_failed` and `excluded` of endpoints. Accepts: configuration and endpoints as they
change, and what responses say of themselves. Emits: that an endpoint's health has changed, that a check was passed.
An endpoint with several checks is healthy while none of them has failed, as with Envoy's multi health checker.
"""

import math
from collections.abc import Callable, Iterable, Iterator

import attrs
from structlog.typing import FilteringBoundLogger

from mesh.config.snapshot import Cluster
from mesh.model.errors import BrokenConnection, DeadlineExceeded, RemoteProtocolError
from mesh.model.randomness import Random
from mesh.policy.health_check import CheckFailure, CheckVerdict, HealthCheck, delay_to_first_s, delay_to_next_s
from mesh.proxy.health_probes import CheckResult, Probe, make_probe
from mesh.proxy.upstream_pool import UpstreamEndpoint, UpstreamPool
from mesh.runtime.environment import Reactor
from mesh.runtime.pump import Pump
from mesh.telemetry.metrics import ClusterStats, Sample


@attrs.define(eq=False)
class HealthCheckStats:
    """What a cluster's checks came to, under Envoy's names. `failure` counts all failures, the two others some of them."""

    attempt: int = 0
    success: int = 0
    failure: int = 0
    network_failure: int = 0
    passive_failure: int = 0

    def count(self, failure: CheckFailure | None) -> None:
        """Count one result."""
        if failure is None:
            self.success += 1
            return
        self.failure += 1
        if failure is CheckFailure.PASSIVE:
            self.passive_failure += 1
        elif failure is not CheckFailure.ACTIVE:
            self.network_failure += 1


@attrs.define(eq=False)
class _Checked:
    """One endpoint under checks; lists in the order of the checks."""

    endpoint: UpstreamEndpoint
    verdicts: list[CheckVerdict]
    pumps: list[Pump] = attrs.Factory(list)

    def stop(self) -> None:
        for pump in self.pumps:
            pump.cancel()


class HealthChecks:
    """The checks of one cluster. Costs nothing while none is configured.

    `on_change(endpoint)`: its `check_failed` or `excluded` is another now. `on_passed(endpoint)`: a healthy one passed.
    """

    def __init__(
        self,
        pool: UpstreamPool,
        traffic: ClusterStats,
        *,
        reactor: Reactor,
        random: Callable[[], Random],
        log: FilteringBoundLogger,
        on_change: Callable[[UpstreamEndpoint], None],
        on_passed: Callable[[UpstreamEndpoint], None],
    ) -> None:
        self.stats = HealthCheckStats()
        self.checks: tuple[HealthCheck, ...] = ()
        self._pool = pool
        self._traffic = traffic
        self._reactor = reactor
        self._random = random
        self._log = log
        self._on_change = on_change
        self._on_passed = on_passed
        self._made_for: Cluster | None = None
        self._checked: dict[UpstreamEndpoint, _Checked] = {}

    def update(self, cluster: Cluster, endpoints: Iterable[UpstreamEndpoint]) -> None:
        """Check exactly these endpoints, as the cluster's configuration says.

        Endpoints that are draining, or whose address is not known, are not checked. When the checks have changed they
        begin anew, and endpoints stay as healthy as they were until results say otherwise. The caller rebuilds after it.
        """
        if not cluster.health_checks and not self.checks:
            return
        wanted = list(endpoints)
        known = self._made_for
        if known is None or (known.health_checks, known.protocol) != (cluster.health_checks, cluster.protocol):
            self.close()
        self.checks, self._made_for = cluster.health_checks, cluster
        if not self.checks:
            for endpoint in wanted:
                endpoint.check_failed = endpoint.excluded = False
            return
        due = {endpoint: None for endpoint in wanted if endpoint.healthy and endpoint.resolution is None}
        for endpoint in [endpoint for endpoint in self._checked if endpoint not in due]:
            self._checked.pop(endpoint).stop()
        for endpoint in due:
            if endpoint not in self._checked:
                self._start(cluster, endpoint)

    def close(self) -> None:
        """Check nothing any more."""
        for checked in self._checked.values():
            checked.stop()
        self._checked = {}

    def fail(self, endpoint: UpstreamEndpoint) -> None:
        """An endpoint's response said that it is to be taken for failed. Nothing happens to one that is not checked."""
        checked = self._checked.get(endpoint)
        if checked is None:
            return
        result = CheckResult(failure=CheckFailure.PASSIVE, reason="its response said so", excluded=True)
        for index in range(len(self.checks)):
            self._take(checked, index, result)

    def samples(self) -> Iterator[Sample]:
        """Yield (name, labels, value) under Envoy's names; nothing without checks."""
        if not self.checks:
            return
        stats = self.stats
        yield "health_check.attempt", {}, stats.attempt
        yield "health_check.success", {}, stats.success
        yield "health_check.failure", {}, stats.failure
        yield "health_check.network_failure", {}, stats.network_failure
        yield "health_check.passive_failure", {}, stats.passive_failure
        yield "health_check.healthy", {}, sum(not endpoint.check_failed for endpoint in self._checked)

    def _start(self, cluster: Cluster, endpoint: UpstreamEndpoint) -> None:
        checked = _Checked(endpoint, [CheckVerdict(endpoint.check_failed) for _ in self.checks])
        self._checked[endpoint] = checked
        random = self._random()
        for index, check in enumerate(self.checks):
            probe = make_probe(check, cluster, self._pool, endpoint)
            run = self._run(checked, index, probe, random)
            checked.pumps.append(self._reactor.start(run, name=f"health-check {cluster.name} {endpoint.name}"))

    async def _run(self, checked: _Checked, index: int, probe: Probe, random: Random) -> None:
        """Check until cancelled."""
        check, reactor = self.checks[index], self._reactor
        try:
            # Never at once: who configures is not to meet the first results while still at it.
            await reactor.sleep(delay_to_first_s(check, random))
            while True:
                self.stats.attempt += 1
                self._take(checked, index, await self._ask(probe, check.timeout_s))
                used = self._traffic.connections_total > 0
                await reactor.sleep(delay_to_next_s(check, random, used=used))
        finally:
            probe.close()

    async def _ask(self, probe: Probe, timeout_s: float) -> CheckResult:
        pump = self._reactor.current
        assert pump is not None
        pump.set_deadline(self._reactor.now() + timeout_s)
        try:
            return await probe.ask()
        except DeadlineExceeded:
            return CheckResult(failure=CheckFailure.NETWORK_TIMEOUT, reason="timeout")
        except (BrokenConnection, RemoteProtocolError) as error:
            return CheckResult(failure=CheckFailure.NETWORK, reason=str(error))
        finally:
            pump.set_deadline(math.inf)

    def _take(self, checked: _Checked, index: int, result: CheckResult) -> None:
        """Act on one result of one check."""
        endpoint, verdict, check = checked.endpoint, checked.verdicts[index], self.checks[index]
        first = verdict.pending
        self.stats.count(result.failure)
        if result.failure is None:
            verdict.pass_once(check)
        else:
            verdict.fail_once(check, result.failure)
            if first or check.log_failures_always:
                self._note("health_check.failed", endpoint, check, result)
        was_failed, was_excluded = endpoint.check_failed, endpoint.excluded
        endpoint.check_failed = any(each.failed for each in checked.verdicts)
        endpoint.excluded = endpoint.check_failed and (was_excluded or result.excluded)
        if endpoint.check_failed != was_failed:
            if endpoint.check_failed:
                self._note("endpoint.check_failed", endpoint, check, result)
            else:
                self._log.info("endpoint.check_passed", endpoint=endpoint.name, address=endpoint.label, first=first)
        if (endpoint.check_failed, endpoint.excluded) != (was_failed, was_excluded):
            self._on_change(endpoint)
        if result.failure is None and not endpoint.check_failed:
            self._on_passed(endpoint)

    def _note(self, event: str, endpoint: UpstreamEndpoint, check: HealthCheck, result: CheckResult) -> None:
        assert result.failure is not None
        self._log.warning(
            event,
            endpoint=endpoint.name,
            address=endpoint.label,
            check=check.kind.value,
            failure=result.failure.value,
            reason=result.reason,
        )
