"""Two control planes on a real PostgreSQL server, in real time: what one hears the other tells within a second."""

import structlog
import trio
from memory_store import SharedDatabase
from scene import CONTROL_PLANE, IDENTITY, MESH, Scene, dataplane, resources

from mesh.control.store.values import Put
from mesh.model.names import Address
from mesh.runtime.real.postgres import PostgresDatabase, open_postgres
from tests.postgres_server import PostgresServer

ONE, TWO = CONTROL_PLANE, Address("10.0.0.2", 5678)


class PostgresDatabases(SharedDatabase):
    """Opens the server's database once for each control plane."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.opened: list[PostgresDatabase] = []

    async def open(self) -> PostgresDatabase:  # type: ignore[override]  # Another, as good a database.
        log = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()]).bind()
        self.opened.append(await open_postgres(self.url, log=log))
        return self.opened[-1]


def test_what_one_hears_the_other_tells_within_a_second(postgres_server: PostgresServer) -> None:
    async def test() -> None:
        databases = PostgresDatabases(postgres_server.database_url())
        try:
            with trio.fail_after(60.0):
                async with trio.open_nursery() as nursery:
                    await play(Scene(nursery, database=databases))
                    nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                for database in databases.opened:
                    await database.aclose()

    trio.run(test)


async def play(scene: Scene) -> None:
    one = await scene.start_control_plane(*resources(MESH), host="cp-1", address=ONE, shared=True)
    two = await scene.start_control_plane(host="cp-2", address=TWO, shared=True)
    web = scene.start_sidecar(dataplane("web-1", 1, calls="cart"), addresses=(ONE,))
    scene.start_sidecar(dataplane("cart-1", 2), addresses=(TWO, ONE))
    while not web.target.applied or "endpoints/cart_8080" not in web.target.applied[-1].parts:
        await trio.sleep(0.02)
    assert len(one.status()) == len(two.status()) == 2
    began = trio.current_time()
    scene.start_sidecar(dataplane("cart-2", 3), addresses=(TWO, ONE))
    while "cart-2" not in web.target.endpoints("cart_8080"):
        await trio.sleep(0.01)
    assert trio.current_time() - began < 1.0
    outcome = await two.catalogue.write([Put(resource=resources(IDENTITY)[0])], by="jo")
    while one.published_revision("retail") < outcome.revision or not web.target.identities:
        await trio.sleep(0.02)
    assert one.secrets.ca_pem == two.secrets.ca_pem
    await scene.stop_control_plane(TWO)
    while {status.instance for status in one.status() if status.connected} != {one.instance} or len(one.status()) < 3:
        await trio.sleep(0.05)
    assert {status.proxy.name for status in one.status()} == {"cart-1", "cart-2", "web-1"}
