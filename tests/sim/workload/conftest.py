"""Services and users on simulated hosts without sidecars: an outbound address is the service's own."""

from pathlib import Path

import pytest
import trio
import trio.lowlevel

from mesh.model.names import Address
from sim.network.latency import Constant
from sim.network.links import Link, NetworkModel
from sim.scenario.loader import parse_scenario
from sim.scenario.topology import ServiceKind
from sim.workload.observations import ServiceTally, UserLog
from sim.workload.service import make_service
from sim.workload.settings import ServiceSettings, UsersSettings
from sim.workload.users import Users
from sim.world import World

HEAD = "type: Scenario\nformat: 1\nname: t\nduration: 10m\nzones: [z]\n"


class Bench:
    """Runs the services and users of a scenario's text for a while; then look at `log`, `tally` and the actors."""

    def __init__(self, text, *, seed=1):
        self.scenario = parse_scenario(HEAD + text, file="bench.yaml", folder=Path())
        self.tally, self.log = ServiceTally(), UserLog()
        self.services, self.users = {}, {}
        self.world = World(seed=seed, network=NetworkModel(default=Link(latency=Constant(0.0005))))
        self.hosts = {service.name: self.world.add_host(service.name) for service in self.scenario.services}
        self.addresses = {
            service.name: Address(self.hosts[service.name].address, service.kind.port)
            for service in self.scenario.services
        }
        self.called = {(s.name, e.verb, e.path): e for s in self.scenario.services for e in s.endpoints}
        self.kinds = {s.name: s.kind for s in self.scenario.services if s.kind is not ServiceKind.HTTP}

    def run(self, seconds, *, during=None):
        async def drive(world):
            await trio.lowlevel.checkpoint()
            for service in self.scenario.services:
                self._start(service)
            for workload in self.scenario.workloads:
                self._arrive(workload, seconds)
            if during is not None:
                await during(self)
            await trio.sleep_until(seconds + 30.0)

        result = self.world.run(drive)
        self.hash = result.event_hash
        return self

    def _start(self, service):
        host = self.hosts[service.name]
        settings = ServiceSettings(
            service=service,
            instance=service.name,
            listen=self.addresses[service.name],
            address_by_service=self.addresses,
            called=self.called,
            database_kind_by_service=self.kinds,
        )
        actor = self.services[service.name] = make_service(host.environment, settings, self.tally)
        host.spawn("application", actor.run)

    def _arrive(self, workload, seconds):
        host = self.world.add_host(workload.name)
        settings = UsersSettings(
            workload=workload,
            zone="z",
            share=1.0,
            users=getattr(workload.model, "users", 0),
            until_s=seconds,
            address_by_service=self.addresses,
            called=self.called,
        )
        actor = self.users[workload.name] = Users(host.environment, settings, self.log)
        self.world.start_task(self._spawn_later, host, actor, name="users")

    @staticmethod
    async def _spawn_later(host, actor):
        await trio.sleep(0.001)
        host.spawn("users", actor.run)


@pytest.fixture
def bench():
    return Bench
