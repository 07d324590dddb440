"""One process of a scenario on real processes: a sidecar, an application or the users of one place.

`sim.local.forker` starts them, each with a file that holds its ProcessSettings as JSON.
The actors are those that run anywhere. What is added: their environment's connections to other hosts cross the scenario's
links, their chance comes from the scenario's seed as in simulation, and what they see is told to the runner.
"""

import sys
import time
from pathlib import Path
from typing import TextIO, cast

import attrs
import msgspec
import trio

from mesh.identity.tls import OpenSslTls
from mesh.runtime.drain import drain_on_signal
from mesh.runtime.logging import open_log
from mesh.runtime.real import real_environment, wall_clock
from sim.faults.links import links_of
from sim.local.links import LinkedNetwork, ProcessLinks
from sim.local.messages import Channel, Hello
from sim.local.reactor import LinkedReactor
from sim.local.reporting import KeptEvents
from sim.local.roles import make_role
from sim.local.settings import ProcessSettings
from sim.local.steered import SteeredProcess
from sim.randomness import KeyedRandomness
from sim.scenario.loader import load_scenario
from sim.scenario.scenario import Scenario


def main(settings_file: str) -> None:
    """Run one process until SIGTERM has drained it."""
    settings = msgspec.json.decode(Path(settings_file).read_bytes(), type=ProcessSettings)
    scenario = load_scenario(
        settings.scenario_file, variant=settings.variant or None, settings=settings.overrides, seed=settings.seed
    )
    trio.run(_run, settings, scenario, strict_exception_groups=True)


async def _run(settings: ProcessSettings, scenario: Scenario) -> None:
    place = settings.place
    shift_s = time.monotonic() - trio.current_time()
    events = KeptEvents(sys.stderr, shift_s=shift_s)
    log = open_log(wall_clock=wall_clock, form="json", output=cast(TextIO, events))
    reactor = LinkedReactor(log=log)
    events.clock = reactor.now
    randomness = KeyedRandomness(scenario.seed, "host", place.name, settings.incarnation)
    links = ProcessLinks(
        place, reactor=reactor, model=links_of(scenario.network), randomness=randomness.under("links", settings.role)
    )
    env = attrs.evolve(
        real_environment(
            place.name,
            data_dir=settings.data_dir,
            reactor=reactor,
            tls=OpenSslTls(wall_clock, dates_by_openssl=True),
            log=log,
        ),
        network=LinkedNetwork(links),
        randomness=randomness,
    )
    channel = Channel(await trio.open_unix_socket(settings.runner))
    role = make_role(settings, scenario, env, shift_s=shift_s)
    steered = SteeredProcess(scenario, links, role, channel, graveyard=settings.graveyard, events=events)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        await channel.send(Hello(name=place.name, role=settings.role))
        nursery.start_soon(steered.obey)
        await steered.welcomed.wait()
        drain = await role.start(nursery)
        nursery.start_soon(steered.report)
        await drain_on_signal(drain, log=log)
        with trio.move_on_after(1.0):
            await steered.report_now()
        nursery.cancel_scope.cancel()
