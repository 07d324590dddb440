"""How long a peer may say nothing."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from mesh.discovery.silence import Silence
from mesh.model.errors import BrokenConnection


def run(test: Callable[[], Awaitable[None]]) -> None:
    trio.run(test, clock=MockClock(autojump_threshold=0))


async def listen(silence: Silence, pauses_s: list[float], *, busy_s: float = 0.0) -> None:
    """Hear something after each pause, and need a while to deal with it; then nothing more comes."""
    silence.begin()
    for pause_s in pauses_s:
        await trio.sleep(pause_s)
        silence.end()
        await trio.sleep(busy_s)
        silence.begin()
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("pauses_s", "busy_s", "ends_at"),
    [([], 0.0, 9.0), ([3.0, 3.0, 3.0], 0.0, 18.0), ([8.9], 0.0, 17.9), ([1.0, 8.0], 0.0, 18.0), ([5.0], 100.0, 114.0)],
)
def test_silence_ends_exactly_after_the_span_that_nothing_was_heard(
    pauses_s: list[float], busy_s: float, ends_at: float
) -> None:
    async def test() -> None:
        silence = Silence(9.0)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: listen(silence, pauses_s, busy_s=busy_s))
            with pytest.raises(BrokenConnection, match="nothing heard for 9 s"):
                await silence.watch()
            assert trio.current_time() - began == pytest.approx(ends_at)
            nursery.cancel_scope.cancel()

    run(test)
