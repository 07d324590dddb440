"""The database that control planes of a simulation share: exactly once over a bad network, and news of others' commits."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from mesh.model.errors import OutcomeUnknown, StoreError
from mesh.model.names import Address
from mesh.runtime.environment import Transaction
from sim.host import Host
from sim.network.cuts import Partition
from sim.network.rules import Between
from sim.shared_database import PORT, DatabaseServer, Jobs, SharedDatabase
from sim.world import World


class Installation:
    """A server, and the hosts of two clients."""

    def __init__(self) -> None:
        self.world = World(seed=3)
        self.jobs = Jobs()
        self.server = self.world.add_host("server", boot=self._serve)
        self.hosts = [self.world.add_host(name) for name in ("one", "two")]

    async def _serve(self, host: Host) -> None:
        await DatabaseServer(host.environment, self.jobs).run()

    async def client(self, number: int) -> SharedDatabase:
        database = SharedDatabase(self.hosts[number].environment, Address(self.server.address, PORT), self.jobs)
        await database.open()
        return database

    def cut(self, name: str) -> Callable[[], None]:
        """Cut a client off; return how to undo it."""
        rule = Partition(between=Between(source=(name,), target=("server",)))
        return self.world.network.add_rule(rule, name="cut").remove


def in_world(body: Callable[[Installation], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        installation = Installation()

        async def drive(world: World) -> None:
            await body(installation)

        outcome = installation.world.run(drive, until_s=600.0)
        assert outcome.finished

    run.__name__ = body.__name__
    return run


def make_table(transaction: Transaction) -> None:
    transaction.execute("CREATE TABLE IF NOT EXISTS counted (number INTEGER)")


def count(transaction: Transaction) -> int:
    transaction.execute("INSERT INTO counted VALUES (1)")
    return len(transaction.execute("SELECT * FROM counted"))


def counted(transaction: Transaction) -> int:
    return len(transaction.execute("SELECT * FROM counted"))


@in_world
async def test_what_one_writes_the_other_reads(there: Installation) -> None:
    one, two = await there.client(0), await there.client(1)
    await one.transact(make_table)
    assert await one.transact(count) == 1
    assert await two.transact(counted, read_only=True) == 1


@in_world
async def test_errors_of_the_work_are_the_clients_own(there: Installation) -> None:
    one = await there.client(0)

    def fail(transaction: Transaction) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        await one.transact(fail)
    with pytest.raises(StoreError):
        await one.transact(counted)


@in_world
async def test_one_hears_of_the_others_commits_and_not_of_its_own(there: Installation) -> None:
    one, two = await there.client(0), await there.client(1)
    await one.transact(make_table)
    await two.wait_changed()  # The first time at once.
    await one.wait_changed()
    await one.transact(count)
    with trio.fail_after(1.0):
        await two.wait_changed()
    with trio.move_on_after(30.0) as patience:
        await one.wait_changed()
    assert patience.cancelled_caught


@in_world
async def test_short_cut_is_waited_for_and_nothing_is_done_twice(there: Installation) -> None:
    one = await there.client(0)
    await one.transact(make_table)
    heal = there.cut("one")
    there.world.start_task(_after, 10.0, heal, name="heal")
    assert await one.transact(count) == 1
    assert await one.transact(counted) == 1


@in_world
async def test_long_cut_is_an_error_that_says_whether_it_may_have_happened(there: Installation) -> None:
    one = await there.client(0)
    await one.transact(make_table)
    heal = there.cut("one")
    with pytest.raises(StoreError):
        await one.transact(counted, read_only=True)
    heal()
    await one.transact(counted, read_only=True)
    heal = there.cut("one")
    with pytest.raises(OutcomeUnknown):
        await one.transact(count)
    heal()


@in_world
async def test_server_comes_back_with_what_was_committed(there: Installation) -> None:
    one, two = await there.client(0), await there.client(1)
    await one.transact(make_table)
    await one.transact(count)
    await two.wait_changed()
    there.server.restart()
    assert await one.transact(counted, read_only=True) == 1
    with trio.fail_after(60.0):
        await two.wait_changed()  # It could not listen for a while: something may have happened.


async def _after(seconds: float, act: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    act()
