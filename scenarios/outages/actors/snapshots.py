"""A configuration in two parts, and a proxy that puts them together. For 15-never-warm.yaml.

Clusters come first, then the endpoints of the clusters (CDS and EDS of xDS). A changed cluster is of no use before its
endpoints are there: it has to warm.
"""

import trio
from actors.asking import NoAnswer, ask

from mesh.protocol.http1 import Request
from mesh.runtime.environment import Environment
from sim.workload.actor import ActorSettings, serve_requests
from sim.workload.http_server import Reply


class Server:
    """`POST /change`: another version of the cluster. `GET /clusters` and `GET /endpoints` for a proxy, in that order.

    Endpoints go to a proxy once for each version: what it was told it has. Setting `endpoints_after_cluster`: they also go
    to whoever has just been told of a cluster, whatever it was told before.
    """

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.tell_again = bool(settings.options.get("endpoints_after_cluster", False))
        self.version = 1
        self.told: dict[str, int] = {}  # by proxy: for which version it has its endpoints

    async def run(self) -> None:
        await serve_requests(self.env, self.settings, self.answer)

    async def answer(self, request: Request) -> Reply:
        word, proxy = request.head.path.decode("latin-1").lstrip("/").partition("/")[::2]
        match word:
            case "change":
                self.version += 1
                return Reply(status=204)
            case "clusters":
                if self.tell_again:
                    self.told.pop(proxy, None)
                return Reply(body=str(self.version).encode())
            case "endpoints" if self.told.get(proxy) != self.version:
                self.told[proxy] = self.version
                return Reply(body=str(self.version).encode())
            case "endpoints":
                return Reply(status=304)
            case _:
                return Reply(status=404)


class Proxy:
    """Calls `stock` for whoever asks, as long as its cluster is warm. Looks for another configuration about every `every_s`,
    and is busy with a changed cluster for about `apply_s`.
    """

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.every_s = float(str(settings.options.get("every_s", 1)))
        self.apply_s = float(str(settings.options.get("apply_s", 0)))
        self.cluster = ""  # its version
        self.endpoints = ""  # the version that they belong to
        self.random = env.randomness.stream("old-proxy", settings.instance)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_requests, self.env, self.settings, self.answer)
            while True:
                try:
                    await self._follow()
                except NoAnswer:
                    pass
                await trio.sleep(self._about(self.every_s))

    async def answer(self, request: Request) -> Reply:
        if self.cluster != self.endpoints:
            return Reply(status=503)
        try:
            response = await ask(self.env, self.settings.upstreams["stock"], "GET", "/")
        except NoAnswer:
            return Reply(status=503)
        return Reply(status=response.head.status)

    async def _follow(self) -> None:
        """Take a changed cluster, work on it, then ask for its endpoints. Raises: NoAnswer."""
        cluster = await self._ask("clusters")
        if cluster != self.cluster:
            starting, self.cluster = not self.cluster, cluster
            if not starting:
                await trio.sleep(self._about(self.apply_s))
        if self.endpoints != self.cluster:
            endpoints = await self._ask("endpoints")
            # What belongs to another version than ours is of no use to us.
            if endpoints == self.cluster:
                self.endpoints = endpoints

    def _about(self, span_s: float) -> float:
        return span_s * self.random.uniform(0.5, 1.5)

    async def _ask(self, what: str) -> str:
        target = f"/{what}/{self.settings.instance}"
        response = await ask(self.env, self.settings.upstreams["config"], "GET", target)
        if response.head.status >= 400:
            raise NoAnswer(str(response.head.status))
        return response.body.decode() if response.head.status == 200 else ""
