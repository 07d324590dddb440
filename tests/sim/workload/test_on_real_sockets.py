"""The same services and users on the operating system's sockets, on loopback."""

from pathlib import Path

import structlog
import trio
import trio.testing

from mesh.model.names import Address
from mesh.runtime.environment import Environment
from mesh.runtime.reactor import EpollReactor
from sim.randomness import KeyedRandomness
from sim.scenario.loader import parse_scenario
from sim.scenario.topology import ServiceKind
from sim.workload.observations import ServiceTally, UserLog
from sim.workload.service import make_service
from sim.workload.settings import ServiceSettings, UsersSettings
from sim.workload.users import Users

SCENARIO = """\
type: Scenario
format: 1
name: loopback
duration: 5s
zones: [z]
services:
  web:
    instances: {z: 1}
    endpoints: {GET /: {steps: [{call: db SELECT users}, [{call: cache GET}, {call: back POST /x}]]}}
  back: {instances: {z: 1}, endpoints: {POST /x: {request: 100KiB, response: 100KiB, steps: [{work: 1ms}]}}}
  db: {kind: postgresql, instances: {z: 1}, work: 1ms}
  cache: {kind: redis, instances: {z: 1}, work: 1ms}
workload: {u: {rate: 100/s, arrivals: constant, journeys: {j: [GET web/]}}}
"""


async def serve_and_visit(scenario, log, tally):
    logger = structlog.get_logger()
    reactor = EpollReactor(log=logger)
    env = Environment(
        host="loopback",
        network=None,
        reactor=reactor,
        tls=None,
        randomness=KeyedRandomness(1),
        disk=None,
        wall_clock=trio.current_time,
        log=logger,
    )
    # Every instance has its own loopback address, so that the usual ports do.
    addresses = {s.name: Address(f"127.77.0.{n}", 18_080) for n, s in enumerate(scenario.services, start=1)}
    called = {(s.name, e.verb, e.path): e for s in scenario.services for e in s.endpoints}
    kinds = {s.name: s.kind for s in scenario.services if s.kind is not ServiceKind.HTTP}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        for service in scenario.services:
            settings = ServiceSettings(
                service=service,
                instance=service.name,
                listen=addresses[service.name],
                address_by_service=addresses,
                called=called,
                database_kind_by_service=kinds,
            )
            nursery.start_soon(make_service(env, settings, tally).run)
        await trio.testing.wait_all_tasks_blocked()
        settings = UsersSettings(
            workload=scenario.workloads[0],
            zone="z",
            share=1.0,
            until_s=0.3,
            address_by_service=addresses,
            called=called,
        )
        nursery.start_soon(Users(env, settings, log).run)
        with trio.move_on_after(10):
            while len(log.journeys) < 30:
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()


def test_services_and_users_work_on_loopback():
    scenario = parse_scenario(SCENARIO, file="loopback.yaml", folder=Path())
    log, tally = UserLog(), ServiceTally()
    trio.run(serve_and_visit, scenario, log, tally)
    assert len(log.journeys) == 30
    assert all(journey.ok for journey in log.journeys)
    assert tally.executions == {("web", "GET /"): 30, ("back", "POST /x"): 30}
    assert tally.statements == {("db", "SELECT"): 30, ("cache", "GET"): 30}
