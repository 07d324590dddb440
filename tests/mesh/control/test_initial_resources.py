"""What a new mesh begins with: Kuma's names, our safe values, and nothing that an operator's policy could not override."""

import pytest

from mesh.config import defaults, translation
from mesh.config.matching import in_order
from mesh.control.initial_resources import initial_hostnames, initial_policies, is_internal_secret, mesh_of_name
from mesh.resources.loading import load_resource
from mesh.resources.policy import Policy
from mesh.resources.resource import Resource

POLICIES = {policy.name: policy for policy in initial_policies(mesh_of_name("shop"))}


def test_names_and_kinds_are_kumas() -> None:
    assert {name: policy.kind for name, policy in POLICIES.items()} == {
        "mesh-timeout-all-shop": "MeshTimeout",
        "mesh-timeout-to-all-shop": "MeshTimeout",
        "mesh-circuit-breaker-all-shop": "MeshCircuitBreaker",
        "mesh-retry-all-shop": "MeshRetry",
    }
    assert {policy.mesh for policy in POLICIES.values()} == {"shop"}


def test_they_change_nothing_about_what_sidecars_do_without_them() -> None:
    (to,) = POLICIES["mesh-timeout-to-all-shop"].spec_as(Policy).to
    (at,) = POLICIES["mesh-timeout-all-shop"].spec_as(Policy).rules
    assert translation.timeouts(to.default, defaults.OUTBOUND_TIMEOUTS) == defaults.OUTBOUND_TIMEOUTS
    assert translation.timeouts(at.default, defaults.INBOUND_TIMEOUTS) == defaults.INBOUND_TIMEOUTS
    (breaker,) = POLICIES["mesh-circuit-breaker-all-shop"].spec_as(Policy).to
    assert translation.circuit_breaking(breaker.default) == translation.circuit_breaking({})
    (retry,) = POLICIES["mesh-retry-all-shop"].spec_as(Policy).to
    with_policies = translation.retry_policy(retry.default, breaker.default, 15.0)
    assert with_policies == translation.retry_policy({}, {}, 15.0)
    assert with_policies.budget == defaults.RETRY_BUDGET
    assert translation.connect_retries_max(retry.default) == translation.connect_retries_max({})


@pytest.mark.parametrize("name", ["aaa", "zzz"])
def test_an_operators_policy_comes_after_whatever_its_name(name: str) -> None:
    written = load_resource(
        {
            "type": "MeshRetry",
            "mesh": "shop",
            "name": name,
            "spec": {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"numRetries": 7}}}]},
        },
        file="test",
    )
    assert [policy.name for policy in in_order([written, POLICIES["mesh-retry-all-shop"]])][-1] == name


def mesh(*skipped: str) -> Resource:
    document = {"type": "Mesh", "name": "shop", "skipCreatingInitialPolicies": list(skipped)}
    return load_resource(document, file="test")


def test_kinds_can_be_left_out() -> None:
    assert initial_policies(mesh("*")) == ()
    assert [policy.kind for policy in initial_policies(mesh("MeshTimeout", "MeshRetry"))] == ["MeshCircuitBreaker"]


def test_hostnames_are_made_for_each_kind_of_service() -> None:
    assert [generator.name for generator in initial_hostnames()] == [
        "local-universal-mesh-service",
        "local-mesh-external-service",
        "local-mesh-multi-zone-service",
        "synced-universal-mesh-service",
    ]


@pytest.mark.parametrize(
    ("name", "internal"),
    [
        ("dataplane-token-signing-key-shop-1", True),
        ("dataplane-token-revocations-shop", True),
        ("ca-shop.mesh.local", True),
        ("partner-ca", False),
    ],
)
def test_keys_of_the_control_plane_are_known_by_their_names(name: str, internal: bool) -> None:
    assert is_internal_secret(name) is internal
