"""Opening a connection: SYN, SYN-ACK, and the acknowledgement that tells the server; each is judged by the rules.

The client is connected after one round trip, the server half a round trip later. Without an answer the SYN is repeated.
"""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from mesh.model.errors import ConnectFailed
from mesh.model.names import Address
from sim import event_log
from sim.network import transmission
from sim.network.host import NetworkHost, is_loopback
from sim.network.retransmission import SYN_TRIES_MAX, syn_due_ns
from sim.network.rules import Action, Kind
from sim.network.socket import Socket

if TYPE_CHECKING:
    from sim.network.fabric import SimNetwork


def connect_failed(cause: OSError) -> ConnectFailed:
    """Make the error of a failed connect, with the reason as its cause."""
    failed = ConnectFailed()
    failed.__cause__ = cause
    return failed


class Handshake:
    """One attempt to connect; `done` is called once, with the client's socket or the error, unless it is cancelled."""

    def __init__(
        self,
        network: "SimNetwork",
        client: NetworkHost,
        server: NetworkHost,
        address: Address,
        done: Callable[[Socket | ConnectFailed], None],
    ) -> None:
        self._network = network
        self._clock = network.clock
        self._client_host = client
        self._client_life = client.incarnation
        self._server_host = server
        self._address = address
        self._done = done
        self._over = False
        self._start_ns = self._clock.now_ns
        self._tries = 0
        local = Address(address.host if is_loopback(address.host) else client.ip, client.free_port())
        self._client = network.make_socket(network, network.path(client, server), local, address)
        self._server = network.make_socket(network, network.path(server, client), address, local)
        number = self._client.path.connections = self._client.path.connections + 1
        self._client.pair_with(self._server, "client", number, address.port)
        self._server.pair_with(self._client, "server", number, address.port)

    def start(self) -> None:
        """Send the first SYN."""
        self._send_syn(None)

    def cancel(self) -> None:
        """Give up; `done` will not be called."""
        self._over = True
        self._server.path.source.sockets.pop(self._server, None)

    def _send_syn(self, _: object) -> None:
        if self._is_over():
            return
        if self._tries == SYN_TRIES_MAX:
            self._finish(connect_failed(TimeoutError(errno.ETIMEDOUT, "connection timed out")))
            return
        self._tries += 1
        verdict = transmission.cross(self._client, Kind.SYN, 0)
        if verdict.action is Action.DELAY:
            self._clock.push(self._clock.now_ns + verdict.delay_ns, self._arrive_syn, None)
        elif verdict.action is Action.RESET:
            self._refuse(2 * self._client.path.nominal_ns)
        else:
            self._lose()

    def _arrive_syn(self, _: object) -> None:
        host = self._server_host
        self._server.trace((self._clock.now_ns, self._server.log_id + event_log.SYN))
        listener = host.listener_at(self._address)
        if not host.up or (listener is not None and not listener.has_room()):
            self._lose()
            return
        kind = Kind.RST if listener is None else Kind.SYN_ACK
        verdict = transmission.cross(self._server, kind, 0)
        if verdict.action is not Action.DELAY:
            self._lose()
        elif listener is None:
            self._refuse(verdict.delay_ns)
        else:
            self._server.open()
            self._clock.push(self._clock.now_ns + verdict.delay_ns, self._arrive_syn_ack, None)

    def _arrive_syn_ack(self, _: object) -> None:
        if self._is_over():
            self.cancel()
            return
        self._client.trace((self._clock.now_ns, self._client.log_id + event_log.SYN_ACK))
        self._client.open()
        transmission.emit(self._client, Kind.ESTABLISHED, self._arrive_established, None, 0)
        self._finish(self._client)

    def _arrive_established(self, _: object) -> None:
        server = self._server
        if server.error is not None:
            transmission.arrive_late(server, Kind.ESTABLISHED, self._arrive_established, None, 0)
            return
        server.trace((self._clock.now_ns, server.log_id + event_log.ESTABLISHED))
        listener = self._server_host.listener_at(self._address)
        if listener is None:
            server.abort()
        else:
            listener.on_connection(server)

    def _refuse(self, delay_ns: int) -> None:
        error = connect_failed(ConnectionRefusedError(errno.ECONNREFUSED, f"{self._address} refused the connection"))
        self._clock.push(self._clock.now_ns + delay_ns, self._arrive_refusal, error)

    def _arrive_refusal(self, error: ConnectFailed) -> None:
        if not self._is_over():
            self._client.trace((self._clock.now_ns, self._client.log_id + event_log.REFUSED))
            self._finish(error)

    def _lose(self) -> None:
        self._clock.push(syn_due_ns(self._start_ns, self._tries), self._send_syn, None)

    def _is_over(self) -> bool:
        return self._over or self._client_host.incarnation != self._client_life or not self._client_host.up

    def _finish(self, result: Socket | ConnectFailed) -> None:
        self._over = True
        self._done(result)
