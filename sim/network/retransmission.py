"""When TCP sends again what was lost. Source: Linux: TCP_RTO_MIN, TCP_RTO_MAX, tcp_retries2 = 15, tcp_syn_retries = 6."""

from collections.abc import Callable

from sim.clock import NS_PER_S

RTO_NS = NS_PER_S // 5
RTO_NS_MAX = 120 * NS_PER_S
GIVE_UP_NS = round(924.6 * NS_PER_S)  # the sum of 15 timeouts
SYN_TRIES_MAX = 7  # at 0, 1, 3, 7, 15, 31 and 63 s; the connect fails at 127 s
_STALL_TRIES_MAX = 8


def rto_ns(tries: int) -> int:
    """Return the wait before retransmission number `tries`, counted from 0."""
    return min(RTO_NS << min(tries, 20), RTO_NS_MAX)


def syn_due_ns(start_ns: int, tries: int) -> int:
    """Return when SYN number `tries`, counted from 0, leaves."""
    return start_ns + ((1 << tries) - 1) * NS_PER_S


def stall_ns(lost: Callable[[], bool], *, losses: int = 0) -> int | None:
    """Draw how long losses delay one segment, which has had so many already; None when it is lost again and again."""
    stall = sum(map(rto_ns, range(losses)))
    for tries in range(losses, _STALL_TRIES_MAX):
        if not lost():
            return stall
        stall += rto_ns(tries)
    return None
