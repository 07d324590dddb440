"""Sockets that were handed over stay silent after their process, and are reset when their host is back."""

import socket

import pytest
import trio

from sim.local.graveyard import Graveyard, bury


async def test_peers_of_a_killed_process_hear_nothing_until_its_host_is_back(tmp_path) -> None:
    graveyard = Graveyard(str(tmp_path / "graveyard.sock"))
    listener = socket.create_server(("127.0.0.1", 0))
    dying = socket.create_connection(listener.getsockname())
    peer, _ = listener.accept()
    with listener, peer:
        async with trio.open_nursery() as nursery:
            await nursery.start(graveyard.run)
            await trio.to_thread.run_sync(bury, graveyard.path, "web-1", [dying.fileno()])
            dying.close()  # As the kernel does when a process is killed.
            peer.setblocking(False)
            with pytest.raises(BlockingIOError):
                peer.recv(1)
            graveyard.release("web-1")
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
            nursery.cancel_scope.cancel()


async def test_more_sockets_than_one_message_takes_are_handed_over(tmp_path) -> None:
    graveyard = Graveyard(str(tmp_path / "graveyard.sock"))
    pairs = [socket.socketpair() for _ in range(300)]
    async with trio.open_nursery() as nursery:
        await nursery.start(graveyard.run)
        await trio.to_thread.run_sync(bury, graveyard.path, "web-1", [ours.fileno() for ours, _ in pairs])
        for ours, _ in pairs:
            ours.close()
        for _, theirs in pairs:
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(1)
        graveyard.release("web-1")
        for _, theirs in pairs:
            assert theirs.recv(1) == b""
            theirs.close()
        nursery.cancel_scope.cancel()
