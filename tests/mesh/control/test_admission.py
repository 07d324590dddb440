"""Who may join: with a Dataplane of its own, or under the name of one that was applied."""

from typing import Any

import attrs
import pytest
from memory_store import KEY
from memory_world import EPOCH_S, SeededRandomness

from mesh.control.admission import Admission, NotAdmitted
from mesh.discovery.messages import DataplaneRequest, Hello
from mesh.identity.token_authority import TokenAuthority, TokenKind, signing_key_secret
from mesh.identity.tokens import issue_dataplane_token
from mesh.resources.loading import load_resource

NETWORKING = {"address": "10.0.0.1", "inbound": [{"port": 80, "servicePort": 8080}]}
APPLIED = load_resource(
    {
        "type": "Dataplane",
        "mesh": "shop",
        "name": "dp-1",
        "labels": {"kuma.io/workload": "cart"},
        "networking": NETWORKING,
    },
    file="test",
)
SECRET = KEY.encode().encode()
ADMISSION = Admission(
    tokens=TokenAuthority({signing_key_secret(TokenKind.DATAPLANE, 1, mesh=mesh): SECRET for mesh in ("shop", "bank")}),
    meshes=lambda: ("bank", "shop"),
    find=lambda mesh, name: APPLIED if (mesh, name) == ("shop", "dp-1") else None,
    zone="east",
)
REFERENCE = {"type": "Dataplane", "mesh": "shop", "name": "dp-1"}


def token(**claims: Any) -> str:
    random = SeededRandomness(1).stream("token")
    return issue_dataplane_token(
        KEY, lifetime_s=60.0, now=EPOCH_S, random=random, **{"mesh": "shop", "name": "dp-1", **claims}
    )


def refusal(hello: Hello | DataplaneRequest) -> tuple[str, str, bool]:
    with pytest.raises(NotAdmitted) as caught:
        _ = ADMISSION.admit(hello, now=EPOCH_S) if isinstance(hello, Hello) else ADMISSION.describe(hello, now=EPOCH_S)
    refused = caught.value.refused
    return refused.kind, refused.reason, refused.retryable


def test_sidecar_with_its_own_dataplane_gets_our_zone() -> None:
    admitted = ADMISSION.admit(Hello(token=token(), dataplane={**REFERENCE, "networking": NETWORKING}), now=EPOCH_S)
    assert not admitted.applied
    assert admitted.dataplane.labels == {"kuma.io/zone": "east"}


def test_sidecar_that_knows_its_name_joins_with_what_was_applied() -> None:
    admitted = ADMISSION.admit(Hello(token=token(workload="cart"), dataplane=REFERENCE), now=EPOCH_S)
    assert admitted.applied
    assert admitted.dataplane.labels == {"kuma.io/workload": "cart", "kuma.io/zone": "east"}
    request = DataplaneRequest(token=token(), mesh="shop", name="dp-1")
    assert ADMISSION.describe(request, now=EPOCH_S) == admitted.dataplane


def test_dataplane_that_is_not_there_yet_may_be_asked_for_again() -> None:
    other = {**REFERENCE, "name": "dp-2"}
    kind, reason, retryable = refusal(Hello(token=token(name=""), dataplane=other))
    assert (kind, reason, retryable) == ("dataplane", "no Dataplane 'dp-2' was applied to mesh 'shop'", True)
    assert refusal(Hello(token=token(), dataplane=other))[0] == "token"


@pytest.mark.parametrize(
    ("hello", "kind", "reason"),
    [
        (Hello(protocol=2, token="", dataplane={}), "protocol", "version 2"),
        (Hello(token="junk", dataplane=REFERENCE), "token", "not a JWT"),
        (Hello(token=token(workload="web"), dataplane=REFERENCE), "token", "for workload 'web', not 'cart'"),
        (Hello(token=token(mesh="shop"), dataplane={**REFERENCE, "mesh": "bank"}), "token", "for mesh 'shop'"),
        (Hello(token=token(), dataplane={**REFERENCE, "mesh": "gone"}), "mesh", "there is no mesh 'gone'"),
        (
            Hello(token=token(), dataplane={"type": "Mesh", "name": "x", "networking": {}}),
            "dataplane",
            "not with a Mesh",
        ),
        (Hello(token=token(), dataplane={**REFERENCE, "networking": {}}), "dataplane", "'address' is missing"),
        (DataplaneRequest(token=token(workload="web"), mesh="shop", name="dp-1"), "token", "for workload 'web'"),
    ],
)
def test_refusals_say_why_and_are_for_good(hello: Hello | DataplaneRequest, kind: str, reason: str) -> None:
    refused = refusal(hello)
    assert refused[0] == kind and reason in refused[1] and not refused[2]


@pytest.mark.parametrize("inbound", [{"port": 80}, {"port": 80, "servicePort": 80, "serviceAddress": "10.0.0.1"}])
def test_inbound_at_which_its_application_listens_too_is_refused(inbound: dict[str, Any]) -> None:
    networking = {"address": "10.0.0.1", "inbound": [{"port": 79, "servicePort": 8079}, inbound]}
    kind, reason, retryable = refusal(Hello(token=token(), dataplane={**REFERENCE, "networking": networking}))
    assert (kind, retryable) == ("dataplane", False)
    assert "both listen on 10.0.0.1:80" in reason and "servicePort" in reason and "serviceAddress" in reason


def test_applied_dataplane_that_cannot_be_served_may_be_put_right() -> None:
    broken = attrs.evolve(
        APPLIED,
        spec=load_resource(
            {**REFERENCE, "networking": {"address": "10.0.0.1", "inbound": [{"port": 80}]}}, file="test"
        ).spec,
    )
    admission = attrs.evolve(ADMISSION, find=lambda mesh, name: broken)
    with pytest.raises(NotAdmitted) as caught:
        admission.admit(Hello(token=token(workload="cart"), dataplane=REFERENCE), now=EPOCH_S)
    assert caught.value.refused.retryable and "both listen" in caught.value.refused.reason
