"""What a host went through that excuses its sidecar."""

from types import SimpleNamespace

import trio

from sim.checks.disturbances import Disturbances
from sim.world import World


async def takes_long_to_clean_up(host):
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(3.0)


def test_host_that_cleans_up_before_its_end_ended_its_requests():
    # With `host.alive` alone: what the end of a drain had cut counted as requests without an outcome.
    seen = {}

    async def main(world):
        host = world.add_host("shop-1", boot=takes_long_to_clean_up)
        disturbances = Disturbances(SimpleNamespace(world=world, members={"shop-1": SimpleNamespace(host=host)}))

        def look(moment):
            seen[moment] = (host.alive, disturbances.lived_through("shop-1", 0.5))

        await trio.sleep(1.0)
        look("before")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.stop)
            await trio.sleep(1.0)
            look("while it cleans up")
        look("after")
        host.start()
        look("in its next life")

    World(seed=1).run(main)
    assert seen == {
        "before": (True, True),
        "while it cleans up": (True, False),
        "after": (False, False),
        "in its next life": (True, False),
    }
