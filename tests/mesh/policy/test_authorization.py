"""Permissions by SPIFFE ID: deny wins, nothing matched is denied, no identity is denied."""

from collections.abc import Callable

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mesh.model.names import SpiffeId
from mesh.policy.authorization import (
    UNDECIDED,
    Authorizer,
    Decision,
    MatchKind,
    PeerMatch,
    Permissions,
    Verdict,
)

WEB = SpiffeId("mesh.local", "/workload/web")
WEB_ID = "spiffe://mesh.local/workload/web"


def exact(spiffe_id: str, sni: str = "") -> PeerMatch:
    return PeerMatch(spiffe_id=spiffe_id, sni=sni)


def prefix(spiffe_id: str, sni: str = "") -> PeerMatch:
    return PeerMatch(spiffe_id_kind=MatchKind.PREFIX, spiffe_id=spiffe_id, sni=sni)


ANYBODY = PeerMatch()


@pytest.mark.parametrize(
    ("permissions", "verdict"),
    [
        (Permissions(), Verdict.DENIED),
        (Permissions(allow=(exact(WEB_ID),)), Verdict.ALLOWED),
        (Permissions(allow=(exact("spiffe://mesh.local/workload/webber"),)), Verdict.DENIED),
        (Permissions(allow=(exact("spiffe://mesh.local/workload/we"),)), Verdict.DENIED),
        (Permissions(allow=(prefix("spiffe://mesh.local/"),)), Verdict.ALLOWED),
        (Permissions(allow=(prefix("spiffe://mesh.local/workload/we"),)), Verdict.ALLOWED),  # a prefix of the text
        (Permissions(allow=(prefix("spiffe://mesh.local.evil/"),)), Verdict.DENIED),
        (Permissions(allow=(prefix(WEB_ID + "/x"),)), Verdict.DENIED),
        (Permissions(allow=(ANYBODY,)), Verdict.ALLOWED),
        (Permissions(allow=(ANYBODY,), deny=(exact(WEB_ID),)), Verdict.DENIED),
        (Permissions(allow=(exact(WEB_ID),), deny=(prefix("spiffe://mesh.local/"),)), Verdict.DENIED),
        (Permissions(allow_with_shadow_deny=(exact(WEB_ID),)), Verdict.ALLOWED_SHADOW_DENIED),
        (Permissions(allow_with_shadow_deny=(ANYBODY,), allow=(exact(WEB_ID),)), Verdict.ALLOWED_SHADOW_DENIED),
        (Permissions(allow_with_shadow_deny=(ANYBODY,), deny=(ANYBODY,)), Verdict.DENIED),
    ],
)
def test_verdict_on_web(permissions: Permissions, verdict: Verdict) -> None:
    assert Authorizer(permissions).decide(WEB, "").verdict is verdict


@pytest.mark.parametrize(
    ("match", "sni", "verdict"),
    [
        (exact(WEB_ID, "pay"), "pay", Verdict.ALLOWED),
        (exact(WEB_ID, "pay"), "payroll", Verdict.DENIED),
        (exact(WEB_ID, "pay"), "", Verdict.DENIED),
        (exact(WEB_ID), "pay", Verdict.ALLOWED),
        (PeerMatch(sni="pay"), "pay", Verdict.ALLOWED),
        (PeerMatch(sni="pay"), "other", Verdict.DENIED),
        (exact("spiffe://mesh.local/workload/other", "pay"), "pay", Verdict.DENIED),
        (prefix("spiffe://mesh.local/", "pay"), "pay", Verdict.ALLOWED),
    ],
)
def test_server_name_must_match_where_given(match: PeerMatch, sni: str, verdict: Verdict) -> None:
    assert Authorizer(Permissions(allow=(match,))).decide(WEB, sni).verdict is verdict


@pytest.mark.parametrize("match", [ANYBODY, PeerMatch(sni="pay"), prefix("spiffe://")])
def test_without_an_identity_everybody_is_denied(match: PeerMatch) -> None:
    # Planted once and found: `None` read as the text "None" and let through by an entry for any identity.
    everything = Permissions(allow=(match,), allow_with_shadow_deny=(match,))
    assert Authorizer(everything).decide(None, "pay").verdict is Verdict.DENIED


def test_permissive_port_lets_in_who_has_no_identity_and_judges_everybody_else() -> None:
    authorizer = Authorizer(Permissions(deny=(PeerMatch(spiffe_id=str(WEB)),)), unproven_allowed=True)
    assert authorizer.decide(None, "").verdict is Verdict.ALLOWED
    assert authorizer.decide(WEB, "").verdict is Verdict.DENIED


def test_explanation_names_the_entry_that_decided() -> None:
    authorizer = Authorizer(Permissions(deny=(exact("spiffe://a/b"),), allow=(prefix("spiffe://mesh.local/"),)))
    assert authorizer.decide(WEB, "") == Decision(Verdict.ALLOWED, prefix("spiffe://mesh.local/"))
    assert authorizer.decide(SpiffeId("a", "/b"), "") == Decision(Verdict.DENIED, exact("spiffe://a/b"))
    assert authorizer.decide(SpiffeId("c", "/d"), "") == Decision(Verdict.DENIED)


PEERS = st.builds(SpiffeId, st.sampled_from(["a", "ab"]), st.sampled_from(["", "/x", "/x/y", "/xy"]))
MATCHES = st.builds(
    PeerMatch,
    spiffe_id_kind=st.sampled_from(MatchKind),
    spiffe_id=st.one_of(st.just(""), st.just("spiffe://a"), st.just("spiffe://a/"), PEERS.map(str)),
    sni=st.sampled_from(["", "s", "t"]),
)
LISTS = st.lists(MATCHES, max_size=3).map(tuple)


def naively_matches(match: PeerMatch, peer: str, sni: str) -> bool:
    by_id = peer[: len(match.spiffe_id)] == match.spiffe_id
    if match.spiffe_id_kind is MatchKind.EXACT and match.spiffe_id:
        by_id = by_id and len(peer) == len(match.spiffe_id)
    return by_id and sni in ([match.sni] if match.sni else ["", "s", "t"])


# Planted once and found: `allow` asked before `deny`; the exact lookup ignoring the entry's server name.
@settings(max_examples=100, deadline=None)
@given(deny=LISTS, shadow=LISTS, allow=LISTS, peer=PEERS, sni=st.sampled_from(["", "s", "t"]))
def test_deny_always_wins_and_silence_denies(
    deny: tuple[PeerMatch, ...], shadow: tuple[PeerMatch, ...], allow: tuple[PeerMatch, ...], peer: SpiffeId, sni: str
) -> None:
    verdict = Authorizer(Permissions(deny=deny, allow_with_shadow_deny=shadow, allow=allow)).decide(peer, sni).verdict
    denied, shadowed, allowed = (
        any(naively_matches(match, str(peer), sni) for match in matches) for matches in (deny, shadow, allow)
    )
    if denied or not (shadowed or allowed):
        assert verdict is Verdict.DENIED
    else:
        assert verdict is (Verdict.ALLOWED_SHADOW_DENIED if shadowed else Verdict.ALLOWED)


def test_a_denial_says_whose_it_is() -> None:
    named = PeerMatch(spiffe_id=WEB_ID, origin="no-web")
    assert Authorizer(Permissions(deny=(named,))).decide(WEB, "").denied_detail == (
        "rbac_access_denied_matched_policy[no-web]"
    )
    assert UNDECIDED.denied_detail == Authorizer(Permissions()).decide(WEB, "").denied_detail
    assert UNDECIDED.denied_detail == "rbac_access_denied_matched_policy[none]"


def test_what_became_of_peers_is_counted_across_changes() -> None:
    before = Authorizer(Permissions(allow_with_shadow_deny=(exact(WEB_ID),)))
    after = Authorizer(Permissions(allow=(exact(WEB_ID),)), before)
    for authorizer, peer in ((before, WEB), (after, WEB), (after, None)):
        authorizer.counts.add(authorizer.decide(peer, "").verdict)
    assert (after.counts.allowed, after.counts.shadow_denied, after.counts.denied) == (2, 1, 1)


LIST_NAMES = ("deny", "allow_with_shadow_deny", "allow")
SNIS = st.sampled_from(["", "s", "t"])


class PermissionsMachine(RuleBasedStateMachine):
    """Entries come, go and change places, as policies do; the model knows for each peer only who denies it."""

    @initialize()
    def begin(self) -> None:
        self.lists: dict[str, list[PeerMatch]] = {name: [] for name in LIST_NAMES}
        self.authorizer = Authorizer(Permissions())

    @rule(name=st.sampled_from(LIST_NAMES), match=MATCHES, at=st.integers(0, 10))
    def add(self, name: str, match: PeerMatch, at: int) -> None:
        self.lists[name].insert(at, match)
        self.change()

    @rule(name=st.sampled_from(LIST_NAMES), at=st.integers(0, 10))
    def remove(self, name: str, at: int) -> None:
        del self.lists[name][at : at + 1]
        self.change()

    @rule(name=st.sampled_from(LIST_NAMES), by=st.integers(1, 10))
    def turn(self, name: str, by: int) -> None:
        self.lists[name] = self.lists[name][by:] + self.lists[name][:by]
        self.change()

    def change(self) -> None:
        permissions = Permissions(**{name: tuple(matches) for name, matches in self.lists.items()})
        self.authorizer = Authorizer(permissions, self.authorizer)

    @rule(peer=PEERS, sni=SNIS)
    def ask(self, peer: SpiffeId, sni: str) -> None:
        decision = self.authorizer.decide(peer, sni)
        who = {
            name: [match for match in matches if naively_matches(match, str(peer), sni)]
            for name, matches in self.lists.items()
        }
        if who["deny"]:
            assert decision.verdict is Verdict.DENIED and decision.match in who["deny"]
        elif who["allow_with_shadow_deny"]:
            assert decision.verdict is Verdict.ALLOWED_SHADOW_DENIED
        else:
            assert decision.verdict is (Verdict.ALLOWED if who["allow"] else Verdict.DENIED)

    @invariant()
    def nobody_gets_in_without_an_identity(self) -> None:
        if hasattr(self, "authorizer"):
            assert self.authorizer.decide(None, "s").verdict is Verdict.DENIED


TestPermissions = PermissionsMachine.TestCase
TestPermissions.settings = settings(max_examples=60, deadline=None, stateful_step_count=30)


def allows_before_it_denies(authorizer: Authorizer, peer: SpiffeId | None, sni: str) -> Decision:
    """Asks `allow` first, as if the lists were rules in an order."""
    if peer is None:
        return UNDECIDED
    found = authorizer._allow.find(str(peer), sni)
    return original(authorizer, peer, sni) if found is None else Decision(Verdict.ALLOWED, found)


def takes_nobody_for_anybody(authorizer: Authorizer, peer: SpiffeId | None, sni: str) -> Decision:
    """Lets an entry for any identity speak for a peer that has none."""
    return original(authorizer, SpiffeId("none", "/none") if peer is None else peer, sni)


original = Authorizer.decide


@pytest.mark.parametrize("planted", [allows_before_it_denies, takes_nobody_for_anybody])
def test_planted_bugs_are_found(planted: Callable[..., Decision], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Authorizer, "decide", planted)
    once = settings(derandomize=True, database=None, max_examples=300, deadline=None, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(PermissionsMachine, settings=once)
