"""`mesh control-plane`: tells the sidecars of a mesh what to do."""

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import trio

from mesh.cli.addresses import parse_listen_address, parse_server_name
from mesh.cli.files import check_data_folder, read_resources
from mesh.cli.inputs import Inputs
from mesh.cli.names import read_name
from mesh.cli.output import fail, say
from mesh.cli.process import run_process, with_log_options
from mesh.control.bootstrap import FOLDER, ControlPlaneSecrets, keep_server_certificate, load_or_create_secrets
from mesh.control.control_plane import ControlPlane, ControlPlaneSettings
from mesh.model.errors import ConfigError, IdentityError, Violation
from mesh.resources.resource import NAME
from mesh.runtime.durable import write_durably
from mesh.runtime.environment import Environment

CA_FILE = "ca.pem"


@click.command("control-plane")
@click.option("--data", "data_dir", required=True, type=click.Path(path_type=Path), help="Its keys and state; keep it.")
@click.option(
    "--resources",
    "resource_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Files or folders with Mesh, policies and so on; read again at SIGHUP. Repeatable.",
)
@click.option("--address", default="127.0.0.1:5678", show_default=True, help="Where sidecars connect.")
@click.option("--server-name", "names", multiple=True, help="Host names or addresses that sidecars use. Repeatable.")
@click.option("--zone", default="default", show_default=True, help="The zone of Dataplanes that name none.")
@with_log_options
def command(
    data_dir: Path,
    resource_paths: tuple[Path, ...],
    address: str,
    names: tuple[str, ...],
    zone: str,
    log_level: str,
    log_form: str,
) -> int:
    """Run the control plane of a mesh.

    At its first start it makes its keys below --data, with ca.pem, which sidecars need to recognise it.
    """
    inputs = Inputs()
    inputs.read(check_data_folder, data_dir)
    listening = inputs.read(parse_listen_address, address, option="--address", any_port=True)
    for name in names:
        inputs.read(parse_server_name, name, option="--server-name")
    inputs.read(read_name, zone, NAME, option="--zone")
    resources = inputs.read(read_resources, resource_paths)
    inputs.check()
    listen = listening.value
    server_names = tuple(dict.fromkeys((*names, listen.host, "localhost", "127.0.0.1")))
    server_names = tuple(name for name in server_names if name not in ("0.0.0.0", "::"))

    async def start(env: Environment, nursery: trio.Nursery) -> Callable[[], Awaitable[None]]:
        secrets = await _prepare_secrets(env, server_names, data_dir)
        plane = ControlPlane(
            env,
            ControlPlaneSettings(
                address=listen,
                resources=tuple(resources.value),
                tls=secrets.server_tls(env),
                token_verifier=secrets.token_verifier,
                zone=zone,
            ),
        )
        bound = await nursery.start(plane.run)
        nursery.start_soon(keep_server_certificate, env, secrets, plane.use_tls)
        await nursery.start(_reload_on_hangup, resource_paths, plane)
        say(f"control plane on https://{bound}, CA certificate in {data_dir / CA_FILE}")
        return _nothing_to_drain

    return run_process("control-plane", data_dir=str(data_dir), log_level=log_level, log_form=log_form, start=start)


async def _prepare_secrets(env: Environment, server_names: tuple[str, ...], data_dir: Path) -> ControlPlaneSecrets:
    try:
        secrets = await load_or_create_secrets(env, server_names)
        await write_durably(env.disk, CA_FILE, secrets.ca_pem.encode())
    except OSError as error:
        message = f"cannot keep the control plane's keys: {error.strerror}"
        raise ConfigError([Violation(file=str(data_dir), message=message, hint="name another --data")]) from error
    except (IdentityError, UnicodeDecodeError) as error:
        hint = "bring it back from a copy: with other keys, no sidecar would recognise this control plane"
        raise ConfigError(
            [Violation(file=str(data_dir / FOLDER), message=f"a key is damaged: {error}", hint=hint)]
        ) from None
    return secrets


async def _nothing_to_drain() -> None:
    """Sidecars go on without us, so there is nothing to finish."""


async def _reload_on_hangup(
    paths: tuple[Path, ...], plane: ControlPlane, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            try:
                plane.replace_resources(tuple(read_resources(paths)))
            except ConfigError as error:
                fail(error)
                say("the resources stay as they were")
            else:
                say("the resources were read again")
