"""Load balancing: which endpoint of a cluster gets a request. Pure: time and chance are arguments."""

from mesh.policy.load_balancing.balancers import (
    EarliestDeadlineFirst,
    Host,
    LeastRequest,
    LoadBalancer,
    RandomBalancer,
    RoundRobin,
    Selection,
    healthy_or_panic,
    make_balancer,
)
from mesh.policy.load_balancing.strategy import Balancer, HashFunction, LoadBalancing, SlowStart

__all__ = [
    "Balancer",
    "EarliestDeadlineFirst",
    "HashFunction",
    "Host",
    "LeastRequest",
    "LoadBalancer",
    "LoadBalancing",
    "RandomBalancer",
    "RoundRobin",
    "Selection",
    "SlowStart",
    "healthy_or_panic",
    "make_balancer",
]
