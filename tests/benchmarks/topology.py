"""Workload (f): the retailer as a SimPy model: the same topology, load and times, without bytes, sidecars or faults.

What a queueing model costs that knows nothing of HTTP, TLS, retries or policies: resources for the places of instances,
timeouts for work and links. Both count a request between services as one hop. Rates are per second of CPU time; interleaved.
"""

import random
import statistics
import time
from collections.abc import Generator
from itertools import cycle
from typing import Any

import simpy

from sim.runner import run_scenario
from sim.scenario.loader import load_scenario
from sim.scenario.scenario import Scenario
from sim.scenario.topology import Operation, Parallel, Service, ServiceKind, Step, Work
from sim.scenario.users import Journey, OpenModel, Think, Workload
from sim.workload.starts import make_starts
from tests.benchmarks.hops import RETAILER

Process = Generator[Any, Any, None]
SECONDS = 120.0


class SimpyModel:
    """One scenario's services and users as SimPy processes."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.environment = simpy.Environment()
        self.random = random.Random(scenario.seed)
        self.hops = 0
        self._places = {service.name: cycle(self._instances(service)) for service in scenario.services}

    def run(self, seconds: float) -> None:
        for workload in self.scenario.workloads:
            self.environment.process(self._arrive(workload, seconds))
        self.environment.run(until=seconds)

    def _instances(self, service: Service) -> list[simpy.Resource]:
        count = sum(number for _, number in service.instances)
        return [simpy.Resource(self.environment, capacity=service.concurrency) for _ in range(count)]

    def _arrive(self, workload: Workload, seconds: float) -> Process:
        assert isinstance(workload.model, OpenModel), "the retailer's users arrive"
        starts = make_starts(workload.model, 1.0, self.random)
        names, weights = zip(*workload.mix, strict=True)
        journeys = {journey.name: journey for journey in workload.journeys}
        while (start_s := starts.next()) < seconds:
            yield self.environment.timeout(start_s - self.environment.now)
            self.environment.process(self._travel(journeys[self.random.choices(names, weights)[0]]))

    def _travel(self, journey: Journey) -> Process:
        for step in journey.steps:
            if isinstance(step, Think):
                yield self.environment.timeout(step.time.draw(self.random))
            else:
                yield from self._call(step.operation)

    def _call(self, operation: Operation) -> Process:
        service = self.scenario.service(operation.service)
        latency = self.scenario.network.default.latency
        yield self.environment.timeout(latency.draw(self.random))
        with next(self._places[service.name]).request() as place:
            yield place
            if service.kind is not ServiceKind.HTTP:
                yield self.environment.timeout(service.work.draw(self.random))
            else:
                self.hops += 1
                endpoint = service.endpoint(operation.verb, operation.path)
                assert endpoint is not None, "the loader has checked every reference"
                for step in endpoint.steps:
                    yield from self._do(step)
        yield self.environment.timeout(latency.draw(self.random))

    def _do(self, step: Step) -> Process:
        match step:
            case Work(time=work):
                yield self.environment.timeout(work.draw(self.random))
            case Parallel(steps=steps):
                yield self.environment.all_of([self.environment.process(self._do(each)) for each in steps])
            case _:
                yield from self._call(step.operation)


def run(*, rounds: int) -> None:
    """Measure and print medians."""
    scenario = load_scenario(RETAILER)
    ours, theirs = [], []
    for _ in range(rounds):
        began = time.process_time()
        result = run_scenario(scenario, until_s=SECONDS)
        ours.append(result.hops / (time.process_time() - began))
        model = SimpyModel(scenario)
        began = time.process_time()
        model.run(SECONDS)
        theirs.append(model.hops / (time.process_time() - began))
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(
        f"\n(f) the retailer's first {SECONDS:g} s, hops per CPU second, medians of {rounds} interleaved rounds: "
        f"ours {statistics.median(ours):,.0f}, SimPy's queueing model {statistics.median(theirs):,.0f}: "
        f"a hop through two real sidecars costs {ratio:.0f} x a hop of the model"
    )
