"""Host selection of retries: what is avoided, and that there is always an end to it."""

import attrs
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mesh.policy.host_selection import Avoided, HostSelection


@attrs.frozen
class Endpoint:
    label: str
    priority: int = 0
    tags: tuple[tuple[str, str], ...] = ()


FIRST, SECOND, THIRD = Endpoint("10.0.0.1:80"), Endpoint("10.0.0.2:80"), Endpoint("10.0.0.3:80")


class Turns:
    """A balancer that goes round, and gives an omitted priority only what nobody else can take."""

    def __init__(self, *hosts: Endpoint) -> None:
        self.hosts = hosts
        self.picks: list[int] = []

    def pick(self, number: int, omitted: frozenset[int]) -> Endpoint | None:
        self.picks.append(number)
        hosts = [host for host in self.hosts if host.priority not in omitted] or self.hosts
        return hosts[(len(self.picks) - 1) % len(hosts)] if hosts else None


def test_previous_hosts_are_passed_over_even_when_made_anew() -> None:
    avoided = Avoided(HostSelection(omit_previous_hosts=True, picks_max=5))
    avoided.note(FIRST)
    avoided.note(Endpoint("10.0.0.2:80"))
    turns = Turns(FIRST, SECOND, THIRD)
    assert avoided.choose(turns.pick) is THIRD
    assert turns.picks == [0, 1, 2]


def test_last_pick_is_taken_whatever_it_is() -> None:
    avoided = Avoided(HostSelection(omit_previous_hosts=True, picks_max=2))
    for host in (FIRST, SECOND, THIRD):
        avoided.note(host)
    turns = Turns(FIRST, SECOND, THIRD)
    assert avoided.choose(turns.pick) is THIRD
    assert turns.picks == [0, 1, 2]


def test_without_further_picks_the_first_is_taken() -> None:
    avoided = Avoided(HostSelection(omit_previous_hosts=True, picks_max=0))
    avoided.note(FIRST)
    assert avoided.choose(Turns(FIRST, SECOND).pick) is FIRST


def test_recorded_retry_previous_hosts() -> None:
    """Recorded: 20 requests over a bad and a good host in turns, one retry, five more picks: both asked 20 times."""
    bad, good = FIRST, SECOND
    turns = Turns(bad, good)
    asked: list[Endpoint] = []
    for _ in range(20):
        first = turns.pick(0, frozenset())
        assert first is bad
        avoided = Avoided(HostSelection(omit_previous_hosts=True, picks_max=5))
        avoided.note(first)
        second = avoided.choose(turns.pick)
        assert second is good
        asked += [first, second]
    assert asked.count(bad) == asked.count(good) == 20


def test_no_hosts_is_an_answer() -> None:
    turns = Turns()
    assert Avoided(HostSelection(omit_previous_hosts=True, picks_max=3)).choose(turns.pick) is None
    assert turns.picks == [0]


@pytest.mark.parametrize(
    ("tags", "rejected"),
    [
        ((), False),
        ((("canary", "yes"),), True),
        ((("canary", "no"),), False),
        ((("rack", "a"), ("kind", "spot"), ("x", "y")), True),
        ((("rack", "a"),), False),  # only one tag of the group
    ],
)
def test_hosts_with_all_tags_of_a_group_are_passed_over(tags: tuple[tuple[str, str], ...], rejected: bool) -> None:
    groups = ((("canary", "yes"),), (("kind", "spot"), ("rack", "a")))
    avoided = Avoided(HostSelection(omitted_tags=groups))
    assert avoided.rejects(Endpoint("10.0.0.1:80", 0, tags)) is rejected


@pytest.mark.parametrize(
    ("every", "priorities"),
    [
        (1, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]),
        (2, [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2, 0]),
        (3, [0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 1]),
    ],
)
def test_priorities_are_omitted_and_forgotten_as_by_a_real_envoy(every: int, priorities: list[int]) -> None:
    """Recorded from Envoy: three priorities of one sick host each, 12 retries, `update_frequency` = `every`."""
    hosts = [Endpoint(f"10.0.0.{priority}:80", priority) for priority in range(3)]
    avoided = Avoided(HostSelection(omit_priorities_every=every, picks_max=0))

    def pick(number: int, omitted: frozenset[int]) -> Endpoint:
        return next((host for host in hosts if host.priority not in omitted), hosts[0])

    tried = [hosts[0]]
    avoided.note(hosts[0])
    for _ in range(12):
        host = avoided.choose(pick)
        assert host is not None
        avoided.note(host)
        tried.append(host)
    assert [host.priority for host in tried] == priorities


HOSTS = st.builds(
    Endpoint,
    st.sampled_from(["a", "b", "c", "d"]),
    st.integers(0, 2),
    st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("12")), max_size=2).map(tuple),
)
SELECTIONS = st.builds(
    HostSelection,
    omit_previous_hosts=st.booleans(),
    omitted_tags=st.lists(
        st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("12")), min_size=1, max_size=2).map(tuple), max_size=2
    ).map(tuple),
    omit_priorities_every=st.integers(0, 3),
    picks_max=st.integers(0, 4),
)


def check_tries(hosts: list[Endpoint], selection: HostSelection, tries: int) -> None:
    """Make tries against a model that remembers all of them."""
    avoided, turns = Avoided(selection), Turns(*hosts)
    tried: list[Endpoint] = []
    for _ in range(tries):
        turns.picks.clear()
        picked: list[Endpoint | None] = []

        def pick(number: int, omitted: frozenset[int], picked: list[Endpoint | None] = picked) -> Endpoint | None:
            assert number == len(picked)
            picked.append(turns.pick(number, omitted))
            return picked[-1]

        chosen = avoided.choose(pick)
        assert chosen is picked[-1]
        assert (chosen is None) == (not hosts)
        if chosen is None:
            return
        unwanted = [bad(host, tried, selection) for host in picked if host is not None]
        assert all(unwanted[:-1])
        assert len(picked) == selection.picks_max + 1 or not unwanted[-1]
        avoided.note(chosen)
        tried.append(chosen)


def bad(host: Endpoint, tried: list[Endpoint], selection: HostSelection) -> bool:
    again = selection.omit_previous_hosts and host.label in [one.label for one in tried]
    return again or any(set(group) <= set(host.tags) for group in selection.omitted_tags)


@settings(max_examples=100, deadline=None)
@given(st.lists(HOSTS, max_size=5), SELECTIONS, st.integers(1, 8))
def test_choice_ends_in_time_with_the_first_good_host_or_the_last(
    hosts: list[Endpoint], selection: HostSelection, tries: int
) -> None:
    check_tries(hosts, selection, tries)


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("rejects", lambda self, host: host.label in self._labels),  # tags forgotten, and hosts avoided unasked
        ("note", lambda self, host: self._labels.add(id(host))),  # by identity: a host of the same address is taken
    ],
)
def test_planted_bugs_are_found(name: str, bug: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Avoided, name, bug)

    @settings(max_examples=100, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    @given(st.lists(HOSTS, max_size=5), SELECTIONS, st.integers(1, 8))
    def check(hosts: list[Endpoint], selection: HostSelection, tries: int) -> None:
        check_tries(hosts, selection, tries)

    with pytest.raises(AssertionError):
        check()
