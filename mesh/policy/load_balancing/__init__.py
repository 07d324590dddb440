"""Load balancing: which endpoint of a cluster gets a request. Pure: time and chance are arguments.

`EndpointSelector` is the whole of it; the other files are its parts: priorities, localities, then a balancer (`balancers`,
`turns`, `slow_start`) or a table of hashes (`ring_hash`, `maglev`).
"""

from mesh.policy.load_balancing.host import Host
from mesh.policy.load_balancing.peak_ewma import PeakEwma
from mesh.policy.load_balancing.selector import EndpointSelector
from mesh.policy.load_balancing.strategy import Balancer, HashFunction, LoadBalancing, SlowStart

__all__ = [
    "Balancer",
    "EndpointSelector",
    "HashFunction",
    "Host",
    "LoadBalancing",
    "PeakEwma",
    "SlowStart",
]
