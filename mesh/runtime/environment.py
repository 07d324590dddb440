"""The seam between the mesh and its world: everything an actor may touch.

Two worlds implement it: `mesh.runtime.real` on the operating system, `sim.environment` in a simulated network.
Nothing in `mesh` can tell which. Spans of time come from Trio (`trio.sleep`, `trio.current_time`) or, in pumps,
from the reactor; both read the same clock.

Two ways to the network, one for each kind of code:
- `network` gives Trio streams to ordinary tasks (control plane, probes, exporters);
- `reactor` gives `Connection`s to pumps (`mesh.runtime.pump`), the coroutines of the request path.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import attrs
from structlog.typing import FilteringBoundLogger
from trio.abc import HalfCloseableStream

from mesh.model.names import Address, SpiffeId
from mesh.model.randomness import Randomness
from mesh.model.security import ClientTls, OriginationTls, ServerTls
from mesh.runtime.pump import Pump

T = TypeVar("T")


class StreamListener(Protocol):
    """A listening socket for Trio tasks."""

    address: Address

    async def accept(self) -> HalfCloseableStream: ...
    async def aclose(self) -> None: ...


class Network(Protocol):
    """Streams for ordinary Trio tasks."""

    async def connect(self, address: Address) -> HalfCloseableStream:
        """Open a stream. Raises: ConnectFailed (refused, unreachable, unresolvable); never times out by itself."""
        ...

    async def listen(self, address: Address) -> StreamListener:
        """Listen. Raises: ConfigError naming the address when it is taken or not ours."""
        ...

    async def resolve(self, name: str) -> Sequence[str]:
        """Return the IP addresses of a name, in the resolver's order. Raises: ConnectFailed."""
        ...


class Connection(Protocol):
    """A byte stream for one pump at a time in each direction. Buffers are bounded: `send` parks while the peer lags.

    A connection that has broken raises BrokenConnection from `receive` and `send`, a closed one ClosedConnection.
    While parked, the pump's deadline applies (DeadlineExceeded).
    """

    local: Address
    remote: Address
    peer: SpiffeId | None  # proven by mutual TLS; None on a plaintext connection
    secure: bool  # TLS protects the bytes
    sni: str  # of a server's connection: the name that its TLS client asked for, in lower case; "" none, or plaintext

    def receive_now(self) -> bytes | None:
        """Return bytes that are there, b"" at the end of the stream, None when `receive` would park."""
        ...

    async def receive(self) -> bytes:
        """Return the next bytes (at most 256 KiB), b"" at the end of the stream."""
        ...

    async def send(self, data: bytes) -> None:
        """Hand all of `data` over; parks while buffers are full."""
        ...

    async def send_eof(self) -> None:
        """End our direction; the peer's stays open."""
        ...

    def unread(self, data: bytes) -> None:
        """Put bytes back in front: the next `receive` returns them first. For protocol detection."""
        ...

    def watch(self, callback: Callable[[], None] | None) -> None:
        """Call back whenever bytes or the end arrive and nobody is parked in `receive`, until `watch(None)`.

        What has arrived already is reported too. For connections that ought to be silent: an idle pooled one, a client
        that waits for its response.
        """
        ...

    def close(self) -> None:
        """Close after what was sent has gone out; safe to repeat. A parked pump gets ClosedConnection."""
        ...

    def abort(self) -> None:
        """Drop everything at once: the peer sees a reset."""
        ...


class ReactorListener(Protocol):
    """A listening socket whose connections each get a pump."""

    address: Address

    def close(self) -> None:
        """Stop accepting; connections already accepted live on. Safe to repeat."""
        ...


class Reactor(Protocol):
    """Drives the pumps of one host (real world: of one process). See mesh.runtime.pump for the rules of pumps."""

    current: Pump | None  # the pump being stepped right now

    def now(self) -> float:
        """Seconds of Trio's clock; cheap, and constant within one turn."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back at `when` or a little later, outside any pump. Cannot be taken back: callbacks check for themselves."""
        ...

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back at the end of this turn, outside any pump."""
        ...

    def start(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Pump:
        """Run a coroutine as a pump, its first step at once."""
        ...

    def listen(self, address: Address, serve: Callable[[Connection], Coroutine[Any, Any, None]]) -> ReactorListener:
        """Accept connections, one pump `serve(connection)` each; the connection is closed when its pump ends.

        Raises: ConfigError naming the address when it is taken or not ours.
        """
        ...

    async def connect(self, address: Address) -> Connection:
        """From a pump: open a connection to an IP address. Raises: ConnectFailed, DeadlineExceeded."""
        ...

    async def sleep(self, seconds: float) -> None:
        """From a pump: park for a while."""
        ...

    async def call_trio(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """From a pump: run an async function as a Trio task of the reactor's and park until its result."""
        ...

    async def run(self) -> None:
        """Serve until cancelled; then every pump is cancelled and every connection closed. One Trio task does it."""
        ...


class TlsContext(Protocol):
    """One prepared side of TLS; made once per set of credentials, used for many connections."""

    async def handshake(self, connection: Connection) -> Connection:
        """From a pump: return the protected connection. Raises: IdentityError, BrokenConnection, DeadlineExceeded."""
        ...

    async def handshake_stream(self, stream: HalfCloseableStream) -> tuple[HalfCloseableStream, SpiffeId | None]:
        """From a Trio task: return the protected stream and the peer's SPIFFE ID. Raises: IdentityError, BrokenConnection."""
        ...


class Tls(Protocol):
    """TLS with SPIFFE identities, 1.3 unless told otherwise. Real: OpenSSL. Simulated: modelled, with true certificates."""

    def client(self, config: ClientTls) -> TlsContext: ...
    def server(self, config: ServerTls) -> TlsContext: ...

    def originate(self, config: OriginationTls) -> TlsContext:
        """Prepare to call a server outside the mesh. Raises: IdentityError (unusable certificate, key or root), ConfigError."""
        ...


class Transaction(Protocol):
    """What the work of one transaction may do; worthless after it."""

    def execute(self, sql: str, values: Mapping[str, Any] = {}) -> list[tuple[Any, ...]]:
        """Run one statement that SQLite and PostgreSQL both understand, and return its rows.

        `:name` stands for `values["name"]`, never inside quotes. An error ends the transaction: let it pass.
        """
        ...


class Database(Protocol):
    """One SQL database. Its transactions are serializable, whoever else writes to it."""

    async def transact(self, work: Callable[[Transaction], T], *, read_only: bool = False) -> T:
        """Run `work` in one transaction; committed and durable on return. Nothing happened when it raises.

        `work` does nothing but SQL: it may run on another thread, and again when it could not be committed; what it raises
        ends the transaction. A caller who is cancelled on the way gets Cancelled before the work began, else the result.
        Raises: StoreError (the disk or the server fails), OutcomeUnknown (the one case where it may have happened).
        """
        ...

    async def wait_changed(self) -> None:
        """Sleep until another process may have committed since the last call; forever where nobody else can write.

        The first call returns at once where others can. One task calls it.
        """
        ...

    async def aclose(self) -> None: ...


class Disk(Protocol):
    """Durable files, named by relative paths with `/`. Nothing survives a crash for sure before `sync` has returned.

    Raises: FileNotFoundError, OSError (full, broken) like the operating system.
    """

    async def read(self, path: str) -> bytes: ...
    async def write(self, path: str, data: bytes) -> None: ...
    async def sync(self, path: str) -> None: ...
    async def rename(self, source: str, target: str) -> None: ...
    async def delete(self, path: str) -> None: ...
    async def list(self, folder: str) -> Sequence[str]:
        """Return the paths of the files below a folder, sorted; an absent folder is empty."""
        ...

    async def open_database(self, path: str) -> Database:
        """Open an SQLite database for ourselves alone, made if absent.

        Raises: ConfigError when another has it open or it is no database, StoreError.
        """
        ...


class HostFiles(Protocol):
    """What operators left on this host for its sidecar: files by absolute path, and environment variables. Read only."""

    def read(self, path: str) -> bytes:
        """Return a small file. Raises: OSError like the operating system."""
        ...

    def variable(self, name: str) -> str | None: ...


class Process(Protocol):
    """A helper program."""

    pid: int

    async def wait(self) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Processes(Protocol):
    """Starts helper programs; they end when we end."""

    async def start(self, command: Sequence[str], *, log_path: str | None = None) -> Process: ...


@attrs.frozen(kw_only=True, eq=False)
class Environment:
    """What one actor, or all actors of one host, may touch."""

    host: str
    network: Network
    reactor: Reactor
    tls: Tls
    randomness: Randomness
    disk: Disk
    wall_clock: Callable[[], float]  # seconds since the epoch; may be skewed per host in simulation
    log: FilteringBoundLogger
    processes: Processes | None = None  # absent in simulation
    host_files: HostFiles | None = None  # absent in simulation

    def bind(self, **fields: object) -> "Environment":
        """The same environment with fields added to every log line."""
        return attrs.evolve(self, log=self.log.bind(**fields))
