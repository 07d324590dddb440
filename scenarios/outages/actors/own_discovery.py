"""A client library that does its own discovery, and the server that it asks.

The library makes of "nobody answers" what it makes of "there is nothing": an empty table. That is the whole bug.
"""

import json

import trio
from actors.asking import NoAnswer, ask

from mesh.protocol.http1 import Request
from mesh.runtime.environment import Environment
from sim.workload.actor import ActorSettings, serve_requests
from sim.workload.http_server import Reply

ASK_EVERY_S = 2.0
PATIENCE_S = 1.0


class Directory:
    """Tells which service answers for which path."""

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings

    async def run(self) -> None:
        await serve_requests(self.env, self.settings, self.answer)

    async def answer(self, request: Request) -> Reply:
        return Reply(body=json.dumps(self.settings.options["routes"]).encode())


class Shop:
    """Calls whom its table names for a path."""

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.table: dict[str, str] = {}

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keep_table)
            await serve_requests(self.env, self.settings, self.answer)

    async def keep_table(self) -> None:
        """Ask again and again."""
        while True:
            self.table = await self.fetch_table()
            await trio.sleep(ASK_EVERY_S)

    async def fetch_table(self) -> dict[str, str]:
        """Return what the directory says."""
        try:
            directory = self.settings.upstreams["directory"]
            response = await ask(self.env, directory, "GET", "/routes", patience_s=PATIENCE_S)
        except NoAnswer:
            return {}
        return dict(json.loads(response.body)) if response.head.status == 200 else {}

    async def answer(self, request: Request) -> Reply:
        path = request.head.path.decode()
        service = self.table.get(path)
        if service is None:
            return Reply(status=503, body=b"no route")
        try:
            response = await ask(self.env, self.settings.upstreams[service], "GET", path, patience_s=PATIENCE_S)
        except NoAnswer:
            return Reply(status=504)
        return Reply(status=response.head.status, body=response.body)
