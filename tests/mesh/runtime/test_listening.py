"""Who is blamed for a port in use: the program whose listener is really in the way."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mesh.model.errors import ConfigError
from mesh.model.names import Address
from mesh.runtime.real import listening
from mesh.runtime.real.listening import listen_on, local_address, port_user

US = f"(pid {os.getpid()})"


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def listen(sockets: ExitStack, host: str, port: int = 0, *, dual: bool = False) -> Address:
    sock = sockets.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
    sock.bind((host, port))
    sock.listen()
    return local_address(sock)


def test_listener_at_another_address_is_not_blamed(sockets: ExitStack) -> None:
    port = listen(sockets, "127.0.0.1").port
    assert port_user(Address("127.0.0.1", port)).endswith(US)
    assert port_user(Address("127.0.0.2", port)) == ""
    assert port_user(Address("::1", port)) == ""
    listen_on(Address("127.0.0.2", port)).close()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("0.0.0.0", "127.0.0.7"), ("127.0.0.7", "0.0.0.0"), ("::", "::1"), ("::1", "::"), ("::1", "::1")],
)
def test_wildcards_are_in_the_way_of_every_address(sockets: ExitStack, theirs: str, ours: str) -> None:
    address = Address(ours, listen(sockets, theirs).port)
    with pytest.raises(ConfigError, match=rf"port {address.port} is in use by \S+ \(pid {os.getpid()}\)"):
        listen_on(address)


def test_ipv6_wildcard_may_take_ipv4_too(sockets: ExitStack) -> None:
    address = Address("127.0.0.1", listen(sockets, "::", dual=True).port)
    with pytest.raises(ConfigError, match=rf"is in use by \S+ \(pid {os.getpid()}\)"):
        listen_on(address)


def test_same_address_is_blamed_before_a_wildcard(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("00000000000000000000000000000000", "11"), ("0100007F", "22"), ("0200007F", "33"), ("00000000", "44")]
    sockets = [(listening._decode_host(host), 80, inode) for host, inode in rows]
    monkeypatch.setattr(listening, "_listening_sockets", lambda: iter(sockets))
    assert listening._rival_inodes(Address("127.0.0.1", 80)) == ["22", "11", "44"]
    assert listening._rival_inodes(Address("127.0.0.1", 81)) == []


@pytest.mark.skipif("sys.byteorder != 'little'")
@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000000000000000000001000000", "::1"),
        ("B80D0120000000000000000001000000", "2001:db8::1"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
    ],
)
def test_addresses_as_the_kernel_writes_them(written: str, host: str) -> None:
    assert str(listening._decode_host(written)) == host
