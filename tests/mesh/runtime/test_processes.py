import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import trio

from mesh.model.errors import ConfigError
from mesh.runtime.real.processes import RealProcesses


async def test_a_program_writes_its_log_and_its_exit_status_is_known(tmp_path: Path) -> None:
    processes = RealProcesses(str(tmp_path))
    for word in ("one", "two"):
        process = await processes.start(["sh", "-c", f"echo {word}; echo {word} >&2; exit 3"], log_path="logs/sh.log")
        assert await process.wait() == 3
        assert await process.wait() == 3
        process.terminate()  # Too late is no error.
    assert (tmp_path / "logs/sh.log").read_text() == "one\none\ntwo\ntwo\n"


async def test_several_may_wait_for_one_program(tmp_path: Path) -> None:
    process = await RealProcesses(str(tmp_path)).start(["sleep", "60"])
    ends: list[int] = []

    async def wait() -> None:
        ends.append(await process.wait())

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            process.kill()
    assert ends == [-signal.SIGKILL, -signal.SIGKILL]


async def test_terminate_asks_politely(tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.01; done"
    process = await RealProcesses(str(tmp_path)).start(["sh", "-c", script], log_path="log")
    with trio.fail_after(5):
        while (tmp_path / "log").read_text() != "ready\n":
            await trio.sleep(0.01)
        process.terminate()
        assert await process.wait() == 0
    assert (tmp_path / "log").read_text() == "ready\nbye\n"


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot start no-such-program: No such file"):
        await RealProcesses(str(tmp_path)).start(["no-such-program"], log_path="log")


async def test_children_end_with_their_parent(tmp_path: Path) -> None:
    """Even where the parent is killed and cannot say goodbye; and a child outlives idle worker threads."""
    parent_code = textwrap.dedent(
        """
        import sys, trio
        from mesh.runtime.real.processes import RealProcesses

        async def main():
            child = await RealProcesses(sys.argv[1]).start(["sleep", "60"])
            await trio.to_thread.run_sync(lambda: None)
            print(child.pid, flush=True)
            await trio.sleep_forever()

        trio.run(main)
        """
    )
    command = [sys.executable, "-c", parent_code, str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 -- the test is about it
    assert parent.stdout is not None
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    with trio.fail_after(5):
        await trio.lowlevel.wait_readable(child)
    os.close(child)
