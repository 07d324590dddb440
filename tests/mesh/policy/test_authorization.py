"""Permissions by SPIFFE ID: deny wins, nothing matched is denied, no identity is denied."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.model.names import SpiffeId
from mesh.policy.authorization import Authorizer, MatchKind, PeerMatch, Permissions, Verdict

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
    assert Authorizer(permissions).decide(WEB) is verdict


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
    assert Authorizer(Permissions(allow=(match,))).decide(WEB, sni) is verdict


@pytest.mark.parametrize("match", [ANYBODY, PeerMatch(sni="pay"), prefix("spiffe://")])
def test_without_an_identity_everybody_is_denied(match: PeerMatch) -> None:
    # Planted once and found: `None` read as the text "None" and let through by an entry for any identity.
    everything = Permissions(allow=(match,), allow_with_shadow_deny=(match,))
    assert Authorizer(everything).decide(None, "pay") is Verdict.DENIED


def test_explanation_names_the_entry_that_decided() -> None:
    authorizer = Authorizer(Permissions(deny=(exact("spiffe://a/b"),), allow=(prefix("spiffe://mesh.local/"),)))
    assert authorizer.explain(WEB) == (Verdict.ALLOWED, prefix("spiffe://mesh.local/"))
    assert authorizer.explain(SpiffeId("a", "/b")) == (Verdict.DENIED, exact("spiffe://a/b"))
    assert authorizer.explain(SpiffeId("c", "/d")) == (Verdict.DENIED, None)


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
    verdict = Authorizer(Permissions(deny=deny, allow_with_shadow_deny=shadow, allow=allow)).decide(peer, sni)
    denied, shadowed, allowed = (
        any(naively_matches(match, str(peer), sni) for match in matches) for matches in (deny, shadow, allow)
    )
    if denied or not (shadowed or allowed):
        assert verdict is Verdict.DENIED
    else:
        assert verdict is (Verdict.ALLOWED_SHADOW_DENIED if shadowed else Verdict.ALLOWED)
