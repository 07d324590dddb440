"""Async tests of this folder run in Trio's loop, on the machine's clock."""

import inspect
from functools import partial

import pytest
import trio


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    trio.run(
        partial(pyfuncitem.obj, **{name: pyfuncitem.funcargs[name] for name in names}), strict_exception_groups=True
    )
    return True
