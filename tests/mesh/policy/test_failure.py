"""The words for failures."""

import pytest

from mesh.policy.failure import FailureKind


@pytest.mark.parametrize("kind", FailureKind)
def test_every_failure_has_a_flag(kind: FailureKind) -> None:
    assert kind.flag.value in {"UF", "UC", "UR", "UPE", "UT", "UO"}


@pytest.mark.parametrize(
    ("kind", "flag"),
    [
        # Recorded from Envoy: noretry_reset, connect_refused, upstream_garbage, timeout, cb_max_pending_0.
        (FailureKind.CONNECTION_TERMINATION, "UC"),
        (FailureKind.CONNECT_FAILURE, "UF"),
        (FailureKind.PROTOCOL_ERROR, "UPE"),
        (FailureKind.REQUEST_TIMEOUT, "UT"),
        (FailureKind.OVERFLOW, "UO"),
    ],
)
def test_flags_are_envoys(kind: FailureKind, flag: str) -> None:
    assert kind.flag.value == flag
