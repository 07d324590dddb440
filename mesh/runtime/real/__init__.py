"""The real world: the only door to the operating system. `real_environment` composes it."""

import time

from structlog.typing import FilteringBoundLogger

from mesh.model.errors import ConfigError, Violation
from mesh.runtime.environment import Environment, Reactor, Tls
from mesh.runtime.real.disk import RealDisk
from mesh.runtime.real.host_files import RealHostFiles
from mesh.runtime.real.network import RealNetwork
from mesh.runtime.real.processes import RealProcesses
from mesh.runtime.real.randomness import SystemRandomness

wall_clock = time.time


def real_environment(
    host: str, *, data_dir: str, reactor: Reactor, tls: Tls, log: FilteringBoundLogger, seed: int | None = None
) -> Environment:
    """Compose the environment of one host; `seed` makes its chance repeatable, for tests.

    Raises: ConfigError when the data folder cannot be made.
    """
    try:
        disk = RealDisk(data_dir)
    except OSError as error:
        raise ConfigError([Violation(message=f"cannot use the data folder {data_dir}: {error.strerror}")]) from error
    return Environment(
        host=host,
        network=RealNetwork(),
        reactor=reactor,
        tls=tls,
        randomness=SystemRandomness(seed),
        disk=disk,
        wall_clock=wall_clock,
        log=log.bind(host=host),
        processes=RealProcesses(data_dir),
        host_files=RealHostFiles(),
    )
