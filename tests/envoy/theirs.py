"""Theirs: run cases on one real Envoy, all in one process, many at once; each case has its own listeners and clusters."""

import importlib.util
import json
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio

from tests.envoy.bootstrap import Translation, bootstrap, cluster_prefix
from tests.envoy.case import Case, placed
from tests.envoy.client import act
from tests.envoy.outcome import Entry, Outcome
from tests.envoy.ports import free_ports
from tests.envoy.upstream import Servers

AT_ONCE_MAX = 16
CASE_S_MAX = 60.0
START_S_MAX = 30.0
FLUSH_S = 0.2  # After this time Envoy has written its log, if it has the time.
LOG_S_MAX = 3.0


def envoy_binary() -> Path | None:
    """Return where the extra `envoy` has put Envoy; None: it is not installed."""
    found = importlib.util.find_spec("envoy")
    if found is None or not found.submodule_search_locations:
        return None
    for folder in found.submodule_search_locations:
        binary = Path(folder) / "_bin" / "envoy"
        if binary.exists():
            return binary
    return None


async def run_theirs(cases: Sequence[Case]) -> dict[str, Outcome | Exception]:
    """Run all cases on one Envoy; {name: outcome, or what went wrong}."""
    outcomes: dict[str, Outcome | Exception] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            worlds = {case.name: _World(case, free_ports(case.listeners), Path(folder)) for case in cases}
            for world in worlds.values():
                await world.servers.start(nursery)
            admin = free_ports(["admin"])["admin"]
            made = bootstrap([world.translation() for world in worlds.values()], admin)
            async with _running(made, admin, Path(folder)):
                await _run_all(list(worlds.values()), outcomes)
                stats = await _stats(admin)
            nursery.cancel_scope.cancel()
    return {case.name: _with_stats(case, outcomes[case.name], stats) for case in cases}


async def statistics_of(cases: Sequence[Case], target: str) -> str:
    """Return a page of statistics of an Envoy that is configured for these cases, and that nobody has asked anything yet."""
    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            worlds = [_World(case, free_ports(case.listeners), Path(folder)) for case in cases]
            for world in worlds:
                await world.servers.start(nursery)
            admin = free_ports(["admin"])["admin"]
            async with _running(bootstrap([world.translation() for world in worlds], admin), admin, Path(folder)):
                text = await _ask(admin, target)
            nursery.cancel_scope.cancel()
    return text


def _with_stats(case: Case, outcome: Outcome | Exception, stats: Mapping[str, int]) -> Outcome | Exception:
    if isinstance(outcome, Exception):
        return outcome
    prefix = f"cluster.{cluster_prefix(case.name)}"
    return attrs.evolve(outcome, stats={name: stats.get(prefix + name, -1) for name in case.stats})


async def _run_all(worlds: "Sequence[_World]", outcomes: dict[str, Outcome | Exception]) -> None:
    room = trio.CapacityLimiter(AT_ONCE_MAX)

    async def one(world: _World) -> None:
        async with room:
            try:
                with trio.fail_after(CASE_S_MAX):
                    outcomes[world.case.name] = await world.run()
            except Exception as error:  # One case that goes wrong must not take the others along.
                outcomes[world.case.name] = error

    async with trio.open_nursery() as nursery:
        for world in worlds:
            nursery.start_soon(one, world)


class _World:
    """One case beside Envoy: its upstreams and the ports of its listeners."""

    def __init__(self, case: Case, ports: Mapping[str, int], folder: Path) -> None:
        self.case = case
        self.servers = Servers(case.upstreams, case.first_asked_first)
        self._ports = ports
        self._folder = folder

    def translation(self) -> Translation:
        addresses = {**self.servers.addresses, **{name: ("127.0.0.1", port) for name, port in self._ports.items()}}
        return Translation(self.case.name, placed(self.case, addresses), str(self._folder))

    async def run(self) -> Outcome:
        await trio.sleep(self.case.warm_s)
        self.servers.begin()
        replies = await act(self.case.steps, self._ports)
        await trio.sleep(max(self.case.settles_s, FLUSH_S))
        with trio.move_on_after(LOG_S_MAX):
            while len(self._log()) < len(replies) and any(reply.status for reply in replies):
                await trio.sleep(FLUSH_S)
        return Outcome(
            replies=replies,
            arrivals=self.servers.arrivals,
            log=self._log(),
            connections=self.servers.connections,
            stats={},
        )

    def _log(self) -> tuple[Entry, ...]:
        path = self._folder / f"{self.case.name}.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return tuple(self._entry(json.loads(line)) for line in lines)

    def _entry(self, line: dict[str, object]) -> Entry:
        port = int(str(line["upstream"] or "").rpartition(":")[2] or 0)
        names = {port: name for name, port in self._ports.items()}
        flags = str(line["flags"] or "-")
        return Entry(
            listener=str(line["listener"]),
            status=int(str(line["status"] or 0)),
            flags="" if flags == "-" else ",".join(sorted(flags.split(","))),
            details=str(line["details"] or ""),
            tries=int(str(line["tries"] or 0)),
            upstream=names.get(port) or self.servers.played_by(port),
        )


@asynccontextmanager
async def _running(made: object, admin: int, folder: Path) -> AsyncIterator[None]:
    """Run one Envoy with this configuration, from when it is ready."""
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(made))
    with _process(path, folder / "envoy.log") as process:
        with trio.fail_after(START_S_MAX):
            while not await _ready(admin):
                if process.poll() is not None:
                    raise RuntimeError(f"Envoy refused: {(folder / 'envoy.log').read_text()[-3000:]}")
                await trio.sleep(0.1)
        yield


@contextmanager
def _process(path: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    binary = envoy_binary()
    assert binary is not None
    command = [str(binary), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    command += ["--file-flush-interval-msec", "50", "--use-dynamic-base-id"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.terminate()


async def _ready(admin: int) -> bool:
    try:
        return await _ask(admin, "/ready") == "LIVE\n"
    except OSError:
        return False


async def _stats(admin: int) -> dict[str, int]:
    """Return all counters and gauges of all clusters. Once, at the end: asking keeps Envoy's main thread from its work."""
    lines = (line.split(": ", 1) for line in (await _ask(admin, "/stats?filter=^cluster")).splitlines() if ": " in line)
    return {name: int(value) for name, value in lines if value.isdigit()}


async def _ask(admin: int, target: str) -> str:
    """Ask Envoy's admin interface. Raises: OSError."""

    def ask() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}{target}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    return await trio.to_thread.run_sync(ask)
