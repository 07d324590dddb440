"""The control plane's end of a stream, against sidecars that misbehave: they harm themselves alone."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from memory_world import MemoryWorld
from trio.testing import MockClock

from mesh.config.snapshot import ProxyPart, Snapshot
from mesh.control.admission import NotAdmitted
from mesh.control.insights import Answer
from mesh.control.proxy_stream import ProxyStream, SaidGoodbye, StreamLimits
from mesh.discovery.encoding import PartEncoder
from mesh.discovery.messages import (
    Ack,
    ControlPlaneMessage,
    DataplaneDocument,
    DataplaneRequest,
    Goodbye,
    HealthReport,
    Heartbeat,
    Hello,
    Push,
    Refused,
    SidecarMessage,
    Welcome,
    decode_control_plane_message,
    encode_message,
)
from mesh.model.errors import BrokenConnection, IdentityError, MeshError, RemoteProtocolError
from mesh.model.names import ProxyId

HELLO = Hello(token="", dataplane={"name": "web-1"})


@attrs.define(eq=False)
class Pipe:
    """Stands in for a MessageSocket. `reads`: whether the sidecar takes what is sent to it."""

    reads: bool = True
    sent: list[ControlPlaneMessage] = attrs.field(factory=list)
    channel: Any = attrs.field(factory=lambda: trio.open_memory_channel[bytes](100))

    async def send(self, data: bytes) -> None:
        if not self.reads:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        self.sent.append(decode_control_plane_message(data))

    async def receive(self) -> bytes:
        data: bytes = await self.channel[1].receive()
        return data

    def say(self, *messages: SidecarMessage) -> None:
        for message in messages:
            self.channel[0].send_nowait(encode_message(message))


@attrs.define(eq=False)
class Everyone:
    """A membership that admits everybody."""

    left: list[str] = attrs.field(factory=list)
    farewells: int = 0
    answers: list[Answer] = attrs.field(factory=list)

    def admit(self, hello: Hello, stream: ProxyStream) -> Welcome:
        stream.resume(ProxyId("retail", "web-1"), hello.version, hello.digests)
        return Welcome(session=stream.session, heartbeat_s=5.0, lease_s=15.0)

    def describe(self, request: DataplaneRequest) -> dict[str, Any]:
        if request.name != "web-1":
            raise NotAdmitted("dataplane", "nobody knows it", retryable=True)
        return {"name": request.name}

    def heard(self, stream: ProxyStream) -> None:
        pass

    def answered(self, stream: ProxyStream, answer: Answer) -> None:
        self.answers.append(answer)

    def report_health(self, stream: ProxyStream, report: HealthReport) -> None:
        pass

    def goodbye(self, stream: ProxyStream) -> None:
        self.farewells += 1

    async def issue(self, stream: ProxyStream, csr_pem: str) -> str:
        raise IdentityError("not here")

    def leave(self, stream: ProxyStream, reason: str) -> None:
        self.left.append(reason)


def ending_of(
    script: Callable[[Pipe, ProxyStream], Awaitable[None]], pipe_factory: Callable[[], Pipe] = Pipe
) -> tuple[MeshError, float, Pipe]:
    """Play a sidecar against a stream; return how the stream ended, when, and what was sent."""

    async def play() -> tuple[MeshError, float, Pipe]:
        pipe, everyone = pipe_factory(), Everyone()
        stream = ProxyStream(
            env=MemoryWorld().environment("control-plane"),
            socket=pipe,  # type: ignore[arg-type]  # a stand-in with the same two methods
            membership=everyone,
            limits=StreamLimits(hello_s_max=10.0, send_s_max=10.0, answer_s_max=30.0),
            silence_s=15.0,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(script, pipe, stream)
            with pytest.raises(MeshError) as caught:
                await stream.run()
            nursery.cancel_scope.cancel()
        assert everyone.farewells == isinstance(caught.value, SaidGoodbye)
        assert everyone.left in ([], [str(caught.value)])
        return caught.value, trio.current_time(), pipe

    return trio.run(play, clock=MockClock(autojump_threshold=0))


def snapshot(workload: str) -> Snapshot:
    return Snapshot.of(ProxyPart(mesh="retail", name="web-1", workload=workload))


async def keep_beating(pipe: Pipe) -> None:
    while True:
        await trio.sleep(5.0)
        pipe.say(Heartbeat())


def test_sidecar_that_says_nothing_at_all_is_dropped() -> None:
    async def script(pipe: Pipe, stream: ProxyStream) -> None:
        pass

    error, when, _ = ending_of(script)
    assert isinstance(error, BrokenConnection) and when == pytest.approx(10.0)


def test_good_bye_ends_the_stream() -> None:
    async def script(pipe: Pipe, stream: ProxyStream) -> None:
        pipe.say(HELLO, Goodbye())

    error, when, _ = ending_of(script)
    assert isinstance(error, SaidGoodbye) and when == 0.0


def test_sidecar_that_falls_silent_is_dropped() -> None:
    async def script(pipe: Pipe, stream: ProxyStream) -> None:
        pipe.say(HELLO)
        await trio.sleep(5.0)
        pipe.say(Heartbeat())

    error, when, pipe = ending_of(script)
    assert "nothing heard for 15 s" in str(error) and when == pytest.approx(20.0)
    assert [type(message) for message in pipe.sent] == [Welcome, Heartbeat]


def test_sidecar_that_does_not_read_is_dropped() -> None:
    async def script(pipe: Pipe, stream: ProxyStream) -> None:
        pipe.say(HELLO)
        await keep_beating(pipe)

    error, when, _ = ending_of(script, lambda: Pipe(reads=False))
    assert "does not read" in str(error) and when == pytest.approx(10.0)


def test_sidecar_that_does_not_answer_a_push_is_dropped_and_costs_one_push() -> None:
    async def script(pipe: Pipe, stream: ProxyStream) -> None:
        pipe.say(HELLO)
        await trio.sleep(1.0)
        for number in range(1000):
            stream.want(PartEncoder().encode(snapshot(str(number))))
        await keep_beating(pipe)

    error, when, pipe = ending_of(script)
    assert "no answer to a push" in str(error) and when == pytest.approx(31.0)
    assert len([message for message in pipe.sent if isinstance(message, Push)]) == 1


def test_newest_configuration_follows_the_answer() -> None:
    async def script(pipe: Pipe, stream: ProxyStream) -> None:
        pipe.say(HELLO)
        await trio.sleep(1.0)
        for number in range(5):
            stream.want(PartEncoder().encode(snapshot(str(number))))
            await trio.sleep(0.1)
        for nonce in (1, 2):
            push = pipe.sent[-1]
            assert isinstance(push, Push) and push.nonce == nonce
            pipe.say(Ack(version=push.version, nonce=nonce))
            await trio.sleep(0.1)
        assert stream.publication.acked_version == snapshot("4").version()
        stream.dismiss(Refused(kind="stopping", reason="enough", retryable=True))

    error, _, pipe = ending_of(script)
    assert str(error) == "enough"
    assert pipe.sent[-1] == Refused(kind="stopping", reason="enough", retryable=True)


@pytest.mark.parametrize(
    "messages",
    [(Heartbeat(),), (HELLO, HELLO), (HELLO, Ack(version="0" * 16, nonce=1))],
    ids=["no hello", "second hello", "answer to nothing"],
)
def test_messages_out_of_turn_end_the_stream(messages: tuple[SidecarMessage, ...]) -> None:
    async def script(pipe: Pipe, stream: ProxyStream) -> None:
        pipe.say(*messages)

    error, when, _ = ending_of(script)
    assert isinstance(error, RemoteProtocolError) and when == 0.0


def test_sidecar_that_knows_only_its_name_is_told_its_dataplane() -> None:
    async def ask(name: str) -> tuple[list[ControlPlaneMessage], list[str]]:
        pipe, everyone = Pipe(), Everyone()
        stream = ProxyStream(
            env=MemoryWorld().environment("control-plane"),
            socket=pipe,  # type: ignore[arg-type]  # a stand-in with the same two methods
            membership=everyone,
            limits=StreamLimits(),
            silence_s=15.0,
        )
        pipe.say(DataplaneRequest(token="", mesh="retail", name=name))
        try:
            await stream.run()
        except NotAdmitted:
            pass
        return pipe.sent, everyone.left

    assert trio.run(ask, "web-1") == ([DataplaneDocument(dataplane={"name": "web-1"})], [])
    refused = Refused(kind="dataplane", reason="nobody knows it", retryable=True)
    assert trio.run(ask, "other") == ([refused], [])
