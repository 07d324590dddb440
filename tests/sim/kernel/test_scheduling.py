from typing import Any

import attrs
import pytest
import trio
import trio._core._run as trio_run

from sim.clock import SimClock
from sim.scheduling import InstantCoin, current_runner, deterministic_scheduling


@attrs.define
class Instant:
    now_ns: int = 0
    withhold: Any = None


def order_of_tasks(seed: int, *, bystanders: int = 0) -> list[tuple[float, str]]:
    """Let four tasks race at 20 instants, beside others that do nothing; return who came when."""
    clock = SimClock()
    seen: list[tuple[float, str]] = []

    async def racer(name: str) -> None:
        for _ in range(20):
            await trio.sleep(1.0)
            seen.append((trio.current_time(), name))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(bystanders):
                nursery.start_soon(trio.sleep, 5.0 + number % 3)
            for name in "abcd":
                nursery.start_soon(racer, name)

    with deterministic_scheduling(seed, clock):
        trio.run(main, clock=clock)
    return seen


def test_trio_still_has_the_names_that_we_lean_on() -> None:
    """Fails when Trio changes: then sim/scheduling.py needs another way."""
    module: Any = trio_run
    assert isinstance(module._ALLOW_DETERMINISTIC_SCHEDULING, bool)  # Hypothesis sets it.
    assert callable(module._r.shuffle)

    async def main() -> None:
        runner = current_runner()
        assert len(runner.runq) >= 0
        assert not runner.waiting_for_idle

    trio.run(main)


def test_one_seed_gives_one_order_and_another_seed_another() -> None:
    assert order_of_tasks(1) == order_of_tasks(1)
    assert order_of_tasks(1) != order_of_tasks(2)


def test_both_orders_of_two_tasks_occur() -> None:
    seen = order_of_tasks(1)
    firsts = {names[0] for names in ([name for at, name in seen if at == float(second)] for second in range(1, 21))}
    assert firsts == {"a", "d"}


def test_other_tasks_do_not_change_the_order() -> None:
    assert order_of_tasks(3) == order_of_tasks(3, bystanders=7)


def test_the_coin_falls_evenly() -> None:
    instant = Instant()
    coin = InstantCoin(7, instant)
    reversed_count = 0
    for now_ns in range(0, 4_000_000_000, 1_000_000):
        instant.now_ns = now_ns
        batch: list[object] = [1, 2]
        coin.shuffle(batch)
        reversed_count += batch == [2, 1]
    assert 1800 < reversed_count < 2200


def test_everything_is_put_back_afterwards() -> None:
    module: Any = trio_run
    before = module._ALLOW_DETERMINISTIC_SCHEDULING, module._r
    inside: list[bool] = []

    def fail() -> None:
        with deterministic_scheduling(1, Instant()):
            inside.append(module._ALLOW_DETERMINISTIC_SCHEDULING)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert inside == [True]
    assert (module._ALLOW_DETERMINISTIC_SCHEDULING, module._r) == before
