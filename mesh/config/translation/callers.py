"""From what MeshRateLimit and MeshFaultInjection say of one sort of callers to limits and faults."""

from collections.abc import Iterable

from mesh.policy.authorization import PeerMatch
from mesh.policy.fault_injection import Abort, Delay, Fault, ResponseBandwidth
from mesh.policy.rate_limit import Rate, RateLimit
from mesh.policy.routing import HeaderChanges
from mesh.resources.policy import Conf

_BITS_PER_S = {"kbps": 1e3, "Mbps": 1e6, "Gbps": 1e9}


def rate_limit(conf: Conf) -> RateLimit | None:
    """Translate MeshRateLimit's `http` settings; None: no limit."""
    if conf.get("disabled") or "requestRate" not in conf:
        return None
    answer = conf.get("onRateLimit", {})
    headers = answer.get("headers", {})
    changes = HeaderChanges(set=_pairs(headers.get("set", ())), add=_pairs(headers.get("add", ())))
    return RateLimit(rate=_rate(conf["requestRate"]), status=answer.get("status", 429), headers=changes)


def connection_rate(conf: Conf) -> Rate | None:
    """Translate MeshRateLimit's `tcp` settings; None: no limit."""
    return None if conf.get("disabled") or "connectionRate" not in conf else _rate(conf["connectionRate"])


def fault(match: PeerMatch, conf: Conf) -> Fault:
    """Translate one fault of MeshFaultInjection."""
    abort, delay, bandwidth = conf.get("abort"), conf.get("delay"), conf.get("responseBandwidth")
    return Fault(
        match=match,
        abort=Abort(status=abort["httpStatus"], percent=abort["percentage"]) if abort else None,
        delay=Delay(delay_s=delay["value"], percent=delay["percentage"]) if delay else None,
        response_bandwidth=ResponseBandwidth(
            bytes_per_s=bytes_per_s(bandwidth["limit"]), percent=bandwidth["percentage"]
        )
        if bandwidth
        else None,
    )


def bytes_per_s(text: str) -> float:
    """Read a bandwidth such as 50Mbps: bits in a second, as it says."""
    return float(text[:-4]) * _BITS_PER_S[text[-4:]] / 8.0


def _rate(conf: Conf) -> Rate:
    return Rate(count=conf["num"], interval_s=conf["interval"])


def _pairs(headers: Iterable[Conf]) -> tuple[tuple[str, str], ...]:
    return tuple((header["name"], header["value"]) for header in headers)
