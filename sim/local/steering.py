"""The runner's side of the steering: one socket a process; tells them what to do and hands on what they report."""

from collections.abc import Callable

import attrs
import trio

from sim.local.messages import Channel, Done, FromProcess, Hello, Look, Power, Report, ToProcess

_ACKNOWLEDGE_S = 2.0  # A stopped process never does.
_LOOK_S = 0.5  # A process that has not answered a look by then is seen as it stood at the one before.
_POLL_S = 0.02
_WAITING_MAX = 10_000  # messages to one process that it has not read


@attrs.define(eq=False)
class Connected:
    """A process that is there. What it reported last stands until it ends."""

    name: str
    role: str
    outgoing: trio.MemorySendChannel[ToProcess]
    started: bool = False  # its actor runs: it has reported
    busy: int = 0
    touched: int = 0
    late: int = 0
    acknowledged: int = 0
    looked: int = 0  # the last look that it has answered


class Steering:
    """See the module's text.

    `greet` returns what a process is told first, `on_report` gets all its reports, `on_end` is told when it has gone.
    """

    def __init__(
        self,
        socket_path: str,
        *,
        greet: Callable[[Connected], list[ToProcess]],
        on_report: Callable[[Connected, Report], None],
        on_end: Callable[[Connected], None],
    ) -> None:
        self.socket_path = socket_path
        self.connected: dict[tuple[str, str], Connected] = {}
        self.bit: dict[int, None] = {}  # entries of the timeline that have touched something on links
        self._greet = greet
        self._on_report = on_report
        self._on_end = on_end
        self._numbers = 0
        self._looks = 0

    async def run(self, *, task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await listening.bind(self.socket_path)
        listening.listen(512)
        await trio.serve_listeners(self._serve, [trio.SocketListener(listening)], task_status=task_status)

    def tell(self, message: ToProcess, *, role: str = "", name: str = "") -> None:
        """Tell processes: all, those of a role, those of a host."""
        for process in self.connected.values():
            if role in ("", process.role) and name in ("", process.name):
                process.outgoing.send_nowait(message)

    async def announce_power(self, name: str, *, on: bool) -> None:
        """Let every sidecar know of a host's power, its own too, and wait until they do."""
        self._numbers = number = self._numbers + 1
        self.tell(Power(name=name, on=on, number=number), role="sidecar")
        with trio.move_on_after(_ACKNOWLEDGE_S):
            while any(
                p.acknowledged < number for p in self.connected.values() if p.role == "sidecar" and p.name != name
            ):
                await trio.sleep(0.001)

    async def look(self) -> None:
        """Ask all processes how everything stands, and wait for their answers, for a while."""
        self._looks = number = self._looks + 1
        self.tell(Look(number=number))
        with trio.move_on_after(_LOOK_S):
            while any(process.looked < number for process in self.connected.values() if process.started):
                await trio.sleep(0.002)

    async def wait_started(self, name: str, role: str) -> None:
        """Wait until the actor of a process runs."""
        while (process := self.connected.get((name, role))) is None or not process.started:
            await trio.sleep(_POLL_S)

    async def wait_gone(self, name: str, role: str) -> None:
        """Wait, for a moment, until all that a process said before its end has been taken in."""
        with trio.move_on_after(_LOOK_S):
            while (name, role) in self.connected:
                await trio.sleep(_POLL_S)

    def busy(self) -> bool:
        """Is any process at work?"""
        return any(process.busy for process in self.connected.values())

    async def _serve(self, stream: trio.SocketStream) -> None:
        channel = Channel(stream)
        process: Connected | None = None
        try:
            async with trio.open_nursery() as nursery:
                async for message in channel.receive(FromProcess):
                    if isinstance(message, Hello):
                        process = self._welcome(message, channel, nursery)
                    elif process is not None:
                        self._take(process, message)
                nursery.cancel_scope.cancel()
        finally:
            if process is not None and self.connected.get((process.name, process.role)) is process:
                del self.connected[process.name, process.role]
                self._on_end(process)
            await trio.aclose_forcefully(stream)

    def _welcome(self, hello: Hello, channel: Channel, nursery: trio.Nursery) -> Connected:
        sending, receiving = trio.open_memory_channel[ToProcess](_WAITING_MAX)
        process = Connected(hello.name, hello.role, sending, acknowledged=self._numbers)
        self.connected[hello.name, hello.role] = process
        nursery.start_soon(_send_all, channel, receiving)
        for message in self._greet(process):
            sending.send_nowait(message)
        return process

    def _take(self, process: Connected, message: Done | Report) -> None:
        if isinstance(message, Done):
            process.acknowledged = message.number
            return
        process.started = True
        process.looked = max(process.looked, message.look)
        process.busy = message.busy
        self.bit.update(dict.fromkeys(message.bit))
        self._on_report(process, message)


async def _send_all(channel: Channel, messages: "trio.MemoryReceiveChannel[ToProcess]") -> None:
    async for message in messages:
        try:
            await channel.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # It has ended; who reads from it notices too.
