"""A control plane's API in memory: a real catalogue on a simulated disk, proxies made up, and a client that speaks ASGI."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import structlog
import trio

from mesh.config.builder import build_snapshot
from mesh.config.index import MeshIndex
from mesh.config.snapshot import Snapshot
from mesh.config.view import DataplaneState, MeshView
from mesh.control.api.app import Api, make_app
from mesh.control.api.ports import ApiSettings
from mesh.control.catalogue import Catalogue, Origin
from mesh.control.insights import Insight
from mesh.control.registry import Presence
from mesh.control.store.sealing import Sealer
from mesh.control.store.store import Store
from mesh.control.store.values import AuditEntry, Delete, Key, Put
from mesh.discovery.publication import Refusal
from mesh.identity.token_authority import TokenAuthority, TokenKind, signing_key_secret
from mesh.identity.tokens import SigningKey
from mesh.model.departure import Departure
from mesh.model.errors import StoreError
from mesh.model.names import ProxyId
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource
from mesh.resources.secret import Secret
from sim.clock import SimClock
from sim.disk import SimDisk
from sim.platter import Platter
from tests.mesh.control.memory_world import EPOCH_S, MemoryWorld

KEY = SigningKey.create()
ADMIN, OPERATOR = "mesh-system:admin", "mesh-system:operator"
_RANDOM_KEY = ("test", "tokens")


async def same_key(serial: int) -> SigningKey:
    return KEY


@attrs.frozen(kw_only=True)
class MadeUpStatus:
    proxy: ProxyId
    presence: Presence = Presence.CONNECTED
    instance: str = "cp-1"
    wanted_version: str = "v2"
    sent_version: str = "v2"
    acked_version: str = "v2"
    refusal: Refusal | None = None
    lag_s: float = 0.0
    certificate_expires: float | None = None
    inbounds: tuple[tuple[str, bool], ...] = ()
    departure: Departure = Departure.STAYING


@attrs.frozen(kw_only=True)
class MadeUpPartChange:
    part: str
    op: str
    before: Any = None
    after: Any = None


@attrs.frozen(kw_only=True)
class MadeUpProxyPreview:
    proxy: ProxyId
    changes: tuple[MadeUpPartChange, ...]


@attrs.frozen(kw_only=True)
class MadeUpPreview:
    proxies: tuple[MadeUpProxyPreview, ...] = ()


@attrs.define(eq=False)
class FakePlane:
    """Stands for the control plane: what is written is real, what proxies do is made up."""

    catalogue: Catalogue
    store: Store
    tokens: TokenAuthority = attrs.Factory(TokenAuthority)
    joined: list[Resource] = attrs.Factory(list)
    statuses: list[MadeUpStatus] = attrs.Factory(list)
    insights: dict[ProxyId, Insight] = attrs.Factory(dict)
    previews: MadeUpPreview = MadeUpPreview()
    failure: StoreError | None = None  # of `note`

    def follow(self, keys: tuple[Key, ...]) -> None:
        for key in keys:
            if key[0] in ("Secret", "GlobalSecret"):
                stored = self.catalogue.get(key)
                self.tokens.secret_changed(key, stored.resource.spec_as(Secret).data if stored else None)

    def status(self) -> Sequence[MadeUpStatus]:
        return self.statuses

    def insight(self, proxy: ProxyId) -> Insight:
        return self.insights.get(proxy, Insight())

    def published_revision(self, mesh: str) -> int:
        return self.catalogue.revision

    def preview(self, changes: Sequence[Put | Delete]) -> MadeUpPreview:
        return self.previews

    def index_of(self, mesh: str) -> MeshIndex | None:
        if mesh not in self.catalogue.meshes():
            return None
        states = {resource.name: DataplaneState(resource=resource) for resource in self.dataplanes(mesh)}
        return MeshIndex.of(MeshView(mesh=mesh, resources=self.catalogue.of_mesh(mesh), dataplanes=states))

    def snapshot_of(self, proxy: ProxyId) -> Snapshot | None:
        index = self.index_of(proxy.mesh)
        return build_snapshot(index, proxy.name) if index and proxy.name in index.view.dataplanes else None

    def dataplanes(self, mesh: str) -> tuple[Resource, ...]:
        return tuple(sorted((item for item in self.joined if item.mesh == mesh), key=lambda item: item.name))

    async def audit(self, *, limit: int, before: int | None = None) -> tuple[AuditEntry, ...]:
        return await self.store.audit(limit=limit, before=before)

    async def note(self, action: str, key: Key, *, by: str, reason: str) -> None:
        if self.failure is not None:
            raise self.failure
        await self.store.note(action, key, by=by, reason=reason)


@attrs.frozen
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.define(eq=False)
class ApiWorld:
    """One API. `token` is shown where a request says nothing else."""

    plane: FakePlane
    app: Api
    memory: MemoryWorld
    token: str = ""

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        token: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        peer: str = "127.0.0.1",
    ) -> Reply:
        """Send one request; `body` is written as JSON, `raw` as it is."""
        token = self.token if token is None else token
        path, _, query = path.partition("?")
        sent = [("host", "127.0.0.1:5681")] if not any(name == "host" for name, _ in headers) else []
        sent += [("authorization", f"Bearer {token}")] if token else []
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin1")) for name, value in (*sent, *headers)],
            "client": (peer, 40000),
            "server": ("127.0.0.1", 5681),
        }
        return await exchange(self.app, scope, data)

    async def get(self, path: str, **options: Any) -> Any:
        """Get a page that is there."""
        reply = await self.request("GET", path, **options)
        assert reply.status == 200, (reply.status, reply.body)
        return reply.json

    async def put(self, path: str, body: Any, **options: Any) -> Reply:
        return await self.request("PUT", path, body, **options)

    def user_token(self, *groups: str, name: str = "jo", lifetime_s: float = 3600.0) -> str:
        random = self.memory.environment("cp").randomness.stream(*_RANDOM_KEY)
        return self.plane.tokens.issue_user(name=name, groups=groups, lifetime_s=lifetime_s, now=EPOCH_S, random=random)

    def dataplane_token(self, **claims: Any) -> str:
        random = self.memory.environment("cp").randomness.stream(*_RANDOM_KEY)
        return self.plane.tokens.issue_dataplane(
            **{"mesh": "default", **claims}, lifetime_s=3600.0, now=EPOCH_S, random=random
        )

    def zone_token(self) -> str:
        random = self.memory.environment("cp").randomness.stream(*_RANDOM_KEY)
        return self.plane.tokens.issue_zone(zone="east", lifetime_s=3600.0, now=EPOCH_S, random=random)

    def join(self, document: dict[str, Any], **status: Any) -> Resource:
        """Let a sidecar join with a Dataplane."""
        dataplane = attrs.evolve(load_resource(document, file="test"), created=EPOCH_S)
        self.plane.joined.append(dataplane)
        self.plane.statuses.append(MadeUpStatus(proxy=ProxyId(dataplane.mesh, dataplane.name), **status))
        return dataplane


async def exchange(app: Any, scope: dict[str, Any], data: bytes) -> Reply:
    """Send one request to an ASGI application, its body in two pieces."""
    half = len(data) // 2
    pieces = [(data[:half], True), (data[half:], False)] if half else [(data, False)]
    started: dict[str, Any] = {}
    chunks: list[bytes] = []

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if not pieces:
            return {"type": "http.disconnect"}
        chunk, more = pieces.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": more}

    async def send(message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            chunks.append(message.get("body", b""))

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in started["headers"]}
    return Reply(started["status"], headers, b"".join(chunks))


def dataplane(name: str = "web-1", workload: str = "web", **networking: Any) -> dict[str, Any]:
    inbound = {"port": 8080, "servicePort": 18080, "name": "http", "protocol": "http"}
    return {
        "type": "Dataplane",
        "mesh": "default",
        "name": name,
        "labels": {"kuma.io/workload": workload},
        "networking": {"address": "192.0.2.1", "inbound": [inbound], **networking},
    }


def timeout(name: str = "slow", span: str = "15s", **document: Any) -> dict[str, Any]:
    conf = {"http": {"requestTimeout": span}}
    return {
        "type": "MeshTimeout",
        "mesh": "default",
        "name": name,
        "spec": {"targetRef": {"kind": "Mesh"}, "to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]},
        **document,
    }


def run(body: Callable[[ApiWorld], Awaitable[None]], **settings: Any) -> None:
    """Run a test's body with an API whose mesh `default` and keys are there; its requests are an administrator's."""

    async def main() -> None:
        memory = MemoryWorld()
        env = memory.environment("cp")
        database = await SimDisk(Platter()).open_database("mesh.db")
        log = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()]).bind()
        store = await Store.open(database, sealer=Sealer(bytes(32)), wall_clock=env.wall_clock, log=log)
        catalogue = Catalogue(store, new_mesh_key=same_key)
        await catalogue.load()
        plane = FakePlane(catalogue, store)
        catalogue.on_change(plane.follow)
        await catalogue.write(first_resources(), by="first start", origin=Origin.CONTROL_PLANE)
        app = make_app(plane, settings=ApiSettings(instance_id="cp-1", cluster_id="c-1", **settings), env=env)
        world = ApiWorld(plane, app, memory)
        world.token = world.user_token(ADMIN, name="root")
        await body(world)
        await store.aclose()

    trio.run(main, clock=SimClock())


def first_resources() -> list[Put]:
    import base64

    data = base64.b64encode(KEY.encode().encode()).decode()
    secrets = [
        {"type": "GlobalSecret", "name": signing_key_secret(kind, 1)[2], "data": data}
        for kind in (TokenKind.USER, TokenKind.ZONE)
    ]
    mesh = {"type": "Mesh", "name": "default", "skipCreatingInitialPolicies": ["*"]}
    return [Put(resource=load_resource(document, file="test")) for document in (mesh, *secrets)]
