"""What of a scenario cannot be done on real processes of one machine, and why: told before anything is started."""

from collections.abc import Iterator

import attrs

from sim.faults.changes.deploy import Deploy
from sim.faults.hosts.pause import MACHINE, Pause
from sim.faults.hosts.restart import WIPED, Restart
from sim.local.places import CONTROL_PLANE
from sim.scenario.distributions import Constant
from sim.scenario.scenario import Scenario
from sim.scenario.timeline import TimelineEntry
from sim.scenario.verb import Reach

# Verbs that this runner carries out on processes; those of the links it carries out all, on each process's own links.
DONE_ON_PROCESSES = (
    "apply",
    "scale",
    "kill",
    "pause",
    "control-plane",
    "cp-restart",
    "slow",
    "fail",
    "grey",
    "fail-fast",
    "stuck",
    "restart",
    "deploy",
    "bad-config",
    "oversized-config",
    "flapping-config",
    "wrong-trust",
    "token-revoked",
)


@attrs.frozen(kw_only=True)
class Lacking:
    """One thing. `entry`: of the timeline, None where it is a property of the scenario itself."""

    what: str
    why: str
    entry: TimelineEntry | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


def lacking_of(scenario: Scenario) -> tuple[Lacking, ...]:
    """Return everything that a run here would have to leave out."""
    return (*_of_timeline(scenario), *_of_scenario(scenario))


def _of_timeline(scenario: Scenario) -> Iterator[Lacking]:
    for entry in scenario.timeline:
        why = _why_not(entry, scenario)
        if why:
            yield Lacking(what=f"{entry.title()} at {entry.at_s:g}s", why=why, entry=entry)


def _why_not(entry: TimelineEntry, scenario: Scenario) -> str:
    verb = entry.verb
    if verb.reach is Reach.SIMULATION:
        return f"`{verb.word}` can be done in simulation only"
    if verb.reach is Reach.PROCESSES and verb.word not in DONE_ON_PROCESSES:
        return f"`{verb.word}` is not carried out on processes yet"
    if isinstance(verb, Pause) and verb.how == MACHINE:
        return "processes can be stopped, their machine cannot; leave out `how: machine`"
    if isinstance(verb, Restart) and verb.disk == WIPED and verb.target in (CONTROL_PLANE, scenario.control_plane.zone):
        return "a control plane that comes back empty has other keys, and the runner could not talk to it"
    if isinstance(verb, Deploy) and (verb.application_first or verb.settle_s is not None or not verb.drains):
        return "sidecars drain by a signal, as their settings say; leave out `stops_first`, `settle` and `drain: false`"
    return ""


def _of_scenario(scenario: Scenario) -> Iterator[Lacking]:
    plane = scenario.control_plane
    if plane.push_delay != Constant(0.0):
        yield Lacking(what="control_plane.push_delay", why="a real control plane sends at once")
    if plane.replicas > 1:
        yield Lacking(what="control_plane.replicas", why="one control plane is started")
    if plane.configuration_bytes_max:
        yield Lacking(what="control_plane.config_limit", why="a real control plane sends what a message takes")
    if scenario.buggify:
        yield Lacking(what="buggify", why="the kernel does as it likes")
    for service in scenario.services:
        if service.autoscale is not None:
            yield Lacking(what=f"services.{service.name}.autoscale", why="nobody watches how busy real processes are")
        if service.external is not None:
            yield Lacking(what=f"services.{service.name}.external", why="nothing outside the mesh is started")


def without(scenario: Scenario, lacking: tuple[Lacking, ...]) -> Scenario:
    """Return the scenario without what cannot be done, and with notes that say so.

    Entries keep their numbers in the file for the processes: see `sim.local.steered_verb`.
    """
    left_out = [one.entry for one in lacking if one.entry is not None]
    timeline = tuple(entry for entry in scenario.timeline if not any(entry is other for other in left_out))
    notes = (*scenario.notes, *(f"left out on real processes: {one}" for one in lacking))
    return attrs.evolve(scenario, timeline=timeline, notes=notes)
