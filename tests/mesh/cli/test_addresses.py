"""Addresses as they are typed: each refusal names the option and says what to write."""

import pytest

from mesh.cli.addresses import parse_ip_address, parse_listen_address, parse_server_name, parse_url
from mesh.model.errors import ConfigError
from mesh.model.names import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5678", Address("127.0.0.1", 5678)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535)),
        ("[::1]:1", Address("::1", 1)),
    ],
)
def test_listen_addresses_are_read(text: str, address: Address) -> None:
    assert parse_listen_address(text, option="--address") == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("localhost:5678", "--address: 'localhost' is not an IP address (write IP:PORT, as 127.0.0.1:5678)"),
        ("127.0.0.256:1", "'127.0.0.256' is not an IP address"),
        ("fe80::1%lo:1", "put an IPv6 address in brackets"),
        ("[fe80::1%lo]:1", "'fe80::1%lo' is not an IP address"),
        ("127.0.0.1", "'127.0.0.1' is not an address with a port (write IP:PORT"),
        ("127.0.0.1:", "is not an address with a port"),
        (":5678", "is not an address with a port"),
        ("127.0.0.1:²", "is not an address with a port"),
        ("127.0.0.1:65536", "65536 is not a port (write a port from 1 to 65535)"),
        ("127.0.0.1:" + "9" * 5000, "is not a port"),
        ("::1:5678", "put an IPv6 address in brackets: [::1]:5678"),
        ("127.0.0.1:0", "port 0 is no port"),
    ],
)
def test_what_cannot_be_listened_on_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_listen_address(text, option="--address")
    assert str(refused.value).startswith("--address: ") and message in str(refused.value)


def test_port_zero_is_for_who_can_tell_the_real_one() -> None:
    assert parse_listen_address("127.0.0.1:0", option="--address", any_port=True).port == 0


@pytest.mark.parametrize("text", ["10.0.0.1:1", "0.0.0.0:1", "[::]:1", "[2001:db8::1]:1"])
def test_loopback_is_a_matter_of_the_address(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not on loopback .*: it has no login"):
        parse_listen_address(text, option="--admin", loopback="it has no login")
    for inside in ("127.200.0.1:9", "[::1]:9"):
        parse_listen_address(inside, option="--admin", loopback="it has no login")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://cp.example:5678", Address("cp.example", 5678)),
        ("wss://127.0.0.1:5678/", Address("127.0.0.1", 5678)),
        ("https://[::1]:5678", Address("::1", 5678)),
    ],
)
def test_urls_are_read(text: str, address: Address) -> None:
    assert parse_url(text, option="--control-plane") == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:5678",
        "http://a:1",
        "https://",
        "https://a",
        "https://a:0",
        "https://a:1/path",
        "https://a b:1",
        "https://[x]:1",
        "https://user@host:1",
        f"https://{'a' * 300}:1",
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--control-plane: "):
        parse_url(text, option="--control-plane")


def test_addresses_and_server_names_alone() -> None:
    assert parse_ip_address("127.10.0.1", option="--local") == "127.10.0.1"
    assert parse_server_name("mesh.example", option="--server-name") == "mesh.example"
    assert parse_server_name("::1", option="--server-name") == "::1"
    with pytest.raises(ConfigError, match=r"^--local: 'here' is not an IP address"):
        parse_ip_address("here", option="--local")
    for wrong in ("", "a:1", "https://a", "müller"):
        with pytest.raises(ConfigError, match=r"^--server-name: .* is neither a host name nor an IP address"):
            parse_server_name(wrong, option="--server-name")
