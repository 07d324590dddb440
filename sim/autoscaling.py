"""Scales services of a simulated mesh by itself: watches how busy, or at work, their instances are and does what is decided.

One task a service. A new instance begins to start `delay` after it was wanted: machines do not come at once.
"""

import trio

from sim.assembly import Member, SimulatedMesh
from sim.scenario.topology import Autoscale, ScaleMetric, Service
from sim.workload.autoscaler import OBSERVE_S, Autoscaler, Quota

_SAMPLES = 20  # An instant's busy places say little; the mean over OBSERVE_S is judged.


async def keep_scaled(mesh: SimulatedMesh, service: Service, config: Autoscale) -> None:
    """Scale a service until cancelled."""
    scaler, quota = Autoscaler(config), Quota(config.quota, config.quota_span_s)
    while True:
        measured = await _observe(mesh, service, config.metric)
        present = mesh.instances(service.name)
        wanted = scaler.decide(measured=measured, instances=len(present), now=trio.current_time())
        if wanted == len(present):
            continue
        mesh.world.log.record("service.scaling", "autoscaler", service=service.name, instances=wanted)
        if wanted < len(present):
            # Not waited for: how long it drains must not blind the autoscaler.
            present[-1].leaving = True
            mesh.world.start_task(mesh.stop_instance, present[-1], name=f"stop {present[-1].name}")
            continue
        missing = wanted - len(present)
        granted = quota.take(missing, now=trio.current_time())
        if granted < missing:
            mesh.world.log.record(
                "service.quota_reached", "autoscaler", level="warning", service=service.name, refused=missing - granted
            )
        await trio.sleep(config.delay_s)
        for _ in range(granted):
            mesh.start_instance(service.name, _emptiest_zone(mesh.instances(service.name), service))


async def _observe(mesh: SimulatedMesh, service: Service, metric: ScaleMetric) -> float:
    """Return the mean share of places over the next OBSERVE_S: of those that are taken, or of those at work."""
    taken = places = 0
    for _ in range(_SAMPLES):
        await trio.sleep(OBSERVE_S / _SAMPLES)
        for member in mesh.instances(service.name):
            if member.host.alive and member.service is not None:
                load = member.service.places
                taken += load.working if metric is ScaleMetric.CPU else load.busy
                places += service.concurrency
    return taken / places if places else 0.0


def _emptiest_zone(present: list[Member], service: Service) -> str:
    """Return the zone with the fewest instances for what the scenario gave it; of equals the first."""
    count = {zone: 0 for zone, _ in service.instances}
    for member in present:
        if member.what.zone in count:
            count[member.what.zone] += 1
    share = {zone: count[zone] / given for zone, given in service.instances if given}
    return min(share, key=lambda zone: share[zone])
