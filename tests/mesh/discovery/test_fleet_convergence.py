"""Sidecars and control planes over connections that end at any moment: everybody ends with what is wanted, and nothing else.

`test_stream_state` has one stream over a channel that repeats and reorders. Here connections are what TCP makes of them (in
order, until they end: at any message, in the middle of applying, on one side first), and what lies around them takes part:
two control planes that learn of changes one after the other, the encoders that proxies share, sidecars that restart from a
file which is behind or damaged, ports that are taken for a while. The bugs that were planted stand at the end, as tests.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import attrs
import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mesh.config.snapshot import ClusterEndpoints, Endpoint, ProxyPart, Snapshot
from mesh.discovery.encoding import EncodedSnapshot, PartEncoder, SharedParts, from_file, of_parts, to_file
from mesh.discovery.messages import (
    Ack,
    Hello,
    Nack,
    Push,
    Resync,
    SidecarMessage,
    decode_control_plane_message,
    decode_sidecar_message,
    encode_message,
)
from mesh.discovery.publication import Publication
from mesh.discovery.subscription import Candidate, Subscription
from mesh.model.errors import ConfigError
from mesh.model.names import Address

PROXIES = ("shop-1", "stock-1")
CLUSTERS = ("db", "stock", "web")


class Truth:
    """What the mesh was after each change, as the configurations of proxies. Parts that did not change are one object."""

    def __init__(self) -> None:
        self.snapshots: list[Mapping[str, Snapshot]] = []
        self._part_by_value: dict[tuple[str, int], ClusterEndpoints] = {}

    def change(self, count_by_cluster: Mapping[str, int]) -> None:
        shared = [self._part(cluster, count) for cluster, count in sorted(count_by_cluster.items())]
        self.snapshots.append(
            {name: Snapshot.of(ProxyPart(mesh="m", name=name, workload="w"), *shared) for name in PROXIES}
        )

    def _part(self, cluster: str, count: int) -> ClusterEndpoints:
        endpoints = tuple(Endpoint(name=f"{cluster}-{n}", address=Address("10.0.0.1", 8000 + n)) for n in range(count))
        return self._part_by_value.setdefault((cluster, count), ClusterEndpoints(cluster=cluster, endpoints=endpoints))


@attrs.define(eq=False)
class Stream:
    """The control plane's end of one connection."""

    publication: Publication
    wanted: list[str]  # versions, in the order in which they were wanted
    acked_place: int = 0

    def take(self, message: SidecarMessage) -> None:
        match message:
            case Ack(version=version, nonce=nonce):
                if self.publication.ack(version, nonce):
                    later = self.wanted[self.acked_place :]
                    assert version in later, "an acknowledged version is none that was wanted since the last one"
                    self.acked_place += later.index(version)
            case Nack(version=version, nonce=nonce, reason=reason):
                self.publication.nack(version, nonce, reason)
            case Resync(nonce=nonce):
                self.publication.resync(nonce)
            case _:
                raise AssertionError(message)


class ControlPlane:
    """Knows the mesh up to some change, and what of it each proxy is to have."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.seen = 0  # changes, all but this many are still to be heard of
        self.streams: dict[str, Stream] = {}  # the newest of each proxy
        shared = SharedParts()
        self._encoders = {name: PartEncoder(shared) for name in PROXIES}

    def look(self, upto: int) -> None:
        """Hear of changes; tell the streams."""
        self.seen = max(self.seen, upto)
        for name in self.streams:
            self._want(name)

    def admit(self, hello: Hello) -> Stream:
        stream = Stream(Publication.resume(hello.version, hello.digests), [hello.version])
        name = str(hello.dataplane["name"])
        self.streams[name] = stream
        self._want(name)
        return stream

    def _want(self, name: str) -> None:
        if self.seen:
            encoded = self._encoders[name].encode(self.truth.snapshots[self.seen - 1][name])
            self.streams[name].publication.want(encoded)
            self.streams[name].wanted.append(encoded.version)


class Sidecar:
    """A sidecar: its subscription, what it lives by, its file, and the connection that it believes to have."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.subscription = Subscription()
        self.live: Snapshot | None = None
        self.file: bytes | None = None
        self.port_is_taken = False
        self.connection: Connection | None = None
        self.candidate: Candidate | None = None  # waits for its certificate

    def hello(self) -> Hello:
        self.subscription.connect()
        held = self.subscription.held
        document = {"name": self.name}
        if held is None:
            return Hello(token="t", dataplane=document)
        return Hello(token="t", dataplane=document, version=held.version, digests=dict(held.digests))

    def receive(self, push: Push) -> None:
        answer = self.subscription.receive(push)
        if isinstance(answer, Candidate):
            self.candidate = answer
        elif answer is not None:
            self.answer(answer)

    def apply(self) -> None:
        """Finish what the last push began."""
        if self.candidate is None:
            return
        candidate, self.candidate = self.candidate, None
        if self.port_is_taken:
            self.answer(self.subscription.refuse(candidate, "address in use"))
        else:
            self.live = candidate.snapshot
            self.answer(self.subscription.accept(candidate))

    def answer(self, message: SidecarMessage) -> None:
        if self.connection is not None:
            self.connection.up.append(encode_message(message))

    def restart(self) -> None:
        """Lose everything but the file; live by it at once."""
        self.subscription, self.live, self.connection, self.candidate = Subscription(), None, None, None
        if self.file is None:
            return
        try:
            held = from_file(self.file)
            snapshot = held.decode()
        except ConfigError:
            return
        if not self.port_is_taken:
            self.subscription.held, self.live = held, snapshot


class Connection:
    """One connection: bytes of whole messages on their way, in order. Each side learns of its end when it looks."""

    def __init__(self, sidecar: Sidecar, control_plane: ControlPlane) -> None:
        self.sidecar = sidecar
        self.control_plane = control_plane
        self.up: list[bytes] = [encode_message(sidecar.hello())]
        self.down: list[bytes] = []
        self.stream: Stream | None = None

    def send(self) -> bool:
        """Let the control plane push what it has to."""
        push = None if self.stream is None else self.stream.publication.next_push()
        if push is not None:
            self.down.append(encode_message(push))
        return push is not None

    def deliver_up(self) -> bool:
        if not self.up:
            return False
        message = decode_sidecar_message(self.up.pop(0))
        if isinstance(message, Hello):
            self.stream = self.control_plane.admit(message)
        else:
            assert self.stream is not None
            self.stream.take(message)
        return True

    def deliver_down(self) -> bool:
        # A push that comes while another is being applied waits; the sidecar reads no further.
        if not self.down or self.sidecar.candidate is not None:
            return False
        push = decode_control_plane_message(self.down.pop(0))
        assert isinstance(push, Push)
        self.sidecar.receive(push)
        return True


proxies = st.sampled_from(PROXIES)


class Fleet(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.truth = Truth()
        self.control_planes = [ControlPlane(self.truth), ControlPlane(self.truth)]
        self.sidecars = {name: Sidecar(name) for name in PROXIES}
        self.orphans: list[Connection] = []  # that sidecars have left, and control planes not yet noticed

    @initialize()
    def begin(self) -> None:
        self.truth.change({})
        for index, name in enumerate(PROXIES):
            self.control_planes[index].look(1)
            self.connect(name, index)

    @rule(counts=st.dictionaries(st.sampled_from(CLUSTERS), st.integers(0, 2)))
    def change(self, counts: Mapping[str, int]) -> None:
        self.truth.change(counts)

    @rule(counts=st.dictionaries(st.sampled_from(CLUSTERS), st.integers(1, 2), min_size=1), name=proxies)
    def change_and_tell(self, counts: Mapping[str, int], name: str) -> None:
        """A change that everybody hears of at once, and one proxy is told of."""
        self.truth.change(counts)
        for control_plane in self.control_planes:
            control_plane.look(len(self.truth.snapshots))
        self.exchange(name)

    @rule(which=st.integers(0, 1), upto=st.integers(0, 3))
    def look(self, which: int, upto: int) -> None:
        """A control plane hears of some more changes."""
        control_plane = self.control_planes[which]
        control_plane.look(min(control_plane.seen + upto, len(self.truth.snapshots)))

    @rule(name=proxies, which=st.integers(0, 1), chance=st.integers(0, 2))
    def connect_sometimes(self, name: str, which: int, chance: int) -> None:
        if chance == 0 or self.sidecars[name].connection is None:
            self.connect(name, which)

    def connect(self, name: str, which: int) -> None:
        self.hang_up(name)
        sidecar = self.sidecars[name]
        sidecar.connection = Connection(sidecar, self.control_planes[which])

    @rule(name=proxies, chance=st.integers(0, 2))
    def hang_up_sometimes(self, name: str, chance: int) -> None:
        if chance == 0:
            self.hang_up(name)

    def hang_up(self, name: str) -> None:
        """The connection ends for the sidecar, whatever it was doing; the other side still reads what had left before."""
        sidecar = self.sidecars[name]
        sidecar.candidate = None
        if sidecar.connection is not None:
            self.orphans.append(sidecar.connection)
            sidecar.connection = None

    @rule(some=st.integers(0, 3))
    def read_what_had_left_before_the_end(self, some: int) -> None:
        while self.orphans:
            orphan = self.orphans.pop()
            if orphan.stream is not None:
                for _ in range(min(some, len(orphan.up))):
                    orphan.deliver_up()

    @rule(name=proxies, steps=st.lists(st.sampled_from(("send", "down", "apply", "up")), min_size=1, max_size=8))
    def go_on(self, name: str, steps: list[str]) -> None:
        sidecar = self.sidecars[name]
        for step in steps:
            if sidecar.connection is not None:
                actions: dict[str, Callable[[], object]] = {
                    "send": sidecar.connection.send,
                    "down": sidecar.connection.deliver_down,
                    "apply": sidecar.apply,
                    "up": sidecar.connection.deliver_up,
                }
                actions[step]()

    @rule(name=proxies)
    def exchange(self, name: str) -> None:
        """A whole push, and its answer."""
        self.go_on(name, ["up", "send", "down", "apply", "up"])

    @rule(name=proxies)
    def keep(self, name: str) -> None:
        """Write the file; it may be long before that happens again."""
        held = self.sidecars[name].subscription.held
        self.sidecars[name].file = None if held is None else to_file(held)

    @rule(name=proxies, damage=st.integers(0, 3), kept=st.booleans())
    def restart(self, name: str, damage: int, kept: bool) -> None:
        if kept:
            self.keep(name)
        self.hang_up(name)
        sidecar = self.sidecars[name]
        if sidecar.file is not None and damage == 0:
            sidecar.file = sidecar.file[:-3]
        elif sidecar.file is not None and damage == 1:
            sidecar.file = re.sub(rb"8000", b"9000", sidecar.file)  # still JSON, and a configuration that nobody wanted
        sidecar.restart()

    @rule(name=proxies, taken=st.booleans())
    def take_or_free_port(self, name: str, taken: bool) -> None:
        self.sidecars[name].port_is_taken = taken

    @rule(name=proxies)
    def offer_again(self, name: str) -> None:
        connection = self.sidecars[name].connection
        if connection is not None and connection.stream is not None:
            connection.stream.publication.offer_again()

    # What always holds.

    @invariant()
    def every_sidecar_lives_by_a_whole_configuration_that_was_wanted_of_it(self) -> None:
        for name, sidecar in self.sidecars.items():
            wanted = [dict(snapshots[name].parts) for snapshots in self.truth.snapshots]
            assert sidecar.live is None or dict(sidecar.live.parts) in wanted, "a mixed configuration"

    @invariant()
    def what_is_held_is_what_is_live(self) -> None:
        for sidecar in self.sidecars.values():
            held = sidecar.subscription.held
            assert (held.version if held else None) == (sidecar.live.version() if sidecar.live else None)

    def teardown(self) -> None:
        """The last change has come; nothing fails any more. Connections that are up stay up."""
        if not self.truth.snapshots:
            return
        self.read_what_had_left_before_the_end(9)
        for control_plane in self.control_planes:
            control_plane.look(len(self.truth.snapshots))
        for name, sidecar in self.sidecars.items():
            sidecar.port_is_taken = False
            if sidecar.connection is None:
                self.connect(name, 0)
            self.offer_again(name)
            for _ in range(6):
                self.exchange(name)
            self.go_on(name, ["down", "apply", "up"])
            assert sidecar.live is not None, "never configured"
            assert dict(sidecar.live.parts) == dict(self.truth.snapshots[-1][name].parts), "not the newest one"
            connection = sidecar.connection
            assert connection is not None and connection.stream is not None
            assert connection.stream.publication.converged, "the control plane does not know"


Fleet.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestFleet = Fleet.TestCase


# Planted bugs: with each, the machine has to fail.


@contextmanager
def expected_failure(message: str) -> Iterator[None]:
    with pytest.raises((AssertionError, ExceptionGroup)) as failure:
        yield
    failures = failure.value.exceptions if isinstance(failure.value, ExceptionGroup) else (failure.value,)
    assert any(message in str(error) for error in failures), failures


def run_machine(examples_max: int = 300) -> None:
    once = settings(
        max_examples=examples_max,
        stateful_step_count=30,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),  # It is to be found; what is found need not be made small.
    )
    run_state_machine_as_test(Fleet, settings=once)


def test_encoder_that_knows_parts_by_key_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(self: PartEncoder, snapshot: Snapshot) -> EncodedSnapshot:
        self._encoded = {
            key: self._encoded.get(key) or self._shared.encode(part) for key, part in snapshot.parts.items()
        }
        return of_parts({key: part.data for key, part in self._encoded.items()})

    monkeypatch.setattr(PartEncoder, "encode", encode)
    with expected_failure("not the newest one"):
        run_machine()


def test_sidecar_that_goes_on_counting_nonces_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subscription, "connect", lambda self: None)
    with expected_failure("not the newest one"):
        run_machine()


def test_control_plane_that_takes_an_ack_for_what_it_wants_now_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ack = Publication.ack

    def taken(self: Publication, version: str, nonce: int) -> bool:
        accepted = ack(self, version, nonce)
        if accepted and self.wanted is not None:
            self.acked_version, self.acked_digests = self.wanted.version, self.wanted.digests
        return accepted

    monkeypatch.setattr(Publication, "ack", taken)
    with expected_failure("not the newest one"):
        run_machine()


def test_refusal_that_outlives_its_cause_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publication, "offer_again", lambda self: None)
    with expected_failure("never configured"):
        run_machine()


def test_damaged_file_that_is_believed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def believed(data: bytes) -> EncodedSnapshot:
        try:
            parts = msgspec.json.decode(data)["parts"]
        except msgspec.DecodeError as error:
            raise ConfigError([]) from error
        return of_parts({key: msgspec.json.encode(part) for key, part in parts.items()})

    monkeypatch.setitem(globals(), "from_file", believed)
    with expected_failure("a mixed configuration"):
        run_machine(3000)  # Few walks restart from a file that is damaged and readable.
