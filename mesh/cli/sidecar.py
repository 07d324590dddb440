"""`mesh sidecar`: the proxy beside one instance of a service."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

import click
import trio

from mesh.cli.addresses import parse_listen_address, parse_url
from mesh.cli.credentials import read_ca_certificate, read_token, token_mismatches
from mesh.cli.durations import read_duration
from mesh.cli.files import check_data_folder, read_dataplane
from mesh.cli.inputs import Inputs
from mesh.cli.process import run_process, with_log_options
from mesh.discovery.client import ControlPlaneClientSettings
from mesh.discovery.control_plane_tls import control_plane_tls
from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.proxy.local_probe import probes_of
from mesh.proxy.sidecar import Sidecar, SidecarSettings
from mesh.resources.dataplane import Dataplane
from mesh.runtime.environment import Environment
from mesh.runtime.real import wall_clock
from mesh.telemetry.access_log import AccessLog


@click.command("sidecar")
@click.option("--dataplane", "dataplane_file", required=True, type=click.Path(path_type=Path), help="Its Dataplane.")
@click.option("--token-file", required=True, type=click.Path(path_type=Path), help="Its token.")
@click.option("--control-plane", required=True, metavar="URL", help="https://host:5678")
@click.option(
    "--ca-cert-file",
    default=None,
    type=click.Path(path_type=Path),
    help="The control plane's CA, ca.pem of its data folder. Default: ca.pem beside the token.",
)
@click.option("--data", "data_dir", default=None, type=click.Path(), help="Where the last good configuration is kept.")
@click.option("--access-log", default="-", help="A file, - for standard output (default), or off.")
@click.option(
    "--admin", default=None, metavar="IP:PORT", help="Serve /ready, /clusters, /stats/prometheus, /config_dump."
)
@click.option("--drain-time", default="30s", help="Longest wait for requests under way at the end.")
@with_log_options
def command(
    dataplane_file: Path,
    token_file: Path,
    control_plane: str,
    ca_cert_file: Path | None,
    data_dir: str | None,
    access_log: str,
    admin: str | None,
    drain_time: str,
    log_level: str,
    log_form: str,
) -> int:
    """Run the proxy beside one instance of a service.

    It asks the control plane for its certificate and configuration, and serves with the last good one while the control
    plane is away. SIGTERM drains: no request is lost.
    """
    inputs = Inputs()
    now = wall_clock()
    address = inputs.read(parse_url, control_plane, option="--control-plane")
    read = inputs.read(read_dataplane, dataplane_file)
    ca_pem = inputs.read(read_ca_certificate, ca_cert_file or token_file.with_name("ca.pem"), now=now)
    token = inputs.read(read_token, token_file, now=now)
    if read.is_right and token.is_right:
        inputs.refuse(token_mismatches(token_file, token.value[1], read.value[0]))
    drain_s = inputs.read(read_duration, drain_time, option="--drain-time")
    given_admin = None if admin is None else inputs.read(_parse_admin, admin)
    if data_dir is not None:
        inputs.read(check_data_folder, Path(data_dir))
    access_output = inputs.read(_open_access_output, access_log)
    inputs.check()

    resource, document = read.value
    dataplane = resource.spec_as(Dataplane)
    admin_address = _admin_of(dataplane) if given_admin is None else given_admin.value
    settings = ControlPlaneClientSettings(
        address=address.value,
        tls=control_plane_tls(ca_pem.value, address.value.host),
        token=token.value[0],
        dataplane=document,
        state_folder="sidecar",
    )

    async def start(env: Environment, nursery: trio.Nursery) -> Callable[[], Awaitable[None]]:
        log = _access_log(env, access_output.value)
        if log is not None:
            nursery.start_soon(log.run)
        sidecar = Sidecar(
            env,
            SidecarSettings(
                control_plane=settings,
                records=log if log is not None else _Nobody(),
                probes=probes_of(dataplane),
                admin=admin_address,
                drain_s=drain_s.value,
            ),
        )
        nursery.start_soon(sidecar.run)
        return sidecar.drain

    folder = data_dir or f".mesh/{resource.mesh}/{resource.name}"
    return run_process(resource.name, data_dir=folder, log_level=log_level, log_form=log_form, start=start)


class _Nobody:
    """Takes records and forgets them: the access log is off."""

    def append(self, record: object, /) -> None:
        return


def _open_access_output(target: str) -> BinaryIO | None:
    if target == "off":
        return None
    try:
        return sys.stdout.buffer if target == "-" else open(target, "ab")  # as long as the process
    except OSError as error:
        message = f"cannot write {target}: {error.strerror}"
        hint = "name a file in a folder that is there, - or off"
        raise ConfigError([Violation(path="--access-log", message=message, hint=hint)]) from error


def _access_log(env: Environment, output: BinaryIO | None) -> AccessLog | None:
    if output is None:
        return None

    async def write(lines: bytes) -> None:
        output.write(lines)
        output.flush()

    return AccessLog(write, wall_clock=env.wall_clock)


def _parse_admin(text: str) -> Address:
    return parse_listen_address(text, option="--admin", loopback="the admin page has no login")


def _admin_of(dataplane: Dataplane) -> Address | None:
    return None if dataplane.admin_port is None else Address("127.0.0.1", dataplane.admin_port)
