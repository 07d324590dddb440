"""A timer of the kernel's that ends within microseconds: epoll alone counts in whole milliseconds, and rounds up."""

import ctypes
import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesh.runtime.reactor import EpollReactor

# Source: timerfd_create(2), the Linux headers.
_CLOCK_MONOTONIC = 1
_TFD_FLAGS = 0o2004000  # TFD_CLOEXEC | TFD_NONBLOCK
_NS_PER_S = 1_000_000_000
_COUNT_BYTES = 8


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class KernelTimer:
    """Calls back once, `set` later. A source of a reactor."""

    def __init__(self, reactor: "EpollReactor", on_due: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._on_due = on_due
        self._reactor = reactor
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        reactor.register(self._fd, self, select.EPOLLIN)

    def set(self, seconds: float) -> None:
        """End in `seconds` instead of when it would have; at once when that is past."""
        whole, ns = divmod(max(1, round(seconds * _NS_PER_S)), _NS_PER_S)
        spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(whole, ns))
        if self._libc.timerfd_settime(self._fd, 0, ctypes.byref(spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def on_events(self, events: int) -> None:
        """Part of the reactor's sources."""
        try:
            os.read(self._fd, _COUNT_BYTES)
        except BlockingIOError:
            return  # It was set anew in this turn.
        self._on_due()

    def discard(self) -> None:
        """Give the timer back; safe to repeat."""
        if self._fd >= 0:
            self._reactor.unregister(self._fd)
            os.close(self._fd)
            self._fd = -1
