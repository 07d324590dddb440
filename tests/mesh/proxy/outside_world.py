"""Servers outside the mesh for tests: their certificates and names, and a sidecar whose one outbound leads to them."""

import ssl
from collections.abc import Sequence
from typing import Any

import attrs
import trio

from mesh.config.snapshot import (
    Backend,
    Cluster,
    ClusterEndpoints,
    Endpoint,
    Origination,
    OutboundListener,
    Part,
    PemSource,
    Route,
    UpstreamTls,
)
from mesh.identity.authority import Authority, issue_svid
from mesh.model.errors import ConnectFailed
from mesh.model.names import Address, SpiffeId
from mesh.model.traffic import Protocol
from mesh.runtime.real import wall_clock
from mesh.runtime.real.randomness import SystemRandomness
from tests.mesh.proxy.laboratory import Lab, Upstream, UpstreamCall, with_sidecar

RANDOM = SystemRandomness(3).stream("serials")
AUTHORITY = Authority.create("outside", now=wall_clock(), serial_random=RANDOM)
STRANGER = Authority.create("outside", now=wall_clock(), serial_random=RANDOM)
NAME = "api.example.com"
ROOT = PemSource(text=AUTHORITY.root_pem)


def certificate(authority: Authority = AUTHORITY, *names: str, lifetime_s: float = 600.0) -> Any:
    return issue_svid(
        authority,
        SpiffeId("outside", "/server"),
        lifetime_s=lifetime_s,
        now=wall_clock(),
        serial_random=RANDOM,
        names=names or (NAME,),
    )


def server_context(folder: Any, own: Any = None, *, client_root: str = "") -> ssl.SSLContext:
    own = own or certificate()
    (folder / "server.pem").write_text(own.chain_pem + own.private_key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    if client_root:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_root)
    return context


@attrs.define
class Names:
    """A network that only resolves; `known` is read at each question. A name that is absent is unknown."""

    known: dict[str, Sequence[str]]
    asked: list[str] = attrs.field(factory=list)
    gate: trio.Event | None = None

    async def resolve(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if self.gate is not None:
            await self.gate.wait()
        await trio.lowlevel.checkpoint()
        if name not in self.known:
            raise ConnectFailed("dns resolution failure")
        return self.known[name]


def parts_of(
    port: int,
    endpoints: Sequence[Address],
    origination: Origination | None = None,
    *,
    cluster: str = "api",
    priorities: Sequence[int] = (),
) -> list[Part]:
    found = [
        Endpoint(name=str(address), address=address, hostname=address.host, priority=priority)
        for address, priority in zip(endpoints, priorities or [0] * len(endpoints), strict=True)
    ]
    parts: list[Part] = [
        Cluster(name=cluster, protocol=Protocol.HTTP, tls=UpstreamTls() if origination else None),
        ClusterEndpoints(cluster=cluster, endpoints=tuple(found)),
        OutboundListener(
            name=cluster,
            address=Address("127.0.0.1", port),
            protocol=Protocol.HTTP,
            routes=(Route(name=cluster, backends=(Backend(cluster=cluster),)),),
        ),
    ]
    return parts if origination is None else [attrs.evolve(origination, cluster=cluster), *parts]


def run(
    tmp_path: Any, body: Any, origination: Origination | None, *, server: ssl.SSLContext | None = None, **env: Any
) -> None:
    """Run `body(lab, upstream)` with the upstream reached as `NAME`, which is 127.0.0.1 unless a network says otherwise."""
    network = env.pop("network", None) or Names({NAME: ("127.0.0.1",)})

    async def main() -> None:
        upstream = Upstream([ok], tls=server)
        async with trio.open_nursery() as nursery:
            await nursery.start(upstream.serve)
            place = Address(NAME, upstream.address.port)
            await with_sidecar(
                tmp_path,
                lambda port: parts_of(port, [place], origination),
                lambda lab: body(lab, upstream),
                network=network,
                **env,
            )
            nursery.cancel_scope.cancel()

    trio.run(main)


async def ok(call: UpstreamCall) -> None:
    await call.answer()


def ask_once(tmp_path: Any, origination: Origination, tls: ssl.SSLContext) -> tuple[int, str]:
    """Return the status of one request, and why it was not answered by the server."""
    answers = []

    async def body(lab: Lab, upstream: Upstream) -> None:
        response = await lab.request()
        answers.append((response.status, lab.records[0].detail))

    run(tmp_path, body, origination, server=tls)
    return answers[0]


def tells(**fields: Any) -> Origination:
    return Origination(cluster="api", **fields)
