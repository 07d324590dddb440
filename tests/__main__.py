"""`python -m tests`: everything that must pass before a change lands: style, types, import contracts, tests.

Arguments go to pytest instead of the default `-m "not slow"`. Every step runs, so that one call shows all that is wrong.
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent
PARALLEL = ("-n", "auto", "--dist", "loadgroup")  # a worker a core; see `alone` in conftest.py
AGAIN = ("-n", "0", "--last-failed", "--last-failed-no-failures", "none")
TESTS_FAILED = 1  # pytest's exit code


def steps(pytest_arguments: list[str]) -> dict[str, list[str]]:
    """Return {what it checks: command}."""
    python = sys.executable
    return {
        "style": [python, "-m", "ruff", "check", "."],
        "format": [python, "-m", "ruff", "format", "--check", "."],
        "types": [python, "-m", "mypy"],
        "import contracts": [str(TOOLS / "lint-imports"), "--no-logo"],
        "tests": [python, "-m", "pytest", "-q", *PARALLEL, *(pytest_arguments or ["-m", "not slow and not envoy"])],
    }


def main() -> int:
    failed = []
    for name, command in steps(sys.argv[1:]).items():
        print(f"== {name}", flush=True)
        began = time.monotonic()
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if name == "tests" and code == TESTS_FAILED:
            # Real sockets and processes share the machine with the other worker: what fails beside it is judged alone.
            print("== tests that failed, once more, alone", flush=True)
            code = subprocess.run([sys.executable, "-m", "pytest", "-q", *AGAIN], cwd=ROOT, check=False).returncode
        if code != 0:
            failed.append(name)
        print(f"   {time.monotonic() - began:.1f} s", flush=True)
    print(f"FAILED: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
