"""Do applications of a scenario choose spans and numbers of tries by headers of their requests? Then the route's do not count."""

from sim.scenario.scenario import Scenario
from sim.scenario.topology import calls_of
from sim.scenario.users import Visit

_CONTROL = "x-envoy-"


def steers_by_headers(scenario: Scenario) -> bool:
    """Are there control headers of Envoy's in what users or services send?"""
    headers = [header for workload in scenario.workloads for header in workload.headers]
    for workload in scenario.workloads:
        for journey in workload.journeys:
            for step in journey.steps:
                headers += step.headers if isinstance(step, Visit) else ()
    for service in scenario.services:
        for endpoint in service.endpoints:
            headers += [header for call in calls_of(endpoint.steps) for header in call.headers]
    return any(header.name.lower().startswith(_CONTROL) for header in headers)
