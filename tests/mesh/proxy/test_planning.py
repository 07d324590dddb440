"""From a snapshot to clusters and plans."""

import pytest

from mesh.config.snapshot import InboundListener, Snapshot
from mesh.model.errors import ConfigError
from mesh.model.names import Address
from mesh.policy.rate_limit import Rate
from mesh.proxy.cluster import ClusterState
from mesh.proxy.planning import application_cluster, cluster_parts, listener_plans


def test_applications_on_one_port_of_two_addresses_are_two_clusters() -> None:
    # Seen to fail while names were made of the port alone: the first inbound's requests reached the second's application.
    inbounds = [
        InboundListener(name=name, address=Address("127.0.0.9", port), application=Address(host, 8081))
        for name, port, host in (("a", 8080, "127.0.0.1"), ("b", 8090, "127.0.0.2"))
    ]
    parts = cluster_parts(Snapshot.of(*inbounds))
    for inbound in inbounds:
        (endpoint,) = parts[application_cluster(inbound)].endpoints
        assert endpoint.address == inbound.application


def test_a_rate_over_no_time_is_refused_like_any_other_nonsense() -> None:
    inbound = InboundListener(
        name="a",
        address=Address("127.0.0.9", 8080),
        application=Address("127.0.0.1", 8081),
        connection_rate=Rate(count=1, interval_s=0.0),
    )
    with pytest.raises(ConfigError, match="inbound/a"):
        listener_plans(Snapshot.of(inbound), lambda name: ClusterState.__new__(ClusterState), "", {})
