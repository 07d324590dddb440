"""`python -m tests.benchmarks [proxies] [hops] [echo]`: prints medians and ratios against Envoy and SimPy of the same run."""

import argparse
import sys

from tests.benchmarks.lab import Missing

PARTS = ("proxies", "hops", "echo")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which (all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of load per measurement of a proxy")
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 16, 64])
    arguments = parser.parse_args()
    parts = arguments.parts or PARTS
    try:
        if "proxies" in parts:
            from tests.benchmarks import proxies

            proxies.run(rounds=arguments.rounds, seconds=arguments.seconds, connections=arguments.connections)
        if "hops" in parts:
            from tests.benchmarks import hops

            hops.run(rounds=arguments.rounds)
        if "echo" in parts:
            from tests.benchmarks import echo

            echo.run(rounds=arguments.rounds)
    except Missing as missing:
        print(f"benchmarks: {missing}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
