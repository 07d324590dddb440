"""Tests of this folder may be `async def`: they run under Trio, with the clock that they ask for."""

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from mesh.runtime.reactor import EpollReactor


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    clocks = [value for value in pyfuncitem.funcargs.values() if isinstance(value, trio.testing.MockClock)]
    trio.run(functools.partial(pyfuncitem.obj, **arguments), clock=clocks[0] if clocks else None)
    return True


@pytest.fixture
def mock_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock()


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
def log_capture() -> structlog.testing.LogCapture:
    return structlog.testing.LogCapture()


@pytest.fixture
def log(log_capture: structlog.testing.LogCapture) -> Any:
    return structlog.wrap_logger(None, processors=[log_capture]).bind()


Running = Callable[[], Any]


@pytest.fixture
def running_reactor(log: Any) -> Running:
    """Return a context manager that yields a reactor while it runs."""

    @asynccontextmanager
    async def running() -> AsyncIterator[EpollReactor]:
        reactor = EpollReactor(log=log)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            yield reactor
            nursery.cancel_scope.cancel()

    return running


InPump = Callable[..., Awaitable[Any]]


@pytest.fixture
def in_pump() -> InPump:
    """Return a function that runs an async function as a pump and waits, as a Trio task, for its result."""

    async def run(reactor: EpollReactor, function: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
        done = trio.Event()
        results: list[Any] = []
        errors: list[Exception] = []

        async def body() -> None:
            try:
                results.append(await function(*arguments))
            except Exception as error:
                errors.append(error)
            finally:
                done.set()

        reactor.start(body(), name="test")
        with trio.fail_after(10):
            await done.wait()
        if errors:
            raise errors[0]
        return results[0]

    return run
