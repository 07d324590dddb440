"""The publisher looks at who moved, until it has told everybody whom that concerns."""

from typing import Any, cast

import attrs
import trio
from memory_store import SharedDatabase, open_store, same_key
from memory_world import MemoryWorld
from scene import IDENTITY, dataplane, resources
from trio.testing import MockClock

from mesh.config.snapshot import ClusterEndpoints
from mesh.control.catalogue import Catalogue, Origin
from mesh.control.initial_resources import mesh_of_name
from mesh.control.issuing import Issuer, IssuerSettings
from mesh.control.proxy_stream import ProxyStream
from mesh.control.publisher import Publisher
from mesh.control.registry import Registry
from mesh.control.store.values import Delete, Put
from mesh.discovery.encoding import EncodedSnapshot
from mesh.discovery.publication import Publication
from mesh.identity.certificate import KeyType
from mesh.model.errors import IdentityError
from mesh.model.names import ProxyId
from mesh.resources.loading import load_resource


@attrs.define(eq=False)
class Stream:
    """A stream that remembers what its proxy should have."""

    publication: Publication = attrs.field(factory=Publication)
    revision: int = 0
    wanted: list[EncodedSnapshot] = attrs.field(factory=list)

    def want(self, snapshot: EncodedSnapshot) -> None:
        self.wanted.append(snapshot)

    def endpoints(self, cluster: str) -> dict[str, bool]:
        part = self.wanted[-1].decode().parts[f"endpoints/{cluster}"]
        assert isinstance(part, ClusterEndpoints)
        return {endpoint.name: endpoint.healthy for endpoint in part.endpoints}


@attrs.define(eq=False)
class FailingIssuer(Issuer):
    """Makes no authority for a mesh in `failing`, and takes as many seconds to say so."""

    failing: dict[str, float] = attrs.field(factory=dict, kw_only=True)

    async def ensure(self, mesh: str, trust_domain: str) -> None:
        if mesh in self.failing:
            await trio.sleep(self.failing[mesh])
            raise IdentityError("the store is away")
        await super().ensure(mesh, trust_domain)


class Place:
    """A publisher with its catalogue and registry, and streams that are none."""

    streams: dict[str, Stream]

    async def prepare(self) -> None:
        env = MemoryWorld().environment("cp-1")
        self.catalogue = Catalogue(await open_store(SharedDatabase(), env), new_mesh_key=same_key)
        await self.catalogue.load()
        await self.write(Put(resource=mesh_of_name("bank")), Put(resource=mesh_of_name("retail")))
        self.issuer = FailingIssuer(env, IssuerSettings(key_type=KeyType.ED25519), self.catalogue, lambda mesh: None)
        self.issuer.load()
        self.registry, self.streams = Registry(), {}
        self.publisher = Publisher(
            env=env, registry=self.registry, issuer=self.issuer, catalogue=self.catalogue, coalesce_s=0.05
        )

    async def write(self, *changes: Any) -> None:
        await self.catalogue.write(changes, by="test", origin=Origin.CONTROL_PLANE)

    def join(self, name: str, number: int, calls: str = "", *, mesh: str = "retail") -> Stream:
        document = {**dataplane(name, number, calls=calls), "mesh": mesh}
        proxy, resource = ProxyId(mesh, name), load_resource(document, file="test")
        self.registry.join(proxy, resource, {}, session=name, now=trio.current_time())
        stream = self.streams[name] = Stream()
        self.publisher.attach(proxy, cast(ProxyStream, stream))
        return stream

    def report(self, name: str, ready: bool) -> None:
        self.registry.report_health(name, {"http": ready})
        self.publisher.mesh_changed("retail")


def at_place(body: Any) -> Any:
    async def main() -> None:
        place = Place()
        await place.prepare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.publisher.run)
            await body(place)
            nursery.cancel_scope.cancel()

    def run() -> None:
        trio.run(main, clock=MockClock(autojump_threshold=0))

    run.__name__ = body.__name__
    return run


@at_place
async def test_change_is_told_to_callers_alone(place: Place) -> None:
    web, cart, bank = place.join("web-1", 1, "cart"), place.join("cart-1", 2), place.join("bank-1", 3)
    await trio.sleep(1.0)
    assert [len(stream.wanted) for stream in (web, cart, bank)] == [1, 1, 1]
    place.report("cart-1", False)
    await trio.sleep(1.0)
    assert [len(stream.wanted) for stream in (web, cart, bank)] == [2, 1, 1]
    assert web.endpoints("cart_8080") == {"cart-1": False}


@at_place
async def test_what_moved_while_nothing_could_be_published_is_told_afterwards(place: Place) -> None:
    web, _ = place.join("web-1", 1, "cart"), place.join("cart-1", 2)
    await trio.sleep(1.0)
    place.issuer.failing = {"retail": 0.0}
    await place.write(*(Put(resource=resource) for resource in resources(IDENTITY)))
    place.report("cart-1", False)
    await trio.sleep(0.5)
    assert len(web.wanted) == 1
    place.join("cart-2", 4)
    await trio.sleep(3.0)
    place.issuer.failing = {}
    await trio.sleep(3.0)
    assert web.endpoints("cart_8080") == {"cart-1": False, "cart-2": True}
    assert "identity" in web.wanted[-1].parts


@at_place
async def test_mesh_that_was_deleted_and_made_again_knows_whoever_is_there(place: Place) -> None:
    web, _ = place.join("web-1", 1, "cart"), place.join("cart-1", 2)
    await trio.sleep(1.0)
    await place.write(Delete(key=("Mesh", "", "retail")))
    place.publisher.mesh_changed("retail")
    await trio.sleep(1.0)
    place.report("cart-1", False)
    await place.write(Put(resource=mesh_of_name("retail")))
    place.publisher.mesh_changed("retail")
    await trio.sleep(1.0)
    assert web.endpoints("cart_8080") == {"cart-1": False}


@at_place
async def test_mesh_whose_authority_cannot_be_made_holds_up_no_other(place: Place) -> None:
    place.issuer.failing = {"bank": 60.0}
    (identity,) = resources(IDENTITY)
    await place.write(Put(resource=attrs.evolve(identity, mesh="bank", written={**identity.written, "mesh": "bank"})))
    till = place.join("till-1", 5, mesh="bank")
    web, _ = place.join("web-1", 1, "cart"), place.join("cart-1", 2)
    await trio.sleep(1.0)
    place.report("cart-1", False)
    await trio.sleep(1.0)
    assert [len(stream.wanted) for stream in (web, till)] == [2, 0]
    publisher, revision = place.publisher, place.catalogue.revision
    assert (publisher.published_revision("retail"), publisher.published_revision("bank")) == (revision, 0)
    place.issuer.failing = {}
    await trio.sleep(62.0)
    assert "identity" in till.wanted[-1].parts


@at_place
async def test_trust_domain_that_never_had_an_authority_is_not_waited_for_once_it_is_gone(place: Place) -> None:
    web = place.join("web-1", 1)
    await trio.sleep(1.0)
    place.issuer.failing = {"retail": 0.0}
    (identity,) = resources(IDENTITY)
    await place.write(Put(resource=identity))
    place.publisher.mesh_changed("retail")
    await trio.sleep(3.0)
    await place.write(Delete(key=identity.key))
    place.report("web-1", True)
    other = place.join("web-2", 2)
    await trio.sleep(3.0)
    assert len(web.wanted) == 1 and len(other.wanted) == 1
