"""The control plane's benchmark runs, counts what it should, and does the same twice."""

import pytest

from tests.benchmarks.control_plane import measure, quantile
from tests.benchmarks.retained import retained_bytes


def test_small_mesh_is_measured_and_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (measure(12, instances=1, rounds=2) for _ in range(2))
    assert first.event_hash == second.event_hash
    endpoint, service, everywhere, tls = first.changes
    assert everywhere.proxies == tls.proxies == first.proxies + endpoint.rounds
    # Who does not call the service is left alone: fewer than all are pushed to, each once.
    assert 0 < service.pushes == service.proxies < service.rounds * everywhere.proxies
    # Of a newcomer whoever calls it may hear twice: it is coming, and it has its configuration.
    assert 0 < endpoint.proxies <= endpoint.pushes <= endpoint.proxies + endpoint.rounds
    assert endpoint.proxies < endpoint.rounds * everywhere.proxies
    assert quantile(endpoint.acked_s, 0.99) < 1.0
    assert first.bytes_a_proxy > 1000
    assert "mutual TLS switched on" in capsys.readouterr().out


def test_what_is_shared_is_counted_once() -> None:
    text = "x" * 100_000
    assert retained_bytes([text, text]) < 101_000
    assert retained_bytes([text], but=[text]) < 1000


def test_quantiles_are_values_that_occurred() -> None:
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.5, 0.99, 1.0)] == [2.0, 3.0, 3.0]
