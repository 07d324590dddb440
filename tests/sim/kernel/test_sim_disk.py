import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from sim.clock import SimClock
from sim.disk import Platter, SimDisk


def run(body: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(body, clock=SimClock())


def after_crash(steps: Callable[[SimDisk], Awaitable[None]], *, seed: int) -> dict[str, bytes]:
    """Run some steps on an empty disk, cut the power, and return the files that are left."""
    platter = Platter()
    run(lambda: steps(SimDisk(platter)))
    platter.crash(random.Random(seed))
    return platter.files


def test_files_are_read_as_written() -> None:
    async def body() -> None:
        disk = SimDisk(Platter())
        await disk.write("config/last", b"one")
        await disk.write("config/last", b"two")
        await disk.write("other", b"")
        assert await disk.read("config/last") == b"two"
        assert await disk.list("config") == ["config/last"]
        assert await disk.list("") == ["config/last", "other"]
        assert await disk.list("conf") == []
        await disk.rename("config/last", "config/first")
        assert await disk.list("config/") == ["config/first"]
        await disk.delete("config/first")
        for operation in (disk.read, disk.delete, disk.sync):
            with pytest.raises(FileNotFoundError):
                await operation("config/first")
        with pytest.raises(FileNotFoundError):
            await disk.rename("config/first", "x")

    run(body)


def test_what_was_synced_survives() -> None:
    async def steps(disk: SimDisk) -> None:
        await disk.write("a", b"durable")
        await disk.sync("a")

    assert all(after_crash(steps, seed=seed) == {"a": b"durable"} for seed in range(20))


def test_what_was_not_synced_may_be_lost_torn_or_whole() -> None:
    async def steps(disk: SimDisk) -> None:
        await disk.write("a", b"0123456789")

    outcomes = {after_crash(steps, seed=seed).get("a") for seed in range(100)}
    assert None in outcomes
    assert b"0123456789" in outcomes
    torn = outcomes - {None, b"0123456789"}
    assert len(torn) > 3
    assert all(b"0123456789".startswith(content) for content in torn if content is not None)


def test_write_sync_rename_sync_leaves_the_old_or_the_new_file() -> None:
    async def steps(disk: SimDisk) -> None:
        await disk.write("config", b"old")
        await disk.sync("config")
        await disk.write("config.new", b"new and longer")
        await disk.sync("config.new")
        await disk.rename("config.new", "config")

    outcomes = {after_crash(steps, seed=seed)["config"] for seed in range(50)}
    assert outcomes == {b"old", b"new and longer"}

    async def synced(disk: SimDisk) -> None:
        await steps(disk)
        await disk.sync("config")

    assert {after_crash(synced, seed=seed)["config"] for seed in range(50)} == {b"new and longer"}


def test_a_rename_without_a_sync_before_it_may_leave_a_torn_file() -> None:
    async def steps(disk: SimDisk) -> None:
        await disk.write("config", b"old")
        await disk.sync("config")
        await disk.write("config.new", b"new")
        await disk.rename("config.new", "config")

    outcomes = {after_crash(steps, seed=seed)["config"] for seed in range(100)}
    assert {b"old", b"new", b"n", b""} <= outcomes


def test_a_full_or_broken_disk_says_so() -> None:
    async def body() -> None:
        platter = Platter(capacity_bytes=10)
        disk = SimDisk(platter)
        await disk.write("a", b"12345")
        with pytest.raises(OSError, match="no space left"):
            await disk.write("b", b"123456")
        await disk.write("a", b"1234567890")
        platter.broken = True
        with pytest.raises(OSError, match="broken"):
            await disk.read("a")
        platter.broken = False
        assert await disk.read("a") == b"1234567890"

    run(body)


def test_others_may_fill_a_disk_for_a_while() -> None:
    async def body() -> None:
        platter = Platter()
        disk = SimDisk(platter)
        await disk.write("a", b"12345")
        undo = platter.fill(free_bytes=2)
        await disk.write("b", b"12")
        with pytest.raises(OSError, match="no space left"):
            await disk.write("c", b"1")
        await disk.write("a", b"54321")
        assert platter.refused == 1
        undo()
        await disk.write("c", b"1")
        assert platter.files == {"a": b"54321", "b": b"12", "c": b"1"}

    run(body)


def test_a_slow_disk_is_waited_for() -> None:
    async def body() -> None:
        platter = Platter(sync_s=0.5)
        platter.delays += [lambda: 1.0, lambda: 2.0]
        disk = SimDisk(platter)
        await disk.write("a", b"x")
        assert trio.current_time() == 0.0
        await disk.sync("a")
        assert trio.current_time() == 3.5
        await disk.read("a")
        assert trio.current_time() == 6.5
        assert platter.waited == 2

    run(body)


def test_a_disk_that_lies_keeps_nothing_for_sure() -> None:
    async def body() -> None:
        disk = SimDisk(platter)
        await disk.write("a", b"0123456789")
        await disk.sync("a")

    outcomes = set()
    for seed in range(50):
        platter = Platter()
        platter.lies = True
        run(body)
        platter.crash(random.Random(seed))
        outcomes.add(platter.files.get("a", b"absent") == b"0123456789")
    assert outcomes == {True, False}


def test_an_unsparing_power_cut_keeps_no_unsynced_write_whole() -> None:
    async def body() -> None:
        disk = SimDisk(platter)
        await disk.write("old", b"durable")
        await disk.sync("old")
        await disk.write("a", b"0123456789")
        await disk.rename("a", "b")

    for seed in range(50):
        platter = Platter()
        run(body)
        platter.crash(random.Random(seed), spares_writes=False)
        left = platter.files.get("b", platter.files.get("a", b""))
        assert len(left) < 10
        assert platter.files["old"] == b"durable"
        assert platter.spoilt > 0


def test_a_crash_of_processes_keeps_what_the_system_was_told() -> None:
    async def body() -> None:
        disk = SimDisk(platter)
        await disk.write("a", b"one")
        await disk.sync("a")
        await disk.write("a", b"two")
        await disk.rename("a", "b")

    platter = Platter()
    run(body)
    platter.forget_unwritten()
    assert platter.files == {"b": b"two"}
    platter.wipe()
    platter.crash(random.Random(1))
    assert platter.files == {}


def test_a_cut_disk_takes_nothing_from_a_dying_host() -> None:
    async def body() -> None:
        platter = Platter()
        disk = SimDisk(platter)
        disk.cut()
        with pytest.raises(OSError, match="lost its power"):
            await disk.write("a", b"x")
        assert platter.files == {}

    run(body)
