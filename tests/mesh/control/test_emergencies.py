"""What operators do, or meet, in an emergency: roots replaced, tokens taken back, no signer, too much configuration."""

import random

import pytest
import trio
from memory_store import KEY
from memory_world import EPOCH_S
from scene import IDENTITY, MESH, TIMEOUT, Scene, dataplane, in_virtual_time, resources

from mesh.config.snapshot import IdentityPart, Snapshot, TrustPart
from mesh.control.catalogue import Origin
from mesh.control.control_plane import ControlPlane
from mesh.control.initial_resources import secret
from mesh.control.issuing import IssuerSettings
from mesh.control.proxy_stream import StreamLimits
from mesh.control.store.values import Put
from mesh.identity.certificate import KeyType, decode_chain
from mesh.identity.token_authority import TokenKind, revocations_secret
from mesh.identity.tokens import TokenVerifier, issue_dataplane_token
from mesh.model.errors import ConfigError, IdentityError
from mesh.model.names import SpiffeId

TRUST = "trust/retail.default.mesh.local"
UNTRUSTED = """
{type: MeshIdentity, name: moving, mesh: retail, spec: {selector: {dataplane: {matchLabels: {kuma.io/workload: web}}},
  spiffeID: {trustDomain: elsewhere}, provider: {type: Bundled, bundled: {autogenerate: {enabled: true},
  meshTrustCreation: Disabled}}}}
"""


def signed_by(chain_pem: str, root_pem: str) -> bool:
    try:
        decode_chain(chain_pem)[-1].verify_directly_issued_by(decode_chain(root_pem)[0])
    except Exception:
        return False
    return True


@in_virtual_time
async def test_replaced_root_is_trusted_beside_the_old_one(scene: Scene) -> None:
    plane = await scene.start_control_plane(*resources(MESH, IDENTITY))
    web = scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(1.0)
    (old,) = _roots(web.target.applied[-1])
    await plane.replace_roots("retail", propagation_s=60.0)
    await trio.sleep(1.0)
    new, still = _roots(web.target.applied[-1])
    assert still == old and len(web.target.identities) == 1
    with pytest.raises(ConfigError, match="on its way"):
        await plane.replace_roots("retail")
    await trio.sleep(2700.0)
    assert signed_by(web.target.identities[-1].chain_pem, new)


@in_virtual_time
async def test_without_overlap_sidecars_get_a_certificate_before_they_take_the_new_trust(scene: Scene) -> None:
    plane = await scene.start_control_plane(*resources(MESH, IDENTITY))
    web = scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(1.0)
    (old,) = _roots(web.target.applied[-1])
    await plane.replace_roots("retail", overlap=False)
    await trio.sleep(1.0)
    (new,) = _roots(web.target.applied[-1])
    assert new != old
    first, second = web.target.identities
    assert signed_by(first.chain_pem, old) and signed_by(second.chain_pem, new)


@in_virtual_time
async def test_certificate_that_the_trust_vouches_for_is_not_asked_for_again(scene: Scene) -> None:
    plane = await scene.start_control_plane(*resources(MESH, IDENTITY))
    web = scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(1.0)
    await plane.replace_resources(resources(MESH, IDENTITY, TIMEOUT))
    scene.start_sidecar(dataplane("cart-1", 2))
    await trio.sleep(1.0)
    assert len(web.target.identities) == 1


@in_virtual_time
async def test_there_is_no_root_to_replace_before_somebody_needs_one(scene: Scene) -> None:
    plane = await scene.start_control_plane(*resources(MESH))
    await plane.replace_roots("retail")
    assert not scene.world.named("authority.replaced")


@in_virtual_time
async def test_revoked_token_ends_the_stream_and_no_other(scene: Scene) -> None:
    plane = await scene.start_control_plane(*resources(MESH))
    web = scene.start_sidecar(dataplane("web-1", 1), token=_token("web", 1))
    cart = scene.start_sidecar(dataplane("cart-1", 2), token=_token("cart", 2))
    await trio.sleep(1.0)
    verifier = TokenVerifier({"1": KEY.public_key})
    await _revoke(plane, verifier.verify_dataplane(_token("web", 1), now=EPOCH_S).token_id)
    await trio.sleep(3.0)
    assert not web.client.status().connected and "revoked" in web.client.status().last_error
    assert cart.client.status().connected
    await _revoke(plane)
    await trio.sleep(60.0)
    assert web.client.status().connected


@in_virtual_time
async def test_while_the_signer_is_away_certificates_live_on_and_are_asked_for_again(scene: Scene) -> None:
    away = False

    def check(spiffe_id: SpiffeId) -> None:
        if away:
            raise IdentityError("the signer is away")

    issuer = IssuerSettings(key_type=KeyType.ED25519, check_signer=check)
    await scene.start_control_plane(*resources(MESH, IDENTITY), issuer=issuer)
    web = scene.start_sidecar(dataplane("web-1", 1))
    await trio.sleep(1.0)
    away = True
    await trio.sleep(2600.0)  # It lives for an hour.
    assert len(web.target.identities) == 1 and web.client.status().connected
    cart = scene.start_sidecar(dataplane("cart-1", 2))
    await trio.sleep(1.0)
    assert not cart.target.applied
    away = False
    await trio.sleep(900.0)
    assert len(web.target.identities) == 2 and cart.target.applied


@in_virtual_time
async def test_too_much_configuration_is_not_sent_and_said_once(scene: Scene) -> None:
    plane = await scene.start_control_plane(*resources(MESH), limits=StreamLimits(configuration_bytes_max=4000))
    web = scene.start_sidecar(dataplane("web-1", 1, calls="cart"))
    scene.start_sidecar(dataplane("cart-1", 2))
    await trio.sleep(1.0)
    before = web.target.applied[-1]
    for number in (3, 4):
        await plane.replace_resources(resources(MESH, _routes(200)))
        scene.start_sidecar(dataplane(f"cart-{number}", number))
        await trio.sleep(1.0)
    assert web.target.applied[-1] is before and web.client.status().connected
    (line,) = scene.world.named("configuration.too_large")
    assert line["proxy"] == "web-1" and line["size_bytes"] > 4000
    await plane.replace_resources(resources(MESH))
    await trio.sleep(1.0)
    assert set(web.target.endpoints("cart_8080")) == {"cart-1", "cart-3", "cart-4"}


@in_virtual_time
async def test_trust_that_is_not_to_be_made_is_not_handed_out(scene: Scene) -> None:
    await scene.start_control_plane(*resources(MESH, IDENTITY, UNTRUSTED))
    web, cart = scene.start_sidecar(dataplane("web-1", 1)), scene.start_sidecar(dataplane("cart-1", 2))
    await trio.sleep(1.0)
    part = web.target.applied[-1].parts["identity"]
    assert isinstance(part, IdentityPart) and part.spiffe_id == "spiffe://elsewhere/workload/web"
    assert str(web.target.identities[-1].spiffe_id) == part.spiffe_id
    for sidecar in (web, cart):
        assert [key for key in sidecar.target.applied[-1].parts if key.startswith("trust/")] == [TRUST]


def _roots(snapshot: Snapshot) -> tuple[str, ...]:
    part = snapshot.parts[TRUST]
    assert isinstance(part, TrustPart)
    return part.roots_pem


def _token(workload: str, seed: int) -> str:
    return issue_dataplane_token(
        KEY, mesh="retail", workload=workload, lifetime_s=86400.0, now=EPOCH_S, random=random.Random(seed)
    )


async def _revoke(plane: ControlPlane, *token_ids: str) -> None:
    resource = secret(revocations_secret(TokenKind.DATAPLANE, mesh="retail"), ",".join(token_ids).encode())
    await plane.catalogue.write([Put(resource=resource)], by="jo", origin=Origin.OPERATOR)


def _routes(count: int) -> str:
    rules = ", ".join(
        f"{{matches: [{{path: {{type: Exact, value: /path/{number:05d}}}}}], default: {{}}}}" for number in range(count)
    )
    to = f"[{{targetRef: {{kind: MeshService, name: cart}}, rules: [{rules}]}}]"
    return f"{{type: MeshHTTPRoute, name: many, mesh: retail, spec: {{to: {to}}}}}"
