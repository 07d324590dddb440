"""When certificates are renewed, and who holds their keys."""

import itertools
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mesh.identity.certificate import KeyType, generate_key, make_csr
from mesh.identity.rotation import IdentityHolder, decode_svid, encode_svid, renewal_delay_s
from mesh.model.errors import IdentityError
from tests.mesh.identity.identity_credentials import CART, DAY_S, NOW, WEB, authority, svid

ROOT = authority()


def answer(holder: IdentityHolder, *, csr: str | None = None, lifetime_s: float = DAY_S) -> str:
    return ROOT.sign(
        csr or holder.request(),
        spiffe_id=holder.spiffe_id,
        lifetime_s=lifetime_s,
        now=NOW,
        serial_random=random.Random(1),
    )


@settings(max_examples=100, deadline=None)
@given(remaining_s=st.floats(-1e6, 1e8), seed=st.integers())
def test_renewal_waits_seven_tenths_and_never_past_the_expiry(remaining_s: float, seed: int) -> None:
    not_after = NOW + remaining_s
    remaining_s = not_after - NOW  # as floating point has it
    delay_s = renewal_delay_s(not_after, now=NOW, random=random.Random(seed))
    assert 0 < delay_s <= DAY_S
    if remaining_s > 0:
        assert delay_s <= max(0.7 * remaining_s, 10.0) + 1e-6
        assert NOW + delay_s <= NOW + remaining_s + 1e-6
    if 20 < remaining_s < DAY_S:
        assert delay_s >= min(0.63 * remaining_s, 10.0) - 1e-6


@settings(max_examples=50, deadline=None)
@given(lifetime_s=st.floats(60.0, 1e7), seed=st.integers())
def test_failing_renewals_are_tried_often_before_and_steadily_after_the_expiry(lifetime_s: float, seed: int) -> None:
    chance, now, expiry = random.Random(seed), NOW, NOW + lifetime_s
    tries: list[float] = []
    while now <= expiry + 60:
        now += renewal_delay_s(expiry, now=now, random=chance)
        tries.append(now)
        assert len(tries) < 200, "no ever shorter steps towards the expiry"
    assert sum(at <= expiry + 1e-6 for at in tries) >= 2
    late = [second - first for first, second in itertools.pairwise(tries) if first > expiry]
    assert all(8.9 <= gap <= 10.1 for gap in late)


def test_holder_gets_a_certificate_for_a_key_that_it_keeps() -> None:
    holder = IdentityHolder(WEB, key_type=KeyType.ED25519)
    assert holder.renewal_delay_s(now=NOW, random=random.Random(1)) == 0.0
    first_request = holder.request()
    assert "PRIVATE" not in first_request + repr(holder)
    first = holder.accept(answer(holder), now=NOW)
    assert holder.current is first and first.spiffe_id == WEB and first.not_after == NOW + DAY_S
    assert 0.6 * DAY_S < holder.renewal_delay_s(now=NOW, random=random.Random(1)) <= 0.7 * DAY_S
    second = holder.accept(answer(holder), now=NOW)
    assert second.private_key_pem != first.private_key_pem, "each certificate has its own key"


def test_late_answer_to_a_repeated_request_still_fits() -> None:
    holder = IdentityHolder(WEB, key_type=KeyType.ED25519)
    early = answer(holder)
    holder.request()
    assert holder.accept(early, now=NOW).spiffe_id == WEB
    with pytest.raises(IdentityError, match="no certificate was asked"):
        holder.accept(early, now=NOW)


def test_answers_for_others_are_refused_and_the_current_one_stays() -> None:
    holder = IdentityHolder(WEB, key_type=KeyType.ED25519)
    current = holder.accept(answer(holder), now=NOW)
    holder.request()
    foreign_key = answer(holder, csr=make_csr(generate_key(KeyType.ED25519), WEB))
    with pytest.raises(IdentityError, match="another key"):
        holder.accept(foreign_key, now=NOW)
    with pytest.raises(IdentityError, match="expired"):
        holder.accept(answer(holder, lifetime_s=60.0), now=NOW + 61)
    with pytest.raises(IdentityError):
        holder.accept("garbage", now=NOW)
    assert holder.current is current


def test_certificate_from_disk_is_taken_up_if_it_is_ours_and_valid() -> None:
    kept = decode_svid(encode_svid(svid(ROOT, WEB)))
    assert decode_svid(encode_svid(kept)) == kept
    holder = IdentityHolder(WEB)
    holder.restore(kept, now=NOW)
    assert holder.current == kept
    with pytest.raises(IdentityError, match="expected a certificate for"):
        IdentityHolder(CART).restore(kept, now=NOW)
    with pytest.raises(IdentityError, match="expired"):
        IdentityHolder(WEB).restore(kept, now=NOW + 2 * DAY_S)


FILE = encode_svid(svid(ROOT, WEB))


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(FILE) - 40))
def test_torn_file_is_an_identity_error(cut: int) -> None:
    with pytest.raises(IdentityError):
        decode_svid(FILE[:cut])


@settings(max_examples=60, deadline=None)
@example(position=194, bit=0)
@given(position=st.integers(0, len(FILE) - 1), bit=st.integers(0, 7))
def test_altered_file_never_gives_another_key(position: int, bit: int) -> None:
    altered = FILE[:position] + bytes([FILE[position] ^ 1 << bit]) + FILE[position + 1 :]
    try:
        read = decode_svid(altered)
    except IdentityError:
        return
    assert read.private_key_pem == decode_svid(FILE).private_key_pem
