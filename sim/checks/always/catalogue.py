"""Every check that is always on, in the order of reports."""

from sim.checks.watcher import Watcher

WATCHERS: tuple[type[Watcher], ...] = ()
