"""`mesh sidecar`: the proxy beside one instance of a service."""

import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import click
import trio

from mesh.cli.addresses import parse_listen_address, parse_url
from mesh.cli.credentials import name_mismatches, read_ca_certificate, read_token, token_mismatches
from mesh.cli.durations import read_duration
from mesh.cli.files import check_data_folder, read_dataplane
from mesh.cli.inputs import Inputs
from mesh.cli.names import read_name
from mesh.cli.process import run_process, with_log_options
from mesh.discovery.client import ControlPlaneClientSettings
from mesh.discovery.control_plane_endpoint import ControlPlaneEndpoint
from mesh.discovery.control_plane_tls import control_plane_tls
from mesh.discovery.dataplane_lookup import DataplaneLookup
from mesh.identity.tokens import DataplaneClaims
from mesh.model.errors import ConfigError, Violation
from mesh.model.names import Address
from mesh.proxy.local_probe import probes_of
from mesh.proxy.sidecar import Sidecar, SidecarSettings
from mesh.resources.dataplane import Dataplane
from mesh.resources.loading import load_resource
from mesh.resources.resource import DEFAULT_MESH, DNS_LABEL, NAME, Resource
from mesh.runtime.environment import Environment
from mesh.runtime.real import wall_clock
from mesh.telemetry.access_log import AccessLog

STATE_FOLDER = "sidecar"


@click.command("sidecar")
@click.option(
    "--dataplane", "dataplane_file", default=None, type=click.Path(path_type=Path), help="A file with its Dataplane."
)
@click.option("--name", default=None, help="Instead of --dataplane: the name of a Dataplane that was applied.")
@click.option("--mesh", default=None, help=f"The mesh of --name. Default: {DEFAULT_MESH}.")
@click.option("--token-file", required=True, type=click.Path(path_type=Path), help="Its token.")
@click.option(
    "--control-plane",
    "control_planes",
    required=True,
    multiple=True,
    metavar="URL",
    help="https://host:5678. Repeatable: any of an installation's control planes will do.",
)
@click.option(
    "--ca-cert-file",
    default=None,
    type=click.Path(path_type=Path),
    help="The control plane's CA, ca.pem of its data folder. Default: ca.pem beside the token.",
)
@click.option("--data", "data_dir", default=None, type=click.Path(), help="Where the last good configuration is kept.")
@click.option("--access-log", default="-", help="A file, - for standard output (default), or off.")
@click.option("--admin", default=None, metavar="IP:PORT", help="Serve /ready, /clusters, /stats, /config_dump.")
@click.option("--drain-time", default="30s", help="Longest wait for requests under way at the end.")
@click.option(
    "--drain-settle",
    default="1s",
    help="Go on taking requests for so long at the end: until the slowest caller has heard of it.",
)
@with_log_options
def command(
    dataplane_file: Path | None,
    name: str | None,
    mesh: str | None,
    token_file: Path,
    control_planes: tuple[str, ...],
    ca_cert_file: Path | None,
    data_dir: str | None,
    access_log: str,
    admin: str | None,
    drain_time: str,
    drain_settle: str,
    log_level: str,
    log_form: str,
) -> int:
    """Run the proxy beside one instance of a service.

    It asks the control plane for its certificate and configuration, and serves with the last good one while the control
    plane is away. SIGTERM drains: no request is lost.

    \b
    Examples:
      mesh sidecar --dataplane web.yaml --token-file web.token --control-plane https://cp.example:5678
      mesh sidecar --name web-1 --mesh shop --token-file web.token --control-plane https://cp.example:5678
    """
    inputs = Inputs()
    now = wall_clock()
    addresses = [inputs.read(parse_url, url, option="--control-plane") for url in dict.fromkeys(control_planes)]
    who = inputs.read(_read_who, dataplane_file, name, mesh)
    ca_pem = inputs.read(read_ca_certificate, ca_cert_file or token_file.with_name("ca.pem"), now=now)
    token = inputs.read(read_token, token_file, now=now)
    if who.is_right and token.is_right:
        inputs.refuse(who.value.mismatches(token_file, token.value[1]))
    drain_s = inputs.read(read_duration, drain_time, option="--drain-time")
    drain_settle_s = inputs.read(read_duration, drain_settle, option="--drain-settle")
    given_admin = None if admin is None else inputs.read(_parse_admin, admin)
    if data_dir is not None:
        inputs.read(check_data_folder, Path(data_dir))
    access_output = inputs.read(_open_access_output, access_log)
    inputs.check()

    endpoints = tuple(
        ControlPlaneEndpoint(address=address.value, tls=control_plane_tls(ca_pem.value, address.value.host))
        for address in addresses
    )
    identity = who.value

    async def start(env: Environment, nursery: trio.Nursery) -> Callable[[], Awaitable[None]]:
        document = identity.document
        if document is None:
            document = await _look_up(env, nursery, identity, endpoints, token.value[0])
        dataplane = load_resource(document, file="the applied Dataplane").spec_as(Dataplane)
        settings = ControlPlaneClientSettings(
            address=endpoints[0].address,
            tls=endpoints[0].tls,
            others=endpoints[1:],
            token=token.value[0],
            dataplane=identity.document or identity.reference,
            state_folder=STATE_FOLDER,
        )
        log = _access_log(env, access_output.value)
        if log is not None:
            nursery.start_soon(log.run)
        sidecar = Sidecar(
            env,
            SidecarSettings(
                control_plane=settings,
                records=log if log is not None else _Nobody(),
                probes=probes_of(dataplane),
                admin=_admin_of(dataplane) if given_admin is None else given_admin.value,
                drain_s=drain_s.value,
                drain_settle_s=drain_settle_s.value,
            ),
        )
        nursery.start_soon(sidecar.run)
        return sidecar.drain

    folder = data_dir or f".mesh/{identity.mesh}/{identity.name}"
    return run_process(identity.name, data_dir=folder, log_level=log_level, log_form=log_form, start=start)


@attrs.frozen(kw_only=True)
class _Who:
    """Which Dataplane the sidecar is; `document` None: an operator has applied it under this name, or will."""

    mesh: str
    name: str
    resource: Resource | None = None
    document: dict[str, Any] | None = None

    @property
    def reference(self) -> dict[str, Any]:
        return {"type": "Dataplane", "mesh": self.mesh, "name": self.name}

    def mismatches(self, token_file: Path, claims: DataplaneClaims) -> Iterable[Violation]:
        if self.resource is None:
            return name_mismatches(token_file, claims, mesh=self.mesh, name=self.name)
        return token_mismatches(token_file, claims, self.resource)


def _read_who(file: Path | None, name: str | None, mesh: str | None) -> _Who:
    """Read --dataplane, or --name and --mesh. Raises: ConfigError."""
    if file is not None:
        if name is not None or mesh is not None:
            hint = "name the file, or the Dataplane that was applied"
            raise ConfigError([Violation(path="--dataplane", message="stands beside --name or --mesh", hint=hint)])
        resource, document = read_dataplane(file)
        _check_servable(resource)
        return _Who(mesh=resource.mesh, name=resource.name, resource=resource, document=document)
    if name is None:
        hint = "name a file with a Dataplane, or with --name one that was applied"
        raise ConfigError([Violation(path="--dataplane", message="is missing", hint=hint)])
    inputs = Inputs()
    inputs.read(read_name, name, NAME, option="--name")
    inputs.read(read_name, DEFAULT_MESH if mesh is None else mesh, DNS_LABEL, option="--mesh")
    inputs.check()
    return _Who(mesh=DEFAULT_MESH if mesh is None else mesh, name=name)


def _check_servable(dataplane: Resource) -> None:
    """Refuse inbounds at which we and the application would both listen: traffic is not redirected to us. Raises: ConfigError."""
    source = dataplane.source
    violations = [
        Violation(
            file=source.file,
            line=source.line,
            path=f"networking.inbound[{inbound.name}]",
            message=f"the sidecar and its application would both listen on {inbound.address}",
            hint="set servicePort, or serviceAddress: 127.0.0.1",
        )
        for inbound in dataplane.spec_as(Dataplane).colliding_with_applications()
    ]
    if violations:
        raise ConfigError(violations)


async def _look_up(
    env: Environment, nursery: trio.Nursery, who: _Who, endpoints: tuple[ControlPlaneEndpoint, ...], token: str
) -> dict[str, Any]:
    """Return the applied Dataplane; a signal ends the wait for it."""
    lookup = DataplaneLookup(
        env=env, endpoints=endpoints, token=token, mesh=who.mesh, name=who.name, state_folder=STATE_FOLDER
    )
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

        async def give_up() -> None:
            async for _ in signals:
                raise KeyboardInterrupt

        found: list[dict[str, Any]] = []
        async with trio.open_nursery() as looking:
            looking.start_soon(give_up)
            found.append(await lookup.run())
            looking.cancel_scope.cancel()
    return found[0]


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
