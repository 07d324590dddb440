"""Which of several control planes a sidecar tries next."""

import random

from mesh.discovery.control_plane_endpoint import ControlPlaneEndpoint, Rotation
from mesh.model.names import Address

ENDPOINTS = tuple(ControlPlaneEndpoint(address=Address(f"10.0.0.{n}", 5678), tls=None) for n in (1, 2, 3))


class NoChance(random.Random):
    def randrange(self, *_: object, **__: object) -> int:
        raise AssertionError("one control plane needs no chance")


def test_each_is_tried_once_before_a_pause() -> None:
    rotation = Rotation.of(ENDPOINTS, random.Random(1))
    tried = []
    for _ in range(6):
        tried.append(rotation.current)
        if not rotation.go_on(was_connected=False):
            tried.append(None)
    assert tried[3] is None and tried[7] is None and len(tried) == 8
    assert set(tried[:3]) == set(ENDPOINTS) and tried[:3] == tried[4:7]


def test_after_a_connection_another_is_tried_after_a_pause() -> None:
    rotation = Rotation.of(ENDPOINTS, random.Random(1))
    first = rotation.current
    assert not rotation.go_on(was_connected=True)
    assert rotation.current != first
    # All three once more before the next pause.
    assert [rotation.go_on(was_connected=False) for _ in range(3)] == [True, True, False]


def test_single_control_plane_gets_a_pause_each_time() -> None:
    rotation = Rotation.of(ENDPOINTS[:1], NoChance())
    assert not rotation.go_on(was_connected=False) and not rotation.go_on(was_connected=True)
    assert rotation.current is ENDPOINTS[0]


def test_sidecars_spread_over_control_planes() -> None:
    firsts = {Rotation.of(ENDPOINTS, random.Random(seed)).current for seed in range(30)}
    assert firsts == set(ENDPOINTS)
