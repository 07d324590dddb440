"""`mesh up`: a scenario's mesh for real, on this machine: a process for the control plane, each sidecar and each service.

Every instance has a loopback address of its own, where its application and its sidecar listen: nothing leaves the machine.
Owns the processes; does not restart them: what you kill stays dead, and the mesh shows how it goes on.
"""

import json
import math
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import click
import trio

from mesh.cli.addresses import parse_listen_address
from mesh.cli.files import check_data_folder
from mesh.cli.inputs import Inputs
from mesh.cli.local_control_plane import LocalControlPlane
from mesh.cli.output import say
from mesh.cli.requests_to_try import REQUESTS_MAX, requests_to_try
from mesh.cli.scratch_folder import scratch_folder
from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.runtime.environment import Process
from mesh.runtime.real.processes import RealProcesses
from sim.scenario.loader import load_scenario
from sim.scenario.scenario import Scenario
from sim.workload.deployment import Edge, Instance, dataplane_of, edges_of, instances_of

DEFAULT_SCENARIO = Path("scenarios/examples/retailer.yaml")
ADMIN_PORT = 9901
READY_TIMEOUT_S = 120.0
SETTLE_S = 0.3  # What became ready last is published to its callers within this time.
DRAIN_S = 10.0
KILL_S = 5.0
# What the control plane logs and an operator wants to see here: {event: text}.
NEWS = {
    "proxy.joined": "{proxy} joined",
    "proxy.departing": "{proxy} is {departure}",
    "proxy.left": "{proxy} left",
    "proxy.refused": "{proxy} was refused: {reason}",
    "endpoint.health_changed": "{proxy} inbound {inbound} ready={ready}",
    "configuration.nacked": "{proxy} refused configuration {version}: {reason}",
}


@attrs.frozen(kw_only=True)
class Place:
    """One instance or edge on this machine: its loopback address and its files."""

    what: Instance | Edge
    address: str
    folder: Path

    @property
    def name(self) -> str:
        return self.what.name

    @property
    def admin(self) -> Address:
        return Address(self.address, ADMIN_PORT)


@click.command("up")
@click.argument("scenario_file", type=click.Path(path_type=Path), default=DEFAULT_SCENARIO, required=False)
@click.option("--data", "data_dir", type=click.Path(path_type=Path), default=Path(".mesh/up"), show_default=True)
@click.option("--address", default="127.0.0.1:5678", show_default=True, help="Where the control plane listens.")
def command(scenario_file: Path, data_dir: Path, address: str) -> int:
    """Start a scenario's mesh for real, on this machine.

    One process each for the control plane, every sidecar and every service, all on loopback, mutual TLS between the
    sidecars. Prints where to send requests. Ctrl-C drains and ends them all.

    \b
    Example:
      mesh up shop.yaml
    """
    inputs = Inputs()
    inputs.read(parse_listen_address, address, option="--address", loopback="the mesh stays on this machine")
    scenario = inputs.read(_load, scenario_file)
    inputs.read(check_data_folder, data_dir)
    inputs.check()
    with scratch_folder(data_dir) as folder:
        trio.run(Up(scenario.value, scenario_file.resolve(), folder, address).run, strict_exception_groups=True)
    return 0


def _load(file: Path) -> Scenario:
    if not file.exists():
        raise ConfigError([Violation(message=f"no scenario at {file}", hint="name one: mesh up FILE")])
    return load_scenario(file)


class Up:
    """The running mesh."""

    def __init__(self, scenario: Scenario, file: Path, folder: Path, control_plane: str) -> None:
        self._scenario = scenario
        self._file = file
        self._folder = folder
        self._control_plane = control_plane
        self._processes = RealProcesses(str(folder))
        self._plane = LocalControlPlane(self._processes, folder, mesh=scenario.mesh, address=control_plane)
        self._running: dict[str, Process] = {}  # by title, in the order of their start
        self._stopping = False
        self._inbounds: dict[str, int] = {}  # how many each place has; each is probed
        members: tuple[Instance | Edge, ...] = (*instances_of(scenario), *edges_of(scenario))
        self._places = [
            Place(what=what, address=f"127.10.{index // 250}.{index % 250 + 1}", folder=folder / what.name)
            for index, what in enumerate(members)
        ]

    async def run(self) -> None:
        """Start everything, tell what happens, and end everything at the first SIGINT or SIGTERM.

        Raises: ConfigError (in a group) when something cannot be started; then nothing runs any more.
        """
        try:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                await self._run_until(signals)
        finally:
            self._stopping = True
            await self._kill()
        say("stopped")

    async def _run_until(self, signals: AsyncIterator[int]) -> None:
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(self._start, nursery)
                await anext(signals)
                say("draining; once more to stop at once")
                nursery.cancel_scope.cancel()
            finally:
                self._stopping = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop, nursery.cancel_scope)
            await anext(signals)
            nursery.cancel_scope.cancel()

    async def _kill(self) -> None:
        """End at once what still runs, and see that it has ended."""
        for process in self._running.values():
            process.kill()
        with trio.move_on_after(KILL_S, shield=True):
            for process in self._running.values():
                await process.wait()

    async def _start(self, nursery: trio.Nursery) -> None:
        await self._start_control_plane(nursery)
        nursery.start_soon(self._tell_news)
        for place in self._places:
            await self._start_place(place, nursery)
        await self._wait_until_ready()
        self._explain()

    async def _start_control_plane(self, nursery: trio.Nursery) -> None:
        process = await self._plane.launch(self._scenario.resources)
        self._running["control-plane"] = process
        nursery.start_soon(self._watch, "control-plane", process)

    async def _start_place(self, place: Place, nursery: trio.Nursery) -> None:
        place.folder.mkdir()
        dataplane = place.folder / "dataplane.yaml"
        document = dataplane_of(self._scenario, place.what, address=place.address, local=place.address)
        for inbound in document["networking"]["inbound"]:
            inbound["serviceProbe"]["interval"] = "1s"
        self._inbounds[place.name] = len(document["networking"]["inbound"])
        dataplane.write_text(json.dumps(document, indent=2))
        token = place.folder / "token"
        token.touch(0o600)  # Before the token is in it.
        token.write_text(self._plane.token(place.name, place.what.workload)[0])
        if isinstance(place.what, Instance):
            service = ["service", str(self._file), "--instance", place.name, "--local", place.address]
            await self._spawn(f"{place.name} service", [*service, "--data", str(place.folder / "service")], nursery)
        sidecar = ["sidecar", "--dataplane", str(dataplane), "--token-file", str(token)]
        sidecar += ["--control-plane", f"https://{self._control_plane}", "--data", str(place.folder / "sidecar")]
        sidecar += ["--ca-cert-file", self._plane.ca_file, "--admin", str(place.admin)]
        sidecar += ["--access-log", str(place.folder / "access.log"), "--drain-time", f"{DRAIN_S:g}s"]
        await self._spawn(f"{place.name} sidecar", sidecar, nursery)

    async def _spawn(self, title: str, arguments: list[str], nursery: trio.Nursery) -> None:
        command = [sys.executable, "-m", "mesh", *arguments, "--log-form", "console"]
        process = await self._processes.start(command, log_path=str(self._log_of(title).relative_to(self._folder)))
        self._running[title] = process
        nursery.start_soon(self._watch, title, process)

    async def _watch(self, title: str, process: Process) -> None:
        code = await process.wait()
        if not self._stopping:
            self._running.pop(title, None)
            say(f"{title} ended with {code}; see {self._log_of(title)}")

    def _log_of(self, title: str) -> Path:
        return self._folder / "logs" / f"{title.replace(' ', '-')}.log"

    async def _tell_news(self) -> None:
        """Follow the control plane's log and tell what an operator wants to know."""
        async with await trio.open_file(self._plane.log) as log:
            while True:
                line = await log.readline()
                if not line:
                    await trio.sleep(0.1)
                    continue
                try:
                    fields = json.loads(line)
                    text = NEWS[fields["event"]]
                except (ValueError, KeyError, TypeError):
                    continue
                say(f"  {fields['timestamp'][11:19]}  {text.format_map(fields)}")

    async def _wait_until_ready(self) -> None:
        """Wait until every sidecar is configured, every application answers its probe, and callers have heard of it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._plane.watch)
            with trio.move_on_after(READY_TIMEOUT_S):
                quiet_since = math.inf
                while trio.current_time() < quiet_since + SETTLE_S:
                    await trio.sleep(0.05)
                    quiet_since = math.inf if self._unready() else min(quiet_since, trio.current_time())
            nursery.cancel_scope.cancel()
        if unready := self._unready():
            say(f"not ready after {READY_TIMEOUT_S:g} s: {', '.join(unready)}; see {self._folder / 'logs'}")

    def _unready(self) -> list[str]:
        ready = self._plane.ready_inbounds
        return [name for name, inbounds in self._inbounds.items() if ready.get(name, -1) < inbounds]

    def _explain(self) -> None:
        scenario = self._scenario
        click.echo(
            f"mesh {scenario.mesh} is up: {len(self._places)} sidecars, control plane https://{self._control_plane}"
        )
        click.echo("send requests through a sidecar (mutual TLS to the next one):")
        requests = requests_to_try(scenario, [(place.what, place.address) for place in self._places])
        for url, way in requests[:REQUESTS_MAX]:
            click.echo(f"  curl {url:42}  # {way}")
        if len(requests) > REQUESTS_MAX:
            click.echo(f"  and {len(requests) - REQUESTS_MAX} more ways; outbounds are in NAME/dataplane.yaml below")
        click.echo("look at it and change it from another terminal, after:")
        click.echo(f"  mesh config control-planes add --name up --overwrite --address {self._plane.api_url} \\")
        click.echo(f"    --ca-cert-file {self._plane.ca_file} --token-file {self._plane.data / 'admin.token'}")
        click.echo(f"what a sidecar knows: curl http://{self._places[0].admin}/clusters")
        click.echo(f"logs and access logs: {self._folder}; Ctrl-C ends it")
        sys.stdout.flush()

    async def _stop(self, scope: trio.CancelScope) -> None:
        """End sidecars first, so that they can finish what is under way, then services, then the control plane."""
        for kind in ("sidecar", "service", "control-plane"):
            group = [process for title, process in self._running.items() if title.endswith(kind)]
            for process in group:
                process.terminate()
            with trio.move_on_after(DRAIN_S + 5):
                for process in group:
                    await process.wait()
        scope.cancel()
