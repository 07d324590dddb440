"""Benchmark (c): mesh hops per second of one core in simulation, on the retailer.

A hop is client -> outbound sidecar -> inbound sidecar -> service and back, with all default policies, tracing headers and
request records. CPU seconds are those of the process inside the run: imports and judging of checks are left out.
"""

import statistics
import time
from pathlib import Path

from sim.runner import run_scenario
from sim.scenario.loader import load_scenario

RETAILER = Path(__file__).parents[2] / "scenarios" / "examples" / "retailer.yaml"


def run(*, rounds: int) -> None:
    """Run the retailer `rounds` times and print medians."""
    print("\n(c) simulation of the retailer, one process")
    scenario = load_scenario(RETAILER)
    per_cpu_s, ratios = [], []
    for _ in range(rounds):
        began = time.process_time()
        result = run_scenario(scenario)
        cpu_s = time.process_time() - began
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
