"""Benchmark (c): mesh hops per second of one core in simulation, on the retailer.

A hop is client -> outbound sidecar -> inbound sidecar -> service and back, with all default policies, tracing headers and
request records. CPU seconds are those of the process inside the run: imports are left out. What the checks that are always
on cost is the CPU time of their looks, once a virtual second.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sim.checks.inspection import Inspection
from sim.runner import run_scenario
from sim.scenario.loader import load_scenario

RETAILER = Path(__file__).parents[2] / "scenarios" / "examples" / "retailer.yaml"


def run(*, rounds: int) -> None:
    """Run the retailer `rounds` times and print medians."""
    print("\n(c) simulation of the retailer, one process")
    scenario = load_scenario(RETAILER)
    per_cpu_s, ratios, shares = [], [], []
    for _ in range(rounds):
        began = time.process_time()
        with timed_looks() as looks:
            result = run_scenario(scenario)
        cpu_s = time.process_time() - began
        shares.append(sum(looks) / cpu_s)
        per_cpu_s.append(result.hops / cpu_s)
        ratios.append(result.virtual_s / result.wall_s)
        print(
            f"  {result.hops} hops, {result.virtual_s:.0f} virtual s in {result.wall_s:.1f} s wall, {cpu_s:.1f} s CPU, "
            f"hash {result.event_hash}",
            flush=True,
        )
    print(
        f"  median: {statistics.median(per_cpu_s):.0f} hops per CPU second (goal 10000), "
        f"{statistics.median(ratios):.0f} x real time"
    )
    print(f"  always-on checks: {statistics.median(shares):.1%} of the CPU time (goal 5 %)")


@contextmanager
def timed_looks() -> Iterator[list[float]]:
    """Note the CPU seconds of each look within the block: reading how sidecars stand, and every watcher."""
    plain, looks = Inspection.look, list[float]()

    def look(inspection: Inspection, now_s: float) -> None:
        began = time.process_time()
        plain(inspection, now_s)
        looks.append(time.process_time() - began)

    Inspection.look = look  # type: ignore[method-assign]  # for the length of one measurement
    try:
        yield looks
    finally:
        Inspection.look = plain  # type: ignore[method-assign]
