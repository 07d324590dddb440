"""Workload (e): the echo of `echo.py` against simulators for asyncio, simloop and simloom, where Python 3.12 or later is at hand.

They get a virtual environment of their own in a temporary folder. Both move bytes over asyncio's streams; ours are measured in
the same round, in this interpreter. Rates are per second of CPU time.
"""

import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.echo import pump_client, pump_server, run_ours, trio_client, trio_server
from tests.benchmarks.lab import Missing

PEERS = ("simloop", "simloom")
PAIRS = (1, 10, 100)
MESSAGES = 4_000
PLAYER = Path(__file__).with_name("asyncio_echo.py")
PYTHONS = ("python3.14", "python3.13", "python3.12")


def run(*, rounds: int) -> None:
    """Measure and print the table. Raises: Missing."""
    python = find_python()
    with TemporaryDirectory(prefix="mesh-peers-") as folder:
        theirs = Path(folder, "bin", "python")
        subprocess.run([python, "-m", "venv", folder], check=True)
        subprocess.run([theirs, "-m", "pip", "install", "-q", *PEERS], check=True)
        print(
            f"\n(e) echo against simulators for asyncio ({Path(python).name}), messages/s, medians of {rounds} rounds"
        )
        print(
            f"{'pairs':>6} {'pumps':>10} {'trio':>10} " + " ".join(f"{peer:>10} {'trio/' + peer:>13}" for peer in PEERS)
        )
        for pairs in PAIRS:
            print(_row(pairs, theirs, rounds), flush=True)


def find_python() -> str:
    """Return a Python that runs, 3.12 or later. Raises: Missing."""
    for name in PYTHONS:
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return found
    if sys.version_info >= (3, 12):
        return sys.executable
    raise Missing(f"none of {', '.join(PYTHONS)} is there: simloop and simloom need one")


def _row(pairs: int, python: Path, rounds: int) -> str:
    echoes = max(10, MESSAGES // (2 * pairs))
    messages = 2 * echoes * pairs
    rates: dict[str, list[float]] = {name: [] for name in ("pumps", "trio", *PEERS)}
    for _ in range(rounds):
        rates["pumps"].append(messages / run_ours(pairs, echoes, pump_server, pump_client))
        rates["trio"].append(messages / run_ours(pairs, echoes, trio_server, trio_client))
        for peer in PEERS:
            rates[peer].append(_play(python, peer, pairs, echoes))
    columns = [f"{statistics.median(rates[name]):>10,.0f}" for name in ("pumps", "trio")]
    for peer in PEERS:
        ratio = statistics.median(ours / other for ours, other in zip(rates["trio"], rates[peer], strict=True))
        columns.append(f"{statistics.median(rates[peer]):>10,.0f} {ratio:>12.1f}x")
    return f"{pairs:>6} " + " ".join(columns)


def _play(python: Path, peer: str, pairs: int, echoes: int) -> float:
    command = [str(python), str(PLAYER), peer, str(pairs), str(echoes)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(printed.split()[-1])
