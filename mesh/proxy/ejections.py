"""Outlier detection of one cluster at work: whom it watches, when its intervals end, what the log says.

Owns the detector and its timer. Accepts: configuration as it changes, and outcomes through the cluster. Emits: that somebody was
ejected or has returned (`on_change`). Decides nothing: `mesh.policy.outlier_detection` does.
"""

import math
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from mesh.model.randomness import Random
from mesh.policy.outlier_detection import HostRecord, OutlierDetection, OutlierDetector
from mesh.runtime.environment import Reactor


class Ejections:
    """`detector` is None while none is configured, and then there is no timer either."""

    def __init__(
        self, reactor: Reactor, random: Random, *, log: FilteringBoundLogger, on_change: Callable[[], None]
    ) -> None:
        self.detector: OutlierDetector | None = None
        self._reactor = reactor
        self._random = random
        self._log = log
        self._on_change = on_change
        self._due = math.inf  # when the present interval ends

    def use(self, config: OutlierDetection | None) -> None:
        """Detect so from now on; hosts keep their state. Another interval's length begins a new interval."""
        detector = self.detector
        if config is None:
            self.detector, self._due = None, math.inf
        elif detector is None:
            self.detector = OutlierDetector(config)
            self._begin_interval(config.interval_s)
        else:
            if config.interval_s != detector.config.interval_s:
                self._begin_interval(config.interval_s)
            detector.replace_config(config)

    def watch(self, name: str) -> HostRecord | None:
        """Return what is remembered of a host, from now on if nothing was."""
        return None if self.detector is None else self.detector.add_host(name)

    def forget(self, name: str) -> None:
        """The host is gone."""
        if self.detector is not None:
            self.detector.remove_host(name)

    def note(self, host: HostRecord) -> None:
        """An outcome ejected a host."""
        self._log_ejected(host)
        self._on_change()

    def on_check_passed(self, host: HostRecord | None) -> None:
        """A healthy host passed a check: nobody who passes stays ejected. Source: Envoy outlier_detection_impl.cc."""
        detector = self.detector
        if detector is None or host is None or not detector.on_health_check_passed(host, self._reactor.now()):
            return
        self._log.info("endpoint.returned", endpoint=host.name)
        self._on_change()

    def _begin_interval(self, interval_s: float) -> None:
        self._due = self._reactor.now() + interval_s
        self._reactor.call_at(self._due, self._end_interval)

    def _end_interval(self) -> None:
        """Return hosts whose time is up, judge the interval, begin the next. A timer of its own: spans are exact."""
        now, detector = self._reactor.now(), self.detector
        if detector is None or now < self._due:
            return  # Another interval has begun since, or there is nothing to detect any more.
        tick = detector.tick(now, self._random)
        for host in tick.returned:
            self._log.info("endpoint.returned", endpoint=host.name)
        for host in tick.ejected:
            self._log_ejected(host)
        if tick.returned or tick.ejected:
            self._on_change()
        self._begin_interval(detector.config.interval_s)

    def _log_ejected(self, host: HostRecord) -> None:
        assert host.last_detector is not None, "it was ejected by one"
        detector, ejections = host.last_detector.value, host.ejections
        self._log.info("endpoint.ejected", endpoint=host.name, detector=detector, ejections=ejections)
