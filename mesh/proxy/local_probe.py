"""Probes of the local application: is anybody listening behind an inbound? Reports each change of verdict.

Source: Kuma Dataplane `networking.inbound[].serviceProbe.tcp`. A verdict changes after so many equal results in a row.
"""

from collections.abc import Callable

import attrs

from mesh.model.errors import BrokenConnection, DeadlineExceeded
from mesh.model.names import Address
from mesh.resources.dataplane import Dataplane
from mesh.runtime.environment import Environment


@attrs.frozen(kw_only=True)
class ProbeSettings:
    """One inbound's probe; spans in seconds."""

    inbound: str
    address: Address
    interval_s: float = 5.0
    timeout_s: float = 2.0
    unhealthy_threshold: int = 1
    healthy_threshold: int = 1


def probes_of(dataplane: Dataplane) -> tuple[ProbeSettings, ...]:
    """Return the probes that a Dataplane asks for."""
    return tuple(
        ProbeSettings(
            inbound=inbound.name,
            address=inbound.application,
            interval_s=inbound.probe.interval_s,
            timeout_s=inbound.probe.timeout_s,
            unhealthy_threshold=inbound.probe.unhealthy_threshold,
            healthy_threshold=inbound.probe.healthy_threshold,
        )
        for inbound in dataplane.inbounds
        if inbound.probe is not None
    )


class LocalProbe:
    """Connects to the application at intervals; a pump, since it does nothing else."""

    def __init__(self, env: Environment, settings: ProbeSettings, report: Callable[[str, bool], None]) -> None:
        self._env = env
        self._settings = settings
        self._report = report
        self._random = env.randomness.stream("local-probe", settings.inbound)
        self.ready: bool | None = None  # None: not known yet

    async def run(self) -> None:
        """Probe until cancelled."""
        streak, last = 0, None
        while True:
            result = await self._connects()
            streak = streak + 1 if result == last else 1
            last = result
            threshold = self._settings.healthy_threshold if result else self._settings.unhealthy_threshold
            if result != self.ready and (self.ready is None or streak >= threshold):
                self.ready = result
                self._env.log.info("probe.verdict_changed", inbound=self._settings.inbound, ready=result)
                self._report(self._settings.inbound, result)
            await self._env.reactor.sleep(self._settings.interval_s * self._random.uniform(0.9, 1.1))

    async def _connects(self) -> bool:
        reactor = self._env.reactor
        pump = reactor.current
        assert pump is not None
        pump.set_deadline(reactor.now() + self._settings.timeout_s)
        try:
            connection = await reactor.connect(self._settings.address)
        except (BrokenConnection, DeadlineExceeded):
            return False
        finally:
            pump.set_deadline(float("inf"))
        connection.close()
        return True
