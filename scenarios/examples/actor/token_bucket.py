"""A token bucket as a service: `POST /take` takes a token of the caller's bucket, 200 if there was one, 429 if not.

An actor of one's own: it gets an Environment and its settings, and knows nothing else. In simulation the clock is virtual and
the network is made of callbacks; with `mesh up` it is the machine's. The code is the same.
"""

from mesh.protocol.http1 import Request
from mesh.runtime.environment import Environment
from sim.workload.actor import ActorSettings, serve_requests
from sim.workload.http_server import Reply


class TokenBucket:
    """Each customer may take `burst` tokens at once and `per_second` in the long run."""

    def __init__(self, env: Environment, settings: ActorSettings) -> None:
        self.env = env
        self.settings = settings
        self.burst = float(settings.options.get("burst", 5))
        self.per_second = float(settings.options.get("per_second", 1))
        self.buckets: dict[bytes, tuple[float, float]] = {}  # customer: (tokens, when that was counted)

    async def run(self) -> None:
        await serve_requests(self.env, self.settings, self.answer)

    async def answer(self, request: Request) -> Reply:
        if request.head.path != b"/take":
            return Reply(status=404)
        now = self.env.reactor.now()
        customer = request.head.header(b"x-customer") or b""
        tokens, counted_at = self.buckets.get(customer, (self.burst, now))
        tokens = min(self.burst, tokens + (now - counted_at) * self.per_second)
        taken = tokens >= 1.0
        self.buckets[customer] = (tokens - taken, now)
        self.settings.meter.count("granted" if taken else "refused")
        return Reply(status=200 if taken else 429, headers=((b"x-tokens-left", b"%d" % max(tokens - 1.0, 0.0)),))
