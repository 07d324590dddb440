"""Rotation of roots: at every instant, every valid leaf is trusted by every peer that got the bundles in time."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.identity.authority import Authority
from mesh.identity.authority_ring import AuthorityRing
from mesh.identity.certificate import KeyType, chain_der, decode_chain, generate_key, make_csr
from mesh.identity.certificate_path import Role
from mesh.identity.trust import verify_peer
from mesh.model.errors import ConfigError, IdentityError
from tests.mesh.identity.identity_credentials import NOW, WEB, authority

LEAF_S = 1000.0
PROPAGATION_S = 300.0
KEY = generate_key(KeyType.ED25519)
CSR = make_csr(KEY, WEB)
ROOTS = [authority() for _ in range(4)]


def ring_of(root: Authority, now: float = NOW) -> AuthorityRing:
    return AuthorityRing.start(root, leaf_lifetime_s_max=LEAF_S, now=now)


def signed(ring: AuthorityRing, now: float, lifetime_s: float = LEAF_S) -> tuple[bytes, ...]:
    chain = ring.sign(CSR, spiffe_id=WEB, lifetime_s=lifetime_s, now=now, serial_random=random.Random(1))
    return chain_der(decode_chain(chain))


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(1.0, 700.0), st.sampled_from(["sign", "introduce", "prune", "restart"])), max_size=25
    ),
    delay_s=st.floats(0.0, PROPAGATION_S),
)
def test_valid_leaves_are_trusted_by_all_who_got_the_bundles_in_time(
    steps: list[tuple[float, str]], delay_s: float
) -> None:
    now, ring, introduced = NOW, ring_of(ROOTS[0]), 0
    leaves = [(now, signed(ring, now))]
    bundles = [(now, ring.trust_bundle(now))]
    for pause_s, action in steps:
        now += pause_s
        if action == "sign":
            leaves.append((now, signed(ring, now)))
        elif action == "introduce" and introduced < 3:
            try:
                ring.introduce(ROOTS[introduced + 1], now=now, propagation_s=PROPAGATION_S)
            except ConfigError:
                continue
            introduced += 1
        elif action == "prune":
            ring.prune(now)
        elif action == "restart":
            ring = AuthorityRing.decode(ring.encode())
        bundles.append((now, ring.trust_bundle(now)))
        # A peer holds the bundle that was current up to `delay_s` ago; it asks the ring at least that often.
        held = [bundle for since, bundle in bundles if since <= now - delay_s] or [bundles[0][1]]
        for issued_at, chain in leaves:
            if issued_at <= now <= int(issued_at + LEAF_S):  # Certificates end at whole seconds.
                for bundle in (held[-1], bundles[-1][1]):
                    assert verify_peer(chain, trust=(bundle,), role=Role.CLIENT, now=now) == WEB


def test_new_root_is_trusted_before_it_signs_and_the_old_one_after() -> None:
    old, new = ROOTS[:2]
    ring = ring_of(old)
    ring.introduce(new, now=NOW + 100, propagation_s=PROPAGATION_S)
    assert ring.trust_bundle(NOW + 100).roots_pem == (new.root_pem, old.root_pem)
    assert ring.signer(NOW + 399) is old and ring.signer(NOW + 400) is new
    last = NOW + 400 + LEAF_S + 10
    assert old.root_pem in ring.trust_bundle(last - 1).roots_pem
    assert ring.trust_bundle(last).roots_pem == (new.root_pem,)
    instants = [NOW]
    while (change := ring.next_change(instants[-1])) is not None:
        instants.append(change)
    assert instants[1:] == [NOW + 400, last]
    ring.prune(last)
    assert [entry.authority for entry in ring.entries] == [new]


def test_leaf_lifetime_is_cut_so_that_roots_can_retire() -> None:
    (leaf,) = decode_chain(
        ring_of(ROOTS[0]).sign(CSR, spiffe_id=WEB, lifetime_s=1e9, now=NOW, serial_random=random.Random(1))
    )
    assert leaf.not_valid_after_utc.timestamp() == NOW + LEAF_S
    with pytest.raises(IdentityError, match="no lifetime"):
        signed(ring_of(ROOTS[0]), NOW, 0.0)


def test_one_root_at_a_time_and_of_the_same_trust_domain() -> None:
    ring = ring_of(ROOTS[0])
    with pytest.raises(ConfigError, match=r"other\.example"):
        ring.introduce(authority("other.example"), now=NOW)
    ring.introduce(ROOTS[1], now=NOW)
    with pytest.raises(ConfigError, match="on its way"):
        ring.introduce(ROOTS[2], now=NOW + 1)


def test_successor_is_due_after_seven_tenths_of_a_roots_life() -> None:
    ring = ring_of(Authority.create("mesh.example", now=NOW, serial_random=random.Random(1), lifetime_s=990.0))
    assert not ring.successor_due(NOW + 680)
    assert ring.successor_due(NOW + 691)


def test_clock_set_back_leaves_somebody_to_sign() -> None:
    assert ring_of(ROOTS[0]).signer(NOW - 1e6) is ROOTS[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"leaf_lifetime_s_max": 1, "roots": []}',
        '{"leaf_lifetime_s_max": 1, "roots": [{"pem": "x", "signs_from": 1}]}',
    ],
)
def test_torn_ring_is_an_identity_error(text: str) -> None:
    with pytest.raises(IdentityError):
        AuthorityRing.decode(text)
