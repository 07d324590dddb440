"""A name and the plans for it: a table of addresses, who plans, and who carries plans out. For 11-stale-writer.yaml.

A plan is a number and a set of addresses; a higher number is newer. Enactors work at the same time, for safety.
"""

import trio
from actors.asking import NoAnswer, ask

from mesh.protocol.http1 import Request
from mesh.runtime.environment import Environment
from sim.workload.actor import ActorSettings, serve_requests
from sim.workload.http_server import Reply

RETRY_S = 0.5


class Table:
    """What a name stands for: the addresses of one plan, the live one, of those that are kept.

    Settings: `newest_wins`: a plan that is older than the live one is refused (compare and set); `keep_live`: the plan in use
    cannot be deleted.
    """

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.newest_wins = bool(settings.options.get("newest_wins", False))
        self.keep_live = bool(settings.options.get("keep_live", False))
        self.plans = {1: "10.9.0.1"}
        self.live: int | None = 1

    async def run(self) -> None:
        await serve_requests(self.env, self.settings, self.answer)

    async def answer(self, request: Request) -> Reply:
        method, path = request.head.method, request.head.path.decode("latin-1")
        word, number = path.lstrip("/").partition("/")[::2]
        match method, word:
            case b"GET", "addresses":
                return Reply(body=self.plans[self.live].encode()) if self.live in self.plans else Reply(status=503)
            case b"GET", "live":
                return Reply(status=404) if self.live is None else Reply(body=str(self.live).encode())
            case b"GET", "plans":
                return Reply(body=" ".join(map(str, sorted(self.plans))).encode())
            case b"PUT", "plan":
                return self._put(int(number))
            case b"DELETE", "plan":
                return self._delete(int(number))
            case _:
                return Reply(status=404)

    def _put(self, plan: int) -> Reply:
        if self.live is not None and plan < self.live:
            if self.newest_wins:
                return Reply(status=409)
            self.settings.meter.count("backwards")
        self.plans[plan] = f"10.9.0.{plan}"
        self.live = plan
        return Reply(status=204)

    def _delete(self, plan: int) -> Reply:
        if plan == self.live:
            if self.keep_live:
                return Reply(status=409)
            self.settings.meter.count("emptied")
            self.live = None
        self.plans.pop(plan, None)
        return Reply(status=204)


class Planner:
    """`GET /newest`: the number of the newest plan; there is a new one every `every_s`."""

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.every_s = float(str(settings.options.get("every_s", 4)))

    async def run(self) -> None:
        self.began_s = trio.current_time()
        await serve_requests(self.env, self.settings, self.answer)

    async def answer(self, request: Request) -> Reply:
        newest = 2 + int((trio.current_time() - self.began_s) / self.every_s)
        return Reply(body=str(newest).encode())


class Enactor:
    """Gets each new plan, looks once whether it is newer than what is live, prepares it for a while, makes it live; then
    deletes plans that are much older, until there is another one.

    Without a live plan it does not know where it stands, and leaves that to people.
    """

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.prepare_s = float(str(settings.options.get("prepare_s", 1)))
        self.kept = int(str(settings.options.get("kept", 2)))
        self.done = 0  # the newest plan that it has dealt with

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_requests, self.env, self.settings, self._serve)
            while True:
                try:
                    await self._enact()
                except NoAnswer:
                    pass
                await trio.sleep(RETRY_S)

    async def _serve(self, request: Request) -> Reply:
        return Reply(status=204)

    async def _enact(self) -> None:
        plan = int(await self._ask("planner", "GET", "/newest"))
        live = await self._ask("table", "GET", "/live")
        if not live:
            return
        if plan > max(int(live), self.done):
            await trio.sleep(self.prepare_s)  # Many endpoints, one after the other: the look of before gets old.
            await self._ask("table", "PUT", f"/plan/{plan}")
        self.done = plan
        for old in (await self._ask("table", "GET", "/plans")).split():
            if int(old) < plan - self.kept:
                await self._ask("table", "DELETE", f"/plan/{old}")

    async def _ask(self, service: str, method: str, target: str) -> str:
        """Return the body of the answer, "" where there is none. Raises: NoAnswer."""
        response = await ask(self.env, self.settings.upstreams[service], method, target)
        if response.head.status >= 500:
            raise NoAnswer(f"{response.head.status}")
        return response.body.decode() if response.head.status == 200 else ""
