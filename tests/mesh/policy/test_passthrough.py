"""What may leave the mesh past its services."""

import pytest

from mesh.policy.passthrough import (
    Destination,
    DestinationKind,
    Passthrough,
    PassthroughMatch,
    PassthroughMode,
    PassthroughProtocol,
    find_match,
    passes,
)

TLS, HTTP, TCP = PassthroughProtocol.TLS, PassthroughProtocol.HTTP, PassthroughProtocol.TCP


def entry(kind: str, value: str, port: int = 0, protocol: PassthroughProtocol = TCP) -> PassthroughMatch:
    return PassthroughMatch(kind=DestinationKind(kind), value=value, port=port, protocol=protocol)


def to(address: str = "192.0.2.1", port: int = 443, protocol: PassthroughProtocol = TLS, name: str = "") -> Destination:
    return Destination(address=address, port=port, protocol=protocol, name=name)


@pytest.mark.parametrize(
    ("match", "destination", "passing"),
    [
        (entry("IP", "192.0.2.1"), to(), True),
        (entry("IP", "192.0.2.1"), to("192.0.2.2"), False),
        (entry("IP", "192.0.2.1"), to("::ffff:192.0.2.1"), True),
        (entry("IP", "2001:db8::1"), to("2001:0db8:0::1"), True),
        (entry("IP", "192.0.2.1", 80), to(), False),
        (entry("IP", "192.0.2.1", 443), to(), True),
        (entry("IP", "192.0.2.1", protocol=TLS), to(), True),
        (entry("IP", "192.0.2.1", protocol=HTTP), to(), False),
        (entry("CIDR", "192.0.2.0/24"), to(), True),
        (entry("CIDR", "192.0.2.77/24"), to(), True),
        (entry("CIDR", "198.51.100.0/24"), to(), False),
        (entry("CIDR", "2001:db8::/32"), to(), False),
        (entry("CIDR", "0.0.0.0/0"), to("not an address"), False),
        (entry("Domain", "example.com", protocol=TLS), to(name="example.com"), True),
        (entry("Domain", "Example.com", protocol=TLS), to(name="example.com"), True),
        (entry("Domain", "example.com", protocol=TLS), to(name="www.example.com"), False),
        (entry("Domain", "example.com", protocol=TLS), to(), False),
        (entry("Domain", "*.example.com", protocol=TLS), to(name="a.b.example.com"), True),
        (entry("Domain", "*.example.com", protocol=TLS), to(name="example.com"), False),
        (entry("Domain", "*.example.com", protocol=TLS), to(name="badexample.com"), False),
        (entry("Domain", "*", protocol=TLS), to(name="anything"), True),
        (entry("Domain", "*", protocol=TLS), to(), False),
    ],
)
def test_an_entry_says_what_passes(match: PassthroughMatch, destination: Destination, passing: bool) -> None:
    assert passes(Passthrough(mode=PassthroughMode.MATCHED, matches=(match,)), destination) is passing


def test_modes_all_and_none_look_at_no_entry() -> None:
    matches = (entry("IP", "192.0.2.1"),)
    assert passes(Passthrough(mode=PassthroughMode.ALL), to())
    assert not passes(Passthrough(mode=PassthroughMode.NONE, matches=matches), to())
    assert not passes(Passthrough(mode=PassthroughMode.MATCHED), to())


def test_the_most_specific_entry_is_found() -> None:
    wide, narrow = entry("CIDR", "192.0.0.0/8"), entry("CIDR", "192.0.2.0/24")
    any_name, name = entry("Domain", "*.example.com"), entry("Domain", "a.example.com")
    exact = entry("IP", "192.0.2.1")
    destination = to(name="a.example.com")
    order = [exact, name, any_name, narrow, wide]
    for first in range(len(order)):
        rest = tuple(reversed(order[first:]))
        assert find_match(Passthrough(mode=PassthroughMode.MATCHED, matches=rest), destination) == order[first]
