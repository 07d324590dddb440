"""Who shares a bucket with whom, what survives a change of the configuration, and what is counted."""

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.authorization import MatchKind, PeerMatch
from mesh.policy.callers import REMEMBERED_MAX, CallerTable
from mesh.policy.rate_limit import CallerRateLimit, ConnectionLimiter, Rate, RateLimit, RateLimiter, TokenBucket

WEB, CART, JOB, NOBODY = "spiffe://mesh/web", "spiffe://mesh/cart", "spiffe://mesh/job", ""
EXACT_WEB = PeerMatch(spiffe_id="spiffe://mesh/web")
ANY_OF_MESH = PeerMatch(spiffe_id_kind=MatchKind.PREFIX, spiffe_id="spiffe://mesh/")
EVERYBODY = PeerMatch()


def limit(count: int, interval_s: float = 1.0, status: int = 429) -> RateLimit:
    return RateLimit(rate=Rate(count=count, interval_s=interval_s), status=status)


def entry(match: PeerMatch, of: RateLimit | None) -> CallerRateLimit:
    return CallerRateLimit(match=match, limit=of)


def admitted(limiter: RateLimiter, peer: str, times: int, now: float = 0.0, sni: str = "") -> int:
    return sum(limiter.admit(peer, sni, now) is None for _ in range(times))


def test_callers_of_one_entry_share_its_bucket_and_others_have_theirs() -> None:
    limiter = RateLimiter((entry(EXACT_WEB, limit(2)), entry(ANY_OF_MESH, limit(5))))
    assert admitted(limiter, WEB, 10) == 2
    assert admitted(limiter, CART, 3) == 3
    assert admitted(limiter, JOB, 10) == 2, "cart has had three of the five"
    assert admitted(limiter, WEB, 1) == 0


def test_the_first_entry_that_matches_decides_and_without_a_limit_there_is_none() -> None:
    limiter = RateLimiter((entry(EXACT_WEB, None), entry(EVERYBODY, limit(1))))
    assert admitted(limiter, WEB, 100) == 100
    assert admitted(limiter, NOBODY, 5) == 1, "a caller without an identity is one of everybody"
    assert admitted(limiter, CART, 5) == 0
    assert (limiter.counts.enabled, limiter.counts.ok) == (10, 1)
    assert limiter.counts.rate_limited == limiter.counts.enforced == 9


def test_whom_no_entry_means_is_not_limited() -> None:
    limiter = RateLimiter((entry(EXACT_WEB, limit(1)),))
    assert admitted(limiter, CART, 50) == admitted(limiter, NOBODY, 50) == 50
    assert limiter.counts.enabled == 0


def test_entries_by_server_name() -> None:
    limiter = RateLimiter((entry(PeerMatch(sni="a.mesh"), limit(1)),))
    assert admitted(limiter, WEB, 3, sni="a.mesh") == 1
    assert admitted(limiter, WEB, 3, sni="b.mesh") == 3


def test_who_is_refused_learns_the_limit_that_it_is_over() -> None:
    own = limit(1, status=503)
    limiter = RateLimiter((entry(EXACT_WEB, own),))
    assert limiter.admit(WEB, "", 0.0) is None
    assert limiter.admit(WEB, "", 0.0) is own


def test_buckets_and_counts_survive_a_change_where_the_rate_stays() -> None:
    before = RateLimiter((entry(EXACT_WEB, limit(2)), entry(ANY_OF_MESH, limit(2))))
    assert admitted(before, WEB, 2) == admitted(before, CART, 2) == 2
    teapot = attrs.evolve(limit(2), status=418)
    after = RateLimiter((entry(EXACT_WEB, teapot), entry(ANY_OF_MESH, limit(3))), before)
    assert after.admit(WEB, "", 0.0) is teapot, "the answer is another one, the bucket is still empty"
    assert admitted(after, CART, 5) == 3, "another rate begins with a full bucket"
    assert after.counts.ok == 7
    assert admitted(RateLimiter((entry(EXACT_WEB, limit(2)),)), WEB, 2) == 2


def test_connections_are_counted_whoever_opens_them() -> None:
    rate = Rate(count=2, interval_s=10.0)
    limiter = ConnectionLimiter(rate)
    assert [limiter.admit(0.0) for _ in range(3)] == [True, True, False]
    kept = ConnectionLimiter(rate, limiter)
    assert not kept.admit(1.0)
    assert kept.admit(5.0)
    assert (kept.counts.ok, kept.counts.rate_limited) == (3, 2)
    assert ConnectionLimiter(Rate(count=3, interval_s=10.0), kept).admit(5.0)


PEERS = st.sampled_from([WEB, CART, JOB])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(PEERS, st.floats(0.0, 0.5)), max_size=80), st.integers(1, 4))
def test_each_caller_with_an_entry_of_its_own_is_as_if_it_were_alone(
    requests: list[tuple[str, float]], count: int
) -> None:
    # Planted once and found: the buckets kept by their rates, so that callers with equal rates shared one.
    limiter = RateLimiter(tuple(entry(PeerMatch(spiffe_id=peer), limit(count)) for peer in (WEB, CART, JOB)))
    alone = {peer: TokenBucket(Rate(count=count, interval_s=1.0)) for peer in (WEB, CART, JOB)}
    now = 0.0
    for peer, span in requests:
        now += span
        assert (limiter.admit(peer, "", now) is None) == alone[peer].take(now)


def test_what_is_remembered_of_callers_has_an_end() -> None:
    table = CallerTable([(ANY_OF_MESH, "any"), (PeerMatch(sni="s"), "s")])
    for number in range(REMEMBERED_MAX + 10):
        assert table.of(f"spiffe://mesh/{number}", "") == ("any",)
    assert len(table._remembered) <= REMEMBERED_MAX
    assert table.of(WEB, "s") == ("any", "s")
    assert table.of(NOBODY, "s") == ("s",) and table.of(NOBODY, "") == ()
