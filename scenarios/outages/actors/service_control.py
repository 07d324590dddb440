"""A gate that admits requests by policies, the store of a region that it reads them from, and the tool that changes them.

The gate has a bug: a policy without limits ends its process. Its supervisor starts it again, and each start reads everything.
"""

import json
from collections.abc import Mapping
from typing import Any

import trio
from actors.asking import NoAnswer, ask

from mesh.protocol.http1 import Request
from mesh.runtime.environment import Environment
from sim.workload.actor import ActorSettings, serve_requests
from sim.workload.http_server import Reply

PAGES = 4
READ_S = 0.25  # that a store works on one page
LOAD_S_MAX = 2.5  # that a gate waits for all of them
LOOK_S = 1.0  # between two looks of a gate for something new
DEPLOYED_S = 1.1  # between one gate and the next
READER_S = 3.0  # after which a store thinks no more of a reader
GOOD = {"limits": {"calls": 1000}}
WITHOUT_LIMITS = {"limits": None}


class Store:
    """The policies of one region; it reads one page at a time."""

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.version = 1
        self.policies: Mapping[str, Any] = GOOD
        self.seen: dict[str, float] = {}  # by reader, when
        self.reading = trio.Lock()

    async def run(self) -> None:
        await serve_requests(self.env, self.settings, self.answer)

    async def answer(self, request: Request) -> Reply:
        _, what, *more = request.head.path.decode().split("/")
        now = trio.current_time()
        if what == "version":
            self.seen[more[0]] = now
            return Reply(body=b"%d" % self.version)
        if what == "readers":
            return Reply(body=b"%d" % sum(now - seen <= READER_S for seen in self.seen.values()))
        if what == "policies":
            self.version, self.policies = self.version + 1, json.loads(request.body)
            return Reply()
        async with self.reading:
            await trio.sleep(READ_S)
        return Reply(body=json.dumps({"version": self.version, **self.policies}).encode())


class Gate:
    """Admits requests while it has policies. `restart`, `restart_jitter`: seconds before a process that died is started again."""

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.store = settings.upstreams[f"store-{settings.zone}"]
        self.calls_max = 0
        self.version = 0

    async def run(self) -> None:
        """Supervise the process."""
        # They were deployed one after the other, long ago.
        await trio.sleep(DEPLOYED_S * int(self.settings.instance.rpartition("-")[2]))
        random = self.env.randomness.stream("gate", "restart")
        wait_s, jitter_s = (float(self.settings.options[key]) for key in ("restart", "restart_jitter"))
        while True:
            try:
                await self._process()
            except* (TypeError, NoAnswer):
                self.settings.meter.count("deaths")
            await trio.sleep(wait_s + jitter_s * random.random())

    async def _process(self) -> None:
        await self._load()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            await serve_requests(self.env, self.settings, self._answer)

    async def _load(self) -> None:
        deadline_s = trio.current_time() + LOAD_S_MAX
        for page in range(PAGES):
            left_s = max(deadline_s - trio.current_time(), 0.0)
            read = json.loads(await self._ask(f"/page/{page}", patience_s=left_s))
            self.version = read["version"]
            self.calls_max = read["limits"]["calls"]

    async def _watch(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            try:
                newest = int(await self._ask(f"/version/{self.settings.instance}", patience_s=LOOK_S))
                if newest != self.version:
                    await self._load()
            except NoAnswer:
                continue  # It goes on with what it has.

    async def _ask(self, target: str, *, patience_s: float) -> bytes:
        response = await ask(self.env, self.store, "GET", target, patience_s=patience_s)
        if response.head.status != 200:
            raise NoAnswer(f"{target}: {response.head.status}")
        return response.body

    async def _answer(self, request: Request) -> Reply:
        return Reply(status=200 if self.calls_max > 0 else 429)


class Promotion:
    """Brings a new policy to the stores of all regions, in order, and takes it back everywhere when somebody says so.

    `begin`: when, in seconds; `pause`: how long it waits after each region to see whether all readers are still there (0: it
    does not look); `red_button`: seconds after the beginning at which people have understood.
    """

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings

    async def run(self) -> None:
        options = self.settings.options
        begin_s, pause_s, red_button_s = (float(options[key]) for key in ("begin", "pause", "red_button"))
        await trio.sleep(begin_s)
        people = trio.current_time() + red_button_s
        reached: list[str] = []
        for region in options["regions"]:
            readers = await self._readers(region)
            await self._put(region, WITHOUT_LIMITS)
            reached.append(region)
            await trio.sleep(pause_s)
            if pause_s and await self._readers(region) < readers:
                self.settings.meter.count("stopped")
                break
        else:
            await trio.sleep_until(people)
        for region in reached:
            await self._put(region, GOOD)
        await trio.sleep_forever()

    async def _readers(self, region: str) -> int:
        response = await ask(self.env, self.settings.upstreams[f"store-{region}"], "GET", "/readers")
        return int(response.body)

    async def _put(self, region: str, policies: Mapping[str, Any]) -> None:
        store = self.settings.upstreams[f"store-{region}"]
        await ask(self.env, store, "PUT", "/policies", body=json.dumps(policies).encode())
