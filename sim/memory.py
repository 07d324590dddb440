"""How much memory a simulated host takes: a model, asked only where somebody set a limit.

What runs on one host (a pod) shares its limit: sidecar and application. The figures are of the size that proxies have; what
matters is what grows with what. Bytes that the kernel holds for a connection count, as they do in a cgroup.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.assembly import Member
    from sim.host import Host

KIB, MIB = 1024, 1024 * 1024
AT_REST_BYTES = 32 * MIB  # programs, libraries, certificates
CONNECTION_BYTES = 32 * KIB  # TLS state, buffers at rest, the coroutine that serves it
REQUEST_BYTES = 64 * KIB  # in flight: head, headers to send, tries, span; in the sidecar and again in the application
CONFIGURATION_FACTOR = 12  # objects and tables made of a byte of configuration


def memory_bytes(host: "Host", member: "Member | None") -> int:
    """Return what a host takes now; `member` says what runs there, None for a control plane."""
    sockets = host.network_host.sockets
    taken = AT_REST_BYTES + CONNECTION_BYTES * len(sockets)
    taken += sum(sum(map(len, socket.buffer)) for socket in sockets)
    if member is None:
        return taken
    requests = 0
    if member.service is not None:
        requests += member.service.places.busy
    if member.sidecar is not None:
        requests += member.sidecar.drain_state.in_flight
        held = member.sidecar.client.subscription.held
        if held is not None:
            taken += CONFIGURATION_FACTOR * held.size_bytes
    return taken + REQUEST_BYTES * requests
