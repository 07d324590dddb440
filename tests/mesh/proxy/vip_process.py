"""Run in a network of its own, whose host takes 241.0.0.0/8 for its own: one call to a service at its VIP."""

import sys
from pathlib import Path

import trio

from mesh.config.builder import build_snapshot
from mesh.config.index import MeshIndex
from mesh.config.view import DataplaneState, MeshView
from mesh.resources.loading import load_resource
from tests.mesh.proxy.laboratory import Lab, Upstream, UpstreamCall, read_response, with_sidecar


def view(port: int) -> MeshView:
    """Return a mesh of a caller, which intercepts, and a service."""

    def state(name: str, **networking: object) -> DataplaneState:
        written = {
            "type": "Dataplane",
            "name": name,
            "labels": {"kuma.io/workload": name},
            "networking": {"address": "127.0.0.1", **networking},
        }
        return DataplaneState(resource=load_resource(written, file="t"))

    inbound = {"port": port, "servicePort": 1, "protocol": "http"}
    return MeshView(
        mesh="default",
        dataplanes={"web": state("web", transparentProxying={}), "backend": state("backend", inbound=[inbound])},
    )


async def main(folder: Path) -> None:
    upstream = Upstream([answer])
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.serve)
        index = MeshIndex.of(view(upstream.address.port))
        snapshot = build_snapshot(index, "web")
        vip = index.service_by_name["backend"].vip

        async def call(lab: Lab) -> None:
            async with await trio.open_tcp_stream(vip, upstream.address.port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: backend.svc.mesh.local\r\n\r\n")
                response = await read_response(stream)
            print(vip, response.status, response.body.decode())

        await with_sidecar(folder, lambda port: tuple(snapshot.parts.values()), call)
        nursery.cancel_scope.cancel()


async def answer(call: UpstreamCall) -> None:
    await call.answer()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
