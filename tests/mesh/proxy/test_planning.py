"""From a snapshot to clusters and plans."""

from mesh.config.snapshot import InboundListener, Snapshot
from mesh.model.names import Address
from mesh.proxy.planning import application_cluster, cluster_parts


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
