"""The benchmark of scale measures a small mesh as it does a large one."""

import pytest

from tests.benchmarks import simulation_scale


def test_small_sizes_are_measured_without_findings(capsys: pytest.CaptureFixture[str]) -> None:
    simulation_scale.measure_size(5)
    simulation_scale.measure_idle(3, 5.0)
    printed = capsys.readouterr().out
    assert "6 sidecars: stand after" in printed
    assert " 0 findings" in printed
    assert "idle mesh of 4 sidecars" in printed
