"""`python -m tests.benchmarks [PART...]`: medians, and ratios of the same run.

Against Envoy and SimPy, what each policy costs a request, and how the control plane's work grows with the mesh.
"""

import argparse
import sys

from tests.benchmarks.lab import Missing

PARTS = ("proxies", "policies", "hops", "echo", "peers", "topology", "control-plane", "scale")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which (all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of load per measurement of a proxy")
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--services", type=int, nargs="*", default=[20, 100], help="sizes of the control plane's mesh")
    parser.add_argument("--instances", type=int, default=2, help="of each service")
    parser.add_argument(
        "--stretch",
        action="store_true",
        help="measure the control plane with 5,000 services too, in one round: 10 minutes",
    )
    arguments = parser.parse_args()
    parts = arguments.parts or PARTS
    try:
        if "proxies" in parts:
            from tests.benchmarks import proxies

            proxies.run(rounds=arguments.rounds, seconds=arguments.seconds, connections=arguments.connections)
        if "policies" in parts:
            from tests.benchmarks import policies

            policies.run(rounds=arguments.rounds)
        if "hops" in parts:
            from tests.benchmarks import hops

            hops.run(rounds=arguments.rounds)
        if "echo" in parts:
            from tests.benchmarks import echo

            echo.run(rounds=arguments.rounds)
        if "peers" in parts:
            from tests.benchmarks import peers

            peers.run(rounds=arguments.rounds)
        if "topology" in parts:
            from tests.benchmarks import topology

            topology.run(rounds=arguments.rounds)
        if "control-plane" in parts:
            from tests.benchmarks import control_plane

            control_plane.run(sizes=arguments.services, instances=arguments.instances, rounds=arguments.rounds)
            if arguments.stretch:
                control_plane.measure(control_plane.STRETCH_SERVICES, instances=2, rounds=1)
        if "scale" in parts:
            from tests.benchmarks import simulation_scale

            simulation_scale.run()
    except Missing as missing:
        print(f"benchmarks: {missing}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
