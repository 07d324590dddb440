"""Publication and Subscription together over a channel that loses, repeats and reorders, against a naive model.

Planted, to see this fail: `Subscription.receive` without the nonce check (a repeated push brought an old version back),
`Publication.next_push` without the in-flight check (two pushes on their way), `Publication.nack` that forgets the
refusal (the refused version came again). Answers taken without regard to their nonce were too rare for it: the last
test here is for them.
"""

from collections.abc import Mapping

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mesh.config.snapshot import ClusterEndpoints, Endpoint, ProxyPart, Snapshot
from mesh.discovery.encoding import EncodedSnapshot, PartEncoder
from mesh.discovery.messages import Ack, Nack, Push, Resync
from mesh.discovery.publication import Publication
from mesh.discovery.subscription import Candidate, Subscription
from mesh.model.names import Address

Answer = Ack | Nack | Resync
POISON = "poison"
CLUSTERS = ("accounts", "cart", "web")


def endpoints(cluster: str, count: int) -> ClusterEndpoints:
    return ClusterEndpoints(
        cluster=cluster,
        endpoints=tuple(Endpoint(name=f"{cluster}-{i}", address=Address("10.0.0.1", 1 + i)) for i in range(count)),
    )


def snapshot_of(counts: Mapping[str, int], poisoned: bool) -> Snapshot:
    proxy = ProxyPart(mesh="retail", name="web-1", workload=POISON if poisoned else "web")
    return Snapshot.of(proxy, *(endpoints(cluster, count) for cluster, count in sorted(counts.items())))


def is_poisoned(snapshot: Snapshot) -> bool:
    proxy = snapshot.parts["proxy"]
    assert isinstance(proxy, ProxyPart)
    return proxy.workload == POISON


class ConfigurationStream(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.subscription = Subscription()
        self.publication = Publication()
        self.wanted: Snapshot | None = None
        self.ever_wanted: list[Mapping[str, object]] = []
        self.live: Snapshot | None = None  # the sidecar's target
        self.pushes: list[Push] = []
        self.answers: list[Answer] = []
        self.refused_last = ""
        self.nonce_acked = 0

    # The mesh changes.

    @initialize()
    def want_nothing_yet(self) -> None:
        self.want_snapshot(snapshot_of({}, False))

    @rule(counts=st.dictionaries(st.sampled_from(CLUSTERS), st.integers(0, 2)), poisoned=st.integers(0, 4))
    def want(self, counts: Mapping[str, int], poisoned: int) -> None:
        self.want_snapshot(snapshot_of(counts, poisoned == 0))

    def want_snapshot(self, snapshot: Snapshot) -> None:
        self.wanted = snapshot
        self.ever_wanted.append(self.wanted.parts)
        self.publication.want(PartEncoder().encode(self.wanted))

    # The channel.

    @rule()
    def send(self) -> None:
        push = self.publication.next_push()
        if push is not None:
            assert push.version != self.refused_last, "a refused version was sent again"
            self.pushes.append(push)

    @rule(position=st.integers(0, 5), keep=st.booleans())
    def deliver_push(self, position: int, keep: bool) -> None:
        if self.pushes:
            position %= len(self.pushes)
            self.receive(self.pushes[position] if keep else self.pushes.pop(position))

    @rule(position=st.integers(0, 5), keep=st.booleans())
    def deliver_answer(self, position: int, keep: bool) -> None:
        if self.answers:
            position %= len(self.answers)
            self.take(self.answers[position] if keep else self.answers.pop(position))

    @rule(position=st.integers(0, 5), upwards=st.booleans())
    def lose(self, position: int, upwards: bool) -> None:
        channel: list[Push] | list[Answer] = self.answers if upwards else self.pushes
        if channel:
            channel.pop(position % len(channel))

    @rule()
    def exchange(self) -> None:
        """One push there, its answer back, and copies of both left in the channel."""
        before = len(self.pushes)
        self.send()
        if len(self.pushes) > before:
            self.receive(self.pushes[-1])
            if self.answers:
                self.take(self.answers[-1])

    @rule(chance=st.integers(0, 9))
    def reconnect_sometimes(self, chance: int) -> None:
        if chance < 3:
            self.reconnect(disk_lost=chance == 0)

    def reconnect(self, *, disk_lost: bool) -> None:
        if disk_lost:
            self.subscription, self.live = Subscription(), None
        self.pushes.clear()
        self.answers.clear()
        self.subscription.connect()
        held = self.subscription.held
        self.publication = Publication.resume(held.version, held.digests) if held else Publication()
        self.refused_last, self.nonce_acked = "", 0
        assert self.wanted is not None
        self.publication.want(PartEncoder().encode(self.wanted))

    # The two ends.

    def receive(self, push: Push) -> None:
        match self.subscription.receive(push):
            case Candidate() as candidate if is_poisoned(candidate.snapshot):
                self.answers.append(self.subscription.refuse(candidate, "poisoned"))
            case Candidate() as candidate:
                self.live = candidate.snapshot
                self.answers.append(self.subscription.accept(candidate))
            case None:
                pass
            case answer:
                self.answers.append(answer)

    def take(self, answer: Answer) -> None:
        match answer:
            case Ack(version=version, nonce=nonce):
                if self.publication.ack(version, nonce):
                    assert nonce > self.nonce_acked, "acknowledged versions went back"
                    self.nonce_acked, self.refused_last = nonce, ""
            case Nack(version=version, nonce=nonce, reason=reason):
                if self.publication.nack(version, nonce, reason):
                    self.refused_last = version
            case Resync(nonce=nonce):
                self.publication.resync(nonce)

    # What always holds.

    @invariant()
    def live_configuration_is_one_that_was_wanted_whole(self) -> None:
        assert self.live is None or dict(self.live.parts) in [dict(parts) for parts in self.ever_wanted]

    @invariant()
    def refused_configuration_is_never_live(self) -> None:
        assert self.live is None or not is_poisoned(self.live)

    @invariant()
    def held_is_what_is_live(self) -> None:
        held = self.subscription.held
        assert (held.version if held else None) == (self.live.version() if self.live else None)

    @invariant()
    def both_ends_agree_when_nothing_is_in_flight(self) -> None:
        if not self.publication.in_flight and self.publication.acked_version:
            assert self.live is not None and self.live.version() == self.publication.acked_version

    @invariant()
    def at_most_one_push_of_a_connection_awaits_its_answer(self) -> None:
        assert len({push.nonce for push in self.pushes if push.nonce > self.subscription.nonce_newest}) <= 1

    def teardown(self) -> None:
        if self.wanted is None:
            return
        self.reconnect(disk_lost=False)
        for _ in range(4):
            self.send()
            while self.pushes:
                self.receive(self.pushes.pop(0))
            while self.answers:
                self.take(self.answers.pop(0))
        if is_poisoned(self.wanted):
            assert self.publication.refusal is not None
            assert self.publication.refusal.version == self.wanted.version()
        else:
            assert self.publication.converged
            assert self.live is not None and dict(self.live.parts) == dict(self.wanted.parts)


ConfigurationStream.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestConfigurationStream = ConfigurationStream.TestCase


def drain(publication: Publication, subscription: Subscription) -> Push:
    """Carry one push over and acknowledge it."""
    push = publication.next_push()
    assert push is not None
    candidate = subscription.receive(push)
    assert isinstance(candidate, Candidate)
    ack = subscription.accept(candidate)
    assert publication.ack(ack.version, ack.nonce)
    return push


def encoded(**counts: int) -> EncodedSnapshot:
    return PartEncoder().encode(snapshot_of(counts, False))


def test_second_push_carries_only_what_changed() -> None:
    publication, subscription = Publication(), Subscription()
    publication.want(encoded(accounts=1, cart=1))
    assert drain(publication, subscription).base_version == ""
    publication.want(encoded(cart=2, web=1))
    push = drain(publication, subscription)
    assert sorted(push.upserts) == ["endpoints/cart", "endpoints/web"]
    assert push.removed == ("endpoints/accounts",)


def test_snapshots_wanted_while_one_is_in_flight_coalesce() -> None:
    publication, subscription = Publication(), Subscription()
    publication.want(encoded(web=0))
    first = publication.next_push()
    assert first is not None
    for count in (1, 2):
        publication.want(encoded(web=count))
        assert publication.next_push() is None
    candidate = subscription.receive(first)
    assert isinstance(candidate, Candidate)
    publication.ack(subscription.accept(candidate).version, first.nonce)
    assert drain(publication, subscription).version == encoded(web=2).version
    assert publication.next_push() is None


def test_reconnected_proxy_that_holds_the_wanted_version_is_sent_nothing() -> None:
    held = encoded(web=1)
    publication = Publication.resume(held.version, held.digests)
    publication.want(encoded(web=1))
    assert publication.converged
    assert publication.next_push() is None


def test_push_whose_parts_do_not_make_its_version_is_refused() -> None:
    publication, subscription = Publication(), Subscription()
    publication.want(encoded(web=1))
    push = publication.next_push()
    assert push is not None
    wrong = Push(version="0" * 16, nonce=push.nonce, upserts=push.upserts)
    assert isinstance(subscription.receive(wrong), Nack)
    assert subscription.held is None


def test_resync_in_answer_to_a_whole_push_is_not_taken() -> None:
    publication = Publication()
    publication.want(encoded(web=1))
    push = publication.next_push()
    assert push is not None
    assert not publication.resync(push.nonce)


def test_delta_to_a_base_that_is_not_held_asks_for_everything() -> None:
    publication, subscription = Publication(), Subscription()
    publication.want(encoded(web=1))
    drain(publication, subscription)
    subscription.held = None
    publication.want(encoded(web=2))
    push = publication.next_push()
    assert push is not None
    answer = subscription.receive(push)
    assert isinstance(answer, Resync)
    assert publication.resync(answer.nonce)
    assert drain(publication, subscription).base_version == ""
    assert subscription.held is not None and subscription.held.version == encoded(web=2).version


def test_old_ack_does_not_count_for_a_new_push_of_the_same_version() -> None:
    publication, subscription = Publication(), Subscription()
    publication.want(encoded(web=1))
    first = drain(publication, subscription)
    publication.want(encoded(web=2))
    drain(publication, subscription)
    publication.want(encoded(web=1))
    assert publication.next_push() is not None
    assert not publication.ack(first.version, first.nonce)
    assert publication.acked_version == encoded(web=2).version
