"""Request hash: what is read of a request, how it is combined, and the cookie that leads back.

That the hashes are Envoy's is for test_hashing_against_envoy.
"""

import random
import re

import attrs
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.request_hash import HashPolicy, HashSource, RequestHasher

MASK = (1 << 64) - 1
REMOTE = "10.1.2.3"


@attrs.frozen
class Head:
    target: bytes = b"/"
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def header(self, name_lower: bytes) -> bytes | None:
        values = [value for name, value in self.headers if name.lower() == name_lower]
        return (b"; " if name_lower == b"cookie" else b", ").join(values) if values else None


def hash_of(value: bytes) -> int:
    return xxhash.xxh64_intdigest(value)


def combined(*hashes: int) -> int:
    result = hashes[0]
    for value in hashes[1:]:
        result = ((result << 1) % (1 << 64) + (result >> 63)) ^ value
    return result


def hashed(head: Head, *policies: HashPolicy) -> int | None:
    value, lines = RequestHasher(policies).hash(head, REMOTE, random.Random(1))
    assert lines == b""
    return value


HEADER = HashPolicy(source=HashSource.HEADER, name="x-user")
COOKIE = HashPolicy(source=HashSource.COOKIE, name="s")
QUERY = HashPolicy(source=HashSource.QUERY_PARAMETER, name="q")
ADDRESS = HashPolicy(source=HashSource.CONNECTION)


@pytest.mark.parametrize(
    ("policy", "head", "value"),
    [
        (HEADER, Head(headers=((b"X-User", b"u1"),)), b"u1"),
        (HEADER, Head(headers=((b"x-user", b""),)), b""),
        (HEADER, Head(headers=((b"x-other", b"u1"),)), None),
        (HEADER, Head(headers=((b"x-user", b"a,b"),)), b"a,b"),
        (COOKIE, Head(headers=((b"cookie", b"a=1; s=2"),)), b"2"),
        (COOKIE, Head(headers=((b"cookie", b"a=1"), (b"cookie", b"s=2"))), b"2"),
        (COOKIE, Head(headers=((b"cookie", b's="2"; s=3'),)), b"2"),
        (COOKIE, Head(headers=((b"cookie", b's="'),)), b'"'),
        (COOKIE, Head(headers=((b"cookie", b"s=; ss=1; s"),)), None),
        (COOKIE, Head(), None),
        (QUERY, Head(b"/a?p=1&q=%41&q=2"), b"%41"),
        (QUERY, Head(b"/a?q"), b""),
        (QUERY, Head(b"/a?qq=1"), None),
        (QUERY, Head(b"/q=1"), None),
        (ADDRESS, Head(), REMOTE.encode()),
    ],
)
def test_each_source_gives_its_value(policy: HashPolicy, head: Head, value: bytes | None) -> None:
    assert hashed(head, policy) == (None if value is None else hash_of(value))


def test_repeated_fields_count_whatever_their_order() -> None:
    one = hashed(Head(headers=((b"x-user", b"b"), (b"x-user", b"a"))), HEADER)
    assert one == hashed(Head(headers=((b"X-User", b"a"), (b"x-user", b"b"))), HEADER)
    assert one == xxhash.xxh64_intdigest(b"b", hash_of(b"a"))
    assert one != hashed(Head(headers=((b"x-user", b"a, b"),)), HEADER)


def test_later_properties_are_mixed_in() -> None:
    head = Head(b"/?q=1", ((b"x-user", b"u"),))
    assert hashed(head, HEADER, QUERY) == combined(hash_of(b"u"), hash_of(b"1"))
    assert hashed(head, QUERY, HEADER) == combined(hash_of(b"1"), hash_of(b"u"))
    assert hashed(head, COOKIE, QUERY) == hash_of(b"1")  # what is not there leaves no trace
    assert hashed(head, HEADER, HEADER) not in (0, hash_of(b"u"))  # the same twice does not cancel itself out


@pytest.mark.parametrize("earlier", [True, False])
def test_a_terminal_policy_ends_it_once_there_is_a_hash(earlier: bool) -> None:
    """Also a hash of an earlier policy, where the terminal one itself finds nothing: as in Envoy."""
    terminal = attrs.evolve(COOKIE if earlier else HEADER, terminal=True)
    head = Head(b"/?q=1", ((b"x-user", b"u"),))
    policies = (HEADER, terminal, QUERY) if earlier else (terminal, QUERY)
    assert hashed(head, *policies) == hash_of(b"u")
    assert hashed(Head(b"/?q=1"), *policies) == hash_of(b"1")


def test_no_policy_hashes_nothing() -> None:
    assert RequestHasher(()).hash(Head(), REMOTE, random.Random(1)) == (None, b"")


@pytest.mark.parametrize(
    ("ttl_s", "path", "attributes"),
    [
        (3600.0, "/shop", b"; Max-Age=3600; Path=/shop; HttpOnly"),
        (0.0, "", b"; HttpOnly"),
        (0.5, "/50%", b"; Path=/50%; HttpOnly"),
    ],
)
def test_a_missing_cookie_is_made_up_and_leads_back(ttl_s: float, path: str, attributes: bytes) -> None:
    hasher = RequestHasher((attrs.evolve(COOKIE, cookie_ttl_s=ttl_s, cookie_path=path),))
    generator = random.Random(7)
    first, line = hasher.hash(Head(), REMOTE, generator)
    found = re.fullmatch(rb'set-cookie: s="([0-9a-f]{16})"(.*)\r\n', line)
    assert found and found[2] == attributes
    assert first == hash_of(found[1])
    for back in (b"s=" + found[1], b's="' + found[1] + b'"'):
        assert hasher.hash(Head(headers=((b"cookie", back),)), REMOTE, generator) == (first, b"")
    assert hasher.hash(Head(), REMOTE, generator)[0] != first  # the next client gets its own


def test_an_empty_cookie_is_replaced() -> None:
    hasher = RequestHasher((attrs.evolve(COOKIE, cookie_ttl_s=60.0),))
    assert hasher.hash(Head(headers=((b"cookie", b"s="),)), REMOTE, random.Random(1))[1]


def test_a_terminal_policy_before_it_spares_the_cookie() -> None:
    hasher = RequestHasher((attrs.evolve(HEADER, terminal=True), attrs.evolve(COOKIE, cookie_ttl_s=60.0)))
    head = Head(headers=((b"x-user", b"u"),))
    assert hasher.hash(head, REMOTE, random.Random(1)) == (hash_of(b"u"), b"")


fields = st.tuples(st.sampled_from([b"x-user", b"cookie", b"x-other"]), st.binary(max_size=12))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([HEADER, COOKIE, QUERY, ADDRESS, attrs.evolve(QUERY, terminal=True)]), max_size=4),
    st.lists(fields, max_size=4),
    st.binary(max_size=12),
)
def test_any_request_has_the_same_hash_each_time(
    policies: list[HashPolicy], headers: list[tuple[bytes, bytes]], query: bytes
) -> None:
    head, hasher = Head(b"/?" + query, tuple(headers)), RequestHasher(policies)
    value, lines = hasher.hash(head, REMOTE, random.Random(1))
    assert (value, lines) == hasher.hash(head, REMOTE, random.Random(2))
    assert value is None or 0 <= value <= MASK
    assert (value is not None) or ADDRESS not in policies
