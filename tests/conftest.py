"""What all tests may ask for, and which of them must not run beside one another."""

from pathlib import Path

import pytest

from tests.postgres_server import postgres_server

__all__ = ["postgres_server"]

# Real processes on addresses that scenarios and commands choose by themselves, and what measures the machine.
_ALONE = (
    "tests/end_to_end",
    "tests/notebooks",
    "tests/sim/local",
    "tests/sim/workload/test_on_real_sockets.py",
    "tests/sim/workload/test_own_code.py",
    "tests/mesh/cli/test_up_command.py",
    "tests/mesh/cli/test_startup.py",
    "tests/mesh/control/store/test_killed_writers.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that need the machine for themselves on one worker of pytest-xdist, where they follow one another."""
    root = Path(__file__).parents[1]
    for item in items:
        place = item.path.relative_to(root).as_posix()
        if place.startswith(_ALONE) or item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.xdist_group("alone"))
