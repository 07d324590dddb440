from typing import Any

import pytest
import trio
import trio.testing

from mesh.runtime.mailbox import Mailbox, MailboxFull

settle = trio.testing.wait_all_tasks_blocked


async def test_messages_come_out_in_order() -> None:
    mailbox = Mailbox[int]("registry", capacity=3)
    for number in range(3):
        mailbox.put_nowait(number)
    assert [await mailbox.get() for _ in range(3)] == [0, 1, 2]


async def test_a_full_mailbox_refuses_and_says_whose_it_is() -> None:
    mailbox = Mailbox[int]("registry", capacity=1)
    mailbox.put_nowait(1)
    with pytest.raises(MailboxFull, match="mailbox of registry holds 1 messages"):
        mailbox.put_nowait(2)
    assert await mailbox.get() == 1


async def test_get_waits_for_a_message_from_a_pump(running_reactor: Any) -> None:
    mailbox = Mailbox[str]("registry", capacity=1)

    async def tell() -> None:
        mailbox.put_nowait("from a pump")

    async with running_reactor() as reactor, trio.open_nursery() as nursery:
        got: list[str] = []

        async def listen() -> None:
            got.append(await mailbox.get())

        nursery.start_soon(listen)
        await settle()
        reactor.start(tell(), name="teller")
        await settle()
        assert got == ["from a pump"]


async def test_put_waits_for_room_first_come_first_served() -> None:
    mailbox = Mailbox[str]("registry", capacity=1)
    await mailbox.put("a")
    async with trio.open_nursery() as nursery:
        for message in "bc":
            nursery.start_soon(mailbox.put, message)
            await settle()
        assert len(mailbox) == 1
        assert [await mailbox.get() for _ in range(3)] == ["a", "b", "c"]


async def test_a_cancelled_getter_takes_nothing_with_it() -> None:
    mailbox = Mailbox[str]("registry", capacity=2)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.get()
    with trio.CancelScope() as scope:
        mailbox.put_nowait("kept")
        scope.cancel()
        await mailbox.get()
    assert await mailbox.get() == "kept"


async def test_statistics_remember_the_high_water_mark() -> None:
    mailbox = Mailbox[int]("registry", capacity=4)
    for number in range(4):
        mailbox.put_nowait(number)
    with pytest.raises(MailboxFull):
        mailbox.put_nowait(5)
    await mailbox.get()
    statistics = mailbox.statistics()
    assert (statistics.waiting, statistics.waiting_max, statistics.accepted, statistics.refused) == (3, 4, 4, 1)
