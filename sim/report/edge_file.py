"""`edges.json`: what each caller got from each service, as its own sidecar saw it: what two runs are compared by.

Of a run longer than what is kept, one trace in `one_in` is counted.
"""

from collections import Counter
from collections.abc import Mapping

import attrs
import msgspec

from mesh.config.outbounds import cluster_name
from sim.checks.measurements import quantile
from sim.report.material import Material

QUANTILES: Mapping[str, float] = {"p50_s": 0.5, "p90_s": 0.9, "p99_s": 0.99}


@attrs.define(eq=False)
class _Edge:
    latencies: list[float] = attrs.Factory(list)
    statuses: Counter[str] = attrs.Factory(Counter)
    tries: int = 0


def edge_file(material: Material) -> bytes:
    """Return the file."""
    keeper, scenario = material.capture.requests, material.evidence.scenario
    services = {cluster_name(service.name, service.kind.port): service.name for service in scenario.services}
    edges: dict[tuple[str, str], _Edge] = {}
    begin_s = material.evidence.origin_s + scenario.warmup_s
    for one in keeper.seen if keeper is not None else ():
        record = one.record
        service = services.get(record.cluster)
        if service is None or record.inbound or not record.method or record.started_at < begin_s:
            continue
        edge = edges.setdefault((one.workload, service), _Edge())
        edge.latencies.append(record.ended_at - record.started_at)
        edge.statuses[str(record.status)] += 1
        edge.tries += record.tries
    rows = [_row(caller, service, edge) for (caller, service), edge in sorted(edges.items())]
    content = {
        "scenario": scenario.name,
        "one_in": keeper.one_in if keeper is not None else 0,
        "edges": rows,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _row(caller: str, service: str, edge: _Edge) -> dict[str, object]:
    ordered = sorted(edge.latencies)
    count = len(ordered)
    good = sum(number for status, number in edge.statuses.items() if status.startswith(("2", "3")))
    return {
        "caller": caller,
        "service": service,
        "requests": count,
        "success": good / count,
        "tries": edge.tries,
        "statuses": dict(sorted(edge.statuses.items())),
        **{name: quantile(ordered, share) for name, share in QUANTILES.items()},
    }
