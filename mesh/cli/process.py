"""One actor as a process: log, reactor, environment, signals. What `control-plane`, `sidecar` and `service` share."""

from collections.abc import Awaitable, Callable

import click
import trio

from mesh.identity.tls import OpenSslTls
from mesh.runtime.drain import drain_on_signal
from mesh.runtime.environment import Environment
from mesh.runtime.logging import open_log
from mesh.runtime.reactor import EpollReactor
from mesh.runtime.real import real_environment, wall_clock

Main = Callable[[Environment, trio.Nursery], Awaitable[Callable[[], Awaitable[None]]]]

log_options = [
    click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"),
    click.option("--log-form", type=click.Choice(["json", "console"]), default="console", help="How log lines look."),
]


def with_log_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add --log-level and --log-form."""
    for option in reversed(log_options):
        command = option(command)
    return command


def run_process(host: str, *, data_dir: str, log_level: str, log_form: str, start: Main) -> int:
    """Run an actor until SIGTERM or SIGINT, then drain it; return the exit code.

    `start(env, nursery)` starts the actor's tasks and returns what to await for a drain. A second signal cuts it short.
    """

    async def main() -> None:
        log = open_log(wall_clock=wall_clock, form=log_form, level=log_level)  # type: ignore[arg-type]  # click checked
        reactor = EpollReactor(log=log)
        tls = OpenSslTls(wall_clock, dates_by_openssl=True)
        env = real_environment(host, data_dir=data_dir, reactor=reactor, tls=tls, log=log)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            drain = await start(env, nursery)
            await drain_on_signal(drain, log=log)
            nursery.cancel_scope.cancel()

    trio.run(main, strict_exception_groups=True)
    return 0
