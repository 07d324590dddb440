"""Benchmarks (a) and (b): one sidecar, and a pair with mutual TLS between them, against Envoy with the same features.

CPU per request is the schedulers' time of the proxies divided by the requests that wrk completed. Targets are
interleaved, their order reversed every round; ratios are taken per round, then the median. One core for the proxies.
"""

import contextlib
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from tests.benchmarks.certificates import write_certificates
from tests.benchmarks.lab import Load, cpu_ns, envoy, nginx, proxy, wait_for_port, wrk


@attrs.frozen
class Target:
    """Something to load: its port, and the processes whose CPU counts."""

    name: str
    port: int
    pids: tuple[int, ...]


@attrs.frozen
class Sample:
    """One measurement of one target."""

    load: Load
    cpu_us: float  # per request


@contextlib.contextmanager
def targets(folder: Path) -> Iterator[dict[str, tuple[Target, Target]]]:
    """Start everything; yield {title: (Envoy, ours)}."""
    (folder / "logs").mkdir()
    write_certificates(folder / "certs")
    with contextlib.ExitStack() as stack:
        stack.enter_context(nginx(folder))
        one = stack.enter_context(envoy(folder, "one-proxy-with-policies.yaml", 1))
        pair = (
            stack.enter_context(envoy(folder, "pair-inbound.yaml", 2)),
            stack.enter_context(envoy(folder, "pair-outbound.yaml", 3)),
        )
        ours = stack.enter_context(proxy(folder, "one"))
        our_pair = (stack.enter_context(proxy(folder, "inbound")), stack.enter_context(proxy(folder, "outbound")))
        for port in (9150, 9221, 9220, 9250, 9321, 9320):
            wait_for_port(port)
        yield {
            "(a) one proxy, HTTP/1.1, all default policies, access log, metrics": (
                Target("Envoy", 9150, (one,)),
                Target("trio-mesh", 9250, (ours,)),
            ),
            "(b) pair, mutual TLS 1.3 between them, the same features": (
                Target("Envoy", 9220, pair),
                Target("trio-mesh", 9320, our_pair),
            ),
        }


def measure(target: Target, *, connections: int, seconds: int) -> Sample:
    """Load one target once."""
    wrk(target.port, connections=connections, seconds=1)
    before = cpu_ns(target.pids)
    load = wrk(target.port, connections=connections, seconds=seconds)
    return Sample(load, (cpu_ns(target.pids) - before) / 1000.0 / max(load.requests, 1))


def run(*, rounds: int, seconds: int, connections: Sequence[int]) -> None:
    """Measure and print both tables."""
    with tempfile.TemporaryDirectory() as name, targets(Path(name)) as pairs:
        for title, pair in pairs.items():
            print(f"\n{title}")
            print(
                f"  {'c':>3}  {'':10} {'CPU us/req':>10} {'req/s':>8} {'p50 us':>7} {'p99 us':>7}  CPU ratio to Envoy [min..max]"
            )
            for count in connections:
                samples: dict[str, list[Sample]] = {target.name: [] for target in pair}
                for turn in range(rounds):
                    for target in pair if turn % 2 == 0 else reversed(pair):
                        samples[target.name].append(measure(target, connections=count, seconds=seconds))
                _print_rows(count, samples)


def _print_rows(count: int, samples: dict[str, list[Sample]]) -> None:
    ratios = [ours.cpu_us / theirs.cpu_us for theirs, ours in zip(samples["Envoy"], samples["trio-mesh"], strict=True)]
    for name, rows in samples.items():
        median = statistics.median
        text = f"  {count:>3}  {name:10} {median(row.cpu_us for row in rows):10.1f} "
        text += f"{median(row.load.requests / row.load.seconds for row in rows):8.0f} "
        text += f"{median(row.load.p50_us for row in rows):7.0f} {median(row.load.p99_us for row in rows):7.0f}"
        if name == "trio-mesh":
            text += f"  {median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]"
        errors = sum(row.load.errors for row in rows)
        print(text + (f"  errors {errors}" if errors else ""))
