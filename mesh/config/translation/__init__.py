"""From merged settings, in Kuma's words, to the values that policies run on; what was not set comes from the defaults."""

from mesh.config.translation.balancing import hash_policies, load_balancing
from mesh.config.translation.breakers import circuit_breaking, outlier_detection
from mesh.config.translation.callers import connection_rate, fault, rate_limit
from mesh.config.translation.health_checks import health_checks
from mesh.config.translation.retries import connect_retries_max, omitted_tags, retry_policy
from mesh.config.translation.security import passthrough, tls_mode, tls_parameters
from mesh.config.translation.timeouts import timeouts

__all__ = [
    "circuit_breaking",
    "connect_retries_max",
    "connection_rate",
    "fault",
    "hash_policies",
    "health_checks",
    "load_balancing",
    "omitted_tags",
    "outlier_detection",
    "passthrough",
    "rate_limit",
    "retry_policy",
    "timeouts",
    "tls_mode",
    "tls_parameters",
]
