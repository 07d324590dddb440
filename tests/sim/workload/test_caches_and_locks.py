"""Caches that go cold, locks, contention, and how many connections a database takes."""

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mesh.runtime.pump import Pump
from sim.workload.caching import OwnCache
from sim.workload.locks import ReadWriteLock
from sim.workload.stored_keys import StoredKeys

SHOP = """
services:
  web: {instances: {z: 1}, endpoints: {GET /: {steps: [{call: db SELECT users, cached: {keys: 200%s}}]}}}
  cache: {kind: redis, instances: {z: 1}, concurrency: 1}
  db: {kind: postgresql, instances: {z: 1}, work: 1ms}
workload: {u: {rate: 200/s, arrivals: constant, journeys: {j: [GET web/]}}}
"""


def statements(b):
    return b.tally.statements["db", "SELECT"]


@pytest.mark.parametrize("where", ["", ", in: cache"])
def test_cold_cache_warms_with_what_is_missed(bench, where):
    # 2000 requests for 200 keys: each key is called for once, whoever asks first.
    b = bench(SHOP % where).run(10.0)
    assert 190 <= statements(b) <= 205
    assert b.tally.cached["web", True] + b.tally.cached["web", False] == len(b.log.visits) == 2000


def test_what_cannot_be_cached_is_always_called_for(bench):
    b = bench(SHOP % ", hit: 50%").run(10.0)
    assert statements(b) == pytest.approx(1000 + 200, abs=80)


def test_failed_calls_warm_nothing(bench):
    b = bench((SHOP % "").replace("work: 1ms", "work: 1s, concurrency: 1, queue: 0")).run(3.0)
    assert statements(b) <= 4
    assert b.tally.cached["web", True] <= 60


def test_full_caches_hold_everything_until_a_restart():
    assert StoredKeys(full=True).apply("GET", b"users:1")
    keys = StoredKeys(full=False)
    assert not keys.apply("GET", b"users:1")
    keys.apply("SET", b"users:1")
    assert keys.apply("GET", b"users:1")
    keys.apply("DEL", b"users:1")
    assert not keys.apply("GET", b"users:1")
    assert OwnCache(full=True)._full


def test_writers_of_a_table_wait_for_its_readers_and_for_one_another(bench):
    text = """
services:
  web:
    instances: {z: 1}
    endpoints:
      GET /read: {steps: [{call: db SELECT users}]}
      GET /other: {steps: [{call: db SELECT items}]}
      GET /write: {steps: [{call: db UPDATE users}]}
  db: {kind: postgresql, instances: {z: 1}, work: 100ms, locks: true}
workload:
  readers: {rate: 30/s, arrivals: constant, journeys: {read: [GET web/read]}}
  others: {rate: 20/s, arrivals: constant, journeys: {other: [GET web/other]}}
  writers: {rate: 2/s, arrivals: constant, journeys: {write: [GET web/write]}}
"""
    b = bench(text).run(5.0)
    longest = {
        name: max(j.latency_s for j in b.log.journeys if j.journey == name) for name in ("read", "other", "write")
    }
    assert longest["other"] == pytest.approx(0.1, abs=0.01)
    assert longest["write"] > 0.15
    assert longest["read"] > 0.15


def test_named_lock_lets_one_work_at_a_time(bench):
    b = bench("""
services:
  web:
    instances: {z: 1}
    endpoints:
      GET /alone: {steps: [{work: 100ms, lock: index}]}
      GET /shared: {steps: [{work: 100ms, lock: other, shared: true}]}
workload: {u: {model: closed, users: 4, journeys: {alone: [GET web/alone], shared: [GET web/shared]}}}
""").run(3.0)
    alone = [j for j in b.log.journeys if j.journey == "alone"]
    assert len(alone) <= 32
    assert max(j.latency_s for j in b.log.journeys if j.journey == "shared") < 0.105


def test_statements_slow_one_another(bench):
    text = """
services:
  web: {instances: {z: 1}, endpoints: {GET /: {steps: [{call: db SELECT users}]}}}
  db: {kind: postgresql, instances: {z: 1}, work: 10ms, contention: 10%%}
workload: {u: {model: closed, users: %d, journeys: {j: [GET web/]}}}
"""
    alone, crowded = bench(text % 1).run(2.0), bench(text % 20).run(2.0)
    assert max(j.latency_s for j in alone.log.journeys[1:]) < 0.013
    assert max(j.latency_s for j in crowded.log.journeys) > 0.024


def test_database_refuses_one_connection_too_many(bench):
    text = """
services:
  web: {instances: {z: 1}, pools: {db: %d}, endpoints: {GET /: {steps: [{call: db SELECT users}]}}}
  db: {kind: postgresql, instances: {z: 1}, work: 50ms, connections: 3}
workload: {u: {model: closed, users: 8, journeys: {j: [GET web/]}}}
"""
    refused, fits = bench(text % 8).run(2.0), bench(text % 3).run(2.0)
    assert {v.status for v in refused.log.visits} == {200, 503}
    assert {v.status for v in fits.log.visits} == {200}


class FakeReactor:
    """Runs pumps at once and wakes them at the end of the turn."""

    def __init__(self):
        self.current = None
        self.soon = []

    def call_soon(self, callback):
        self.soon.append(callback)

    def start(self, coroutine, *, name):
        pump = Pump(self, coroutine, name)
        pump.resume()
        return pump

    def settle(self):
        while self.soon:
            self.soon.pop(0)()


class LockMachine(RuleBasedStateMachine):
    """A read-write lock against a list in the order of arrival: whoever is at its front, and readers behind a reader, have it.

    Planted (and planted again below): `ReadWriteLock.acquire` without `not self._queue and`, so that readers overtake waiting
    writers; it said `assert [2, 4] == [2]`: a reader had it together with one who came before a waiting writer.
    """

    def __init__(self):
        super().__init__()
        self.reactor = FakeReactor()
        self.lock = ReadWriteLock(self.reactor)
        self.number = 0
        self.line = []  # (number, shared), in the order of arrival
        self.holding = {}  # by number: the pump
        self.pumps = {}
        self.let_go = set()

    def allowed(self):
        if not self.line:
            return []
        if not self.line[0][1]:
            return [self.line[0][0]]
        front = []
        for number, shared in self.line:
            if not shared:
                break
            front.append(number)
        return front

    async def hold(self, number, shared):
        from mesh.runtime.pump import park

        await self.lock.acquire(shared=shared)
        self.holding[number] = shared
        try:
            while number not in self.let_go:
                await park()
        finally:
            del self.holding[number]
            self.lock.release(shared=shared)

    @rule(shared=strategies.booleans())
    def acquire(self, shared):
        self.number += 1
        self.line.append((self.number, shared))
        self.pumps[self.number] = self.reactor.start(self.hold(self.number, shared), name="holder")
        self.reactor.settle()

    @precondition(lambda self: self.line)
    @rule(which=strategies.integers(0, 9))
    def release(self, which):
        front = self.allowed()
        number = front[which % len(front)]
        self.line = [entry for entry in self.line if entry[0] != number]
        self.let_go.add(number)
        self.pumps[number].resume()
        self.reactor.settle()

    @precondition(lambda self: self.line)
    @rule(which=strategies.integers(0, 9))
    def cancel(self, which):
        number, _ = self.line.pop(which % len(self.line))
        self.pumps[number].cancel()
        self.reactor.settle()

    @invariant()
    def those_at_the_front_have_it(self):
        assert sorted(self.holding) == sorted(self.allowed())


TestLocks = LockMachine.TestCase
TestLocks.settings = settings(max_examples=60, deadline=None)


def test_machine_finds_readers_that_overtake_writers(monkeypatch):
    async def acquire(self, *, shared):
        if self._admits(shared):
            self._take(shared)
            return
        await original(self, shared=shared)

    original = ReadWriteLock.acquire
    monkeypatch.setattr(ReadWriteLock, "acquire", acquire)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            LockMachine, settings=settings(derandomize=True, database=None, max_examples=60, deadline=None)
        )
