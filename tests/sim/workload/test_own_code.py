"""Services that are an operator's own code: actors and ASGI applications, in simulation and on real sockets."""

import socket
from pathlib import Path

import pytest
import structlog
import trio

from mesh.model.names import Address
from mesh.runtime.environment import Environment
from mesh.runtime.reactor import EpollReactor
from mesh.runtime.real.network import RealNetwork
from sim.randomness import KeyedRandomness
from sim.runner import run_scenario
from sim.scenario.loader import load_scenario, parse_scenario
from sim.workload.observations import ServiceTally, UserLog
from sim.workload.service import make_service
from sim.workload.settings import ServiceSettings, UsersSettings
from sim.workload.users import Users

EXAMPLES = Path(__file__).parents[3] / "scenarios" / "examples"

SCENARIO = """\
type: Scenario
format: 1
name: own
duration: 20s
zones: [z]
services:
  own: {instances: {z: 1}, %s}
workload:
  u: {rate: 10/s, arrivals: constant, timeout: 2s, journeys: {j: [%s]}}
%s
"""

ASGI = """
import trio

calls = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    message = await receive()
    calls.append(message["body"])
    path = scope["path"]
    if path == "/raise":
        raise ValueError("on purpose")
    if path == "/half":
        return
    await trio.sleep(0.1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-calls", b"%d" % len(calls))]})
    await send({"type": "http.response.body", "body": b"first ", "more_body": True})
    await trio.sleep(0.1)
    await send({"type": "http.response.body", "body": message["body"]})
"""


def run(folder, service, request, more="", *, files=()):
    for name, text in files:
        (folder / name).write_text(text)
    text = SCENARIO % (service, request, more)
    scenario = parse_scenario(text, file=str(folder / "own.yaml"), folder=folder)
    return run_scenario(scenario)


def complaints(folder, service, request="GET own/"):
    from mesh.model.errors import ConfigError

    with pytest.raises(ConfigError) as refused:
        run(folder, service, request)
    return "\n".join(str(violation) for violation in refused.value.violations)


@pytest.mark.parametrize("path", ["actor/actor.yaml", "asgi/asgi.yaml"])
def test_example_holds_and_is_the_same_every_time(path):
    results = [run_scenario(load_scenario(EXAMPLES / path)) for _ in range(2)]
    assert all(result.ok for result in results), results[0].to_text()
    assert results[0].event_hash == results[1].event_hash


def test_application_streams_and_forgets_with_each_start(tmp_path):
    more = "timeline: [{at: 10s, restart: own-1}]\nchecks: [{name: slow, expect: p50(j) >= 200ms}]"
    result = run(tmp_path, "asgi: mine:app", "{request: POST own/x, body: hello}", more, files=[("mine.py", ASGI)])
    assert result.ok, result.to_text()
    # Executed anew for each start: what the module itself imported has no calls in it.
    import sys

    assert len(sys.modules["mine"].calls) < 110


@pytest.mark.parametrize("path", ["raise", "half"])
def test_application_that_fails_answers_500(tmp_path, path):
    more = "checks: [{name: fails, expect: answers(500) > 100}]"
    result = run(tmp_path, "asgi: mine:app", f"GET own/{path}", more, files=[("mine.py", ASGI)])
    assert next(check for check in result.checks if check.name == "fails").ok, result.to_text()
    assert "no-errors" not in {check.name for check in result.checks}


def test_application_can_be_slow_stuck_and_failing(tmp_path):
    more = """
timeline:
  - {at: 2s, for: 3s, slow: own, factor: 3}
  - {at: 6s, for: 3s, stuck: own}
  - {at: 10s, for: 3s, fail: own, errors: {503: 100%}}
  - {at: 15s, for: 3s, fail-fast: own}
checks:
  - {name: slow, expect: p50(j) > 350ms, when: between 2.5s and 4s}
  - {name: stuck, expect: success(j) <= 50%, when: between 6s and 7s}
  - {name: failing, expect: success(j) <= 5%, when: during fail}
  - {name: failing-fast, expect: success(j) <= 5%, when: during fail-fast}
  - {name: well, expect: success(j) >= 99%, when: between 13.1s and 14.9s}
"""
    more += "---\n{type: MeshRetry, name: none, spec: {to: [{targetRef: {kind: Mesh}, default: {http: {numRetries: 0}}}]}}\n"
    more += "---\n{type: MeshCircuitBreaker, name: blind, spec: {to: [{targetRef: {kind: Mesh}, "
    more += "default: {outlierDetection: {disabled: true}}}]}}\n"
    result = run(tmp_path, "asgi: mine:app", "GET own/x", more, files=[("mine.py", ASGI)])
    assert result.ok, result.to_text()


@pytest.mark.parametrize(
    ("service", "complaint"),
    [
        ("actor: nowhere:Thing", "own.yaml:7:28: services.own.actor: there is no module 'nowhere' (in "),
        ("actor: mine:Think", "has no 'Think' (did you mean 'thing'?)"),
        ("actor: mine:thing", "'mine:thing' is a function (write the name of a class"),
        ("asgi: mine:Thing", "'mine:Thing' is the class Thing (write the name of an application"),
        ("actor: broken:Thing", "module 'broken' cannot be loaded: ZeroDivisionError: division by zero"),
        ("actor: needs:Thing", "module 'needs' needs 'not_there_at_all', which is not there"),
        ("actor: mine", "'mine' does not say what to run (write actor: module:Class)"),
        ("actor: mine:Thing, asgi: mine:thing", "a service is an actor or an ASGI application, not both"),
        ("actor: mine:Thing, endpoints: {GET /: {}}", "an actor service is its own code; it has no endpoints here"),
        ("actor: mine:Thing, kind: redis", "your own code speaks http or tcp, not redis"),
        ("kind: tcp", "a tcp service speaks what your own code makes of it"),
        ("counts: [x]", "'counts' is of services that are your own code"),
        ("actor: mine:Thing, calls: [nobody]", "unknown service 'nobody'"),
        ("actor: mine:Thing, autoscale: {target: 50%, max: 3}", "an actor has no places"),
    ],
)
def test_wrong_code_is_refused_with_place_and_hint(tmp_path, service, complaint):
    (tmp_path / "mine.py").write_text("class Thing: ...\ndef thing(): ...\n")
    (tmp_path / "broken.py").write_text("class Thing: ...\n1 / 0\n")
    (tmp_path / "needs.py").write_text("import not_there_at_all\n")
    assert complaint in complaints(tmp_path, service)


def test_faults_of_services_do_not_reach_into_actors(tmp_path):
    (tmp_path / "mine.py").write_text("class Thing: ...\n")
    from mesh.model.errors import ConfigError

    with pytest.raises(ConfigError, match="'own' is an actor of its own; slow does not reach into its code"):
        run(tmp_path, "actor: mine:Thing", "GET own/", "timeline: [{at: 1s, slow: own, factor: 2}]")


ECHO = """
import trio

class Echo:
    def __init__(self, env, settings):
        self.env, self.settings = env, settings

    async def run(self):
        listener = await self.env.network.listen(self.settings.listen)
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    nursery.start_soon(self.serve, await listener.accept())
        finally:
            await listener.aclose()

    async def serve(self, stream):
        async with stream:
            while data := await stream.receive_some(4096):
                await stream.send_all(data)

class Caller:
    def __init__(self, env, settings):
        self.env, self.settings = env, settings

    async def run(self):
        while True:
            await trio.sleep(0.5)
            stream = await self.env.network.connect(self.settings.upstreams["echo"])
            async with stream:
                await stream.send_all(b"hello")
                assert await stream.receive_some(100) == b"hello"
            self.settings.meter.count("echoed")
"""


def test_actors_speak_to_one_another_over_tcp(tmp_path):
    (tmp_path / "mine.py").write_text(ECHO)
    text = """\
type: Scenario
format: 1
name: tcp
duration: 10s
zones: [z]
services:
  echo: {kind: tcp, actor: "mine:Echo", instances: {z: 2}}
  caller: {actor: "mine:Caller", instances: {z: 1}, calls: [echo], counts: [echoed]}
checks: [{name: echoed, expect: count(caller.echoed) >= 15, when: at end}]
"""
    result = run_scenario(parse_scenario(text, file="tcp.yaml", folder=tmp_path))
    assert result.ok, result.to_text()


@pytest.mark.parametrize(("path", "services"), [("actor/actor.yaml", ["limits"]), ("asgi/asgi.yaml", ["shop"])])
def test_the_same_code_runs_on_real_sockets(path, services):
    scenario = load_scenario(EXAMPLES / path)
    log, tally = UserLog(), ServiceTally()
    trio.run(_serve_and_visit, scenario, services, log, tally)
    assert log.visits
    assert {visit.status for visit in log.visits} <= {200, 201, 429}


def free_address(host):
    with socket.socket() as chosen:
        chosen.bind((host, 0))
        return Address(host, chosen.getsockname()[1])


async def listening(address):
    """Wait until somebody listens: applications are loaded first."""
    with trio.fail_after(20):
        while True:
            try:
                stream = await trio.open_tcp_stream(address.host, address.port)
            except OSError:
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return


async def _serve_and_visit(scenario, services, log, tally):
    logger = structlog.get_logger()
    reactor = EpollReactor(log=logger)
    env = Environment(
        host="loopback",
        network=RealNetwork(),
        reactor=reactor,
        tls=None,
        randomness=KeyedRandomness(1),
        disk=None,
        wall_clock=trio.current_time,
        log=logger,
    )
    addresses = {name: free_address(f"127.78.0.{n}") for n, name in enumerate(services, start=1)}
    workload = next(w for w in scenario.workloads if w.entry_services() == tuple(services))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        for name in services:
            settings = ServiceSettings(
                service=scenario.service(name), instance=name, listen=addresses[name], address_by_service=addresses
            )
            nursery.start_soon(make_service(env, settings, tally).run)
        for address in addresses.values():
            await listening(address)
        settings = UsersSettings(workload=workload, zone="here", share=1.0, until_s=1.0, address_by_service=addresses)
        users = Users(env, settings, log)
        nursery.start_soon(users.run)
        await trio.sleep(1.0)
        with trio.move_on_after(3.0):
            while users.active:
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
