"""Strategies: how a cluster's endpoints are chosen among, as configuration says. Values only."""

import enum

import attrs


class Balancer(enum.Enum):
    """How endpoints are chosen. Kuma's words; PeakEWMA is ours, after Linkerd."""

    ROUND_ROBIN = "RoundRobin"
    LEAST_REQUEST = "LeastRequest"
    RANDOM = "Random"
    RING_HASH = "RingHash"
    MAGLEV = "Maglev"
    PEAK_EWMA = "PeakEWMA"


class HashFunction(enum.Enum):
    """With what a ring places its endpoints. Kuma's words."""

    XX_HASH = "XXHash"
    MURMUR_HASH_2 = "MurmurHash2"


@attrs.frozen(kw_only=True)
class SlowStart:
    """An endpoint that has just become healthy gets its share bit by bit. Source: Envoy `common.v3.SlowStartConfig`."""

    window_s: float
    aggression: float = attrs.field(default=1.0, converter=float)
    weight_percent_min: float = attrs.field(default=10.0, converter=float)


@attrs.frozen(kw_only=True)
class LoadBalancing:
    """The balancer and its parameters; defaults are Envoy's. Each balancer looks at its own.

    `panic_percent`: below this share of healthy endpoints all are used (0: never). `overprovisioning_percent`: how much
    the healthy endpoints of a priority or locality are thought able to carry, before traffic goes to the next.
    """

    balancer: Balancer = Balancer.LEAST_REQUEST
    choice_count: int = 2
    active_request_bias: float = attrs.field(default=1.0, converter=float)
    slow_start: SlowStart | None = None  # round robin and least request
    hash_function: HashFunction = HashFunction.XX_HASH
    ring_size_min: int = 1024
    ring_size_max: int = 8_388_608
    table_size: int = 65_537  # Maglev's; a prime
    decay_s: float = 10.0  # peak EWMA
    panic_percent: float = attrs.field(default=50.0, converter=float)
    fail_traffic_on_panic: bool = False
    overprovisioning_percent: float = attrs.field(default=140.0, converter=float)
