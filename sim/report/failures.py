"""Failures found in the records of requests: stretches in which one host's requests to one endpoint went wrong in one way.

Sidecars do not log each request, so these are what a run's events lack between a fault and the ejection that it led to.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from mesh.model.traffic import ResponseFlag
from mesh.telemetry.request_record import RequestRecord
from sim.checks.inspection import Seen

QUIET_S = 5.0  # without failures: the stretch is over
# The caller's own limits: no endpoint is to blame.
_REFUSED = {
    ResponseFlag.UPSTREAM_OVERFLOW: "breaker open",
    ResponseFlag.NO_HEALTHY_UPSTREAM: "no healthy endpoint",
    ResponseFlag.RATE_LIMITED: "rate limited",
    ResponseFlag.UNAUTHORIZED: "denied",
}


@attrs.define(kw_only=True)
class Failing:
    """One stretch. `endpoint`: the name of its host, "" where none was reached; `trace`: that of the first failure."""

    kind: str  # requests.failing, or requests.refused by the caller's own proxy
    at_s: float
    until_s: float
    host: str
    service: str
    endpoint: str
    reason: str
    trace: str
    count: int = 1


def failings_of(seen: Sequence[Seen], *, origin_s: float, host_by_address: Mapping[str, str]) -> list[Failing]:
    """Return the stretches of outbound requests, by their beginning. `host_by_address`: {IP address: host}."""
    stretches: list[Failing] = []
    open_by_key: dict[tuple[str, str, str, str], Failing] = {}
    for at_s, one, upstream, reason, kind in sorted(_failures(seen), key=lambda failure: failure[0]):
        at_s -= origin_s
        record = one.record
        address = upstream.rpartition(":")[0]
        endpoint = host_by_address.get(address, address)
        service = record.cluster.rpartition("_")[0]
        key = (one.member, service, endpoint, reason)
        known = open_by_key.get(key)
        if known is not None and at_s - known.until_s < QUIET_S:
            known.until_s = at_s
            known.count += 1
            continue
        trace = record.traceparent[3:35].decode("ascii")
        open_by_key[key] = stretch = Failing(
            kind=kind,
            at_s=at_s,
            until_s=at_s,
            host=one.member,
            service=service,
            endpoint=endpoint,
            reason=reason,
            trace=trace,
        )
        stretches.append(stretch)
    return stretches


def _failures(seen: Iterable[Seen]) -> Iterator[tuple[float, Seen, str, str, str]]:
    """Return when, who, the upstream, why and of what kind, for each try that failed and each request that was refused."""
    for one in seen:
        record = one.record
        if record.inbound or not record.method or not record.cluster:
            continue
        for failed in record.failed_tries:
            yield failed.ended_at, one, failed.upstream, failed.outcome, "requests.failing"
        refused = [_REFUSED[flag] for flag in record.flags if flag in _REFUSED]
        if refused:
            yield record.ended_at, one, "", refused[0], "requests.refused"
        elif record.status >= 500 or record.status == 0:
            yield record.ended_at, one, record.upstream, _reason(record), "requests.failing"


def _reason(record: RequestRecord) -> str:
    if ResponseFlag.DOWNSTREAM_CLOSED in record.flags:
        return "caller gave up"
    if record.detail == "via_upstream" or not record.detail:
        return str(record.status)
    return record.detail.partition("{")[2].rstrip("}") or record.detail
