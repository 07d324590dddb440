"""`mesh control-plane`: tells the sidecars of a mesh what to do, and serves the API to those who run it."""

import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import click
import trio

from mesh.cli.addresses import parse_listen_address, parse_server_name
from mesh.cli.api_server import ApiOptions, ApiServer, parse_plain, parse_tls
from mesh.cli.data_lock import lock_data_folder
from mesh.cli.files import check_data_folder, read_resources
from mesh.cli.inputs import Inputs
from mesh.cli.names import read_name
from mesh.cli.open_store import SQLITE, open_store, parse_store, read_key_file
from mesh.cli.output import fail, say
from mesh.cli.process import run_process, with_log_options
from mesh.control.control_plane import ControlPlane, ControlPlaneSettings
from mesh.control.initial_resources import ADMIN_TOKEN, global_secret
from mesh.identity.tokens import SigningKey
from mesh.model.errors import ConfigError, IdentityError, MeshError, StoreError, Violation
from mesh.model.names import Address
from mesh.resources.resource import NAME, Resource
from mesh.resources.secret import Secret
from mesh.runtime.durable import write_durably
from mesh.runtime.environment import Environment

CA_FILE = "ca.pem"
ADMIN_TOKEN_FILE = "admin.token"
OBSERVED_S = 1.0  # How old what other control planes know of our proxies may be.


@click.command("control-plane")
@click.option("--data", "data_dir", required=True, type=click.Path(path_type=Path), help="Its keys and state; keep it.")
@click.option(
    "--store",
    "store_url",
    default=SQLITE,
    envvar="MESH_STORE",
    metavar="URL",
    help="sqlite (default: a file in --data), or postgresql://user:password@host/database, which control planes may share.",
)
@click.option(
    "--encryption-key-file",
    default=None,
    type=click.Path(path_type=Path),
    help="What opens the secrets in the store; made if absent. Default: in --data.",
)
@click.option(
    "--resources",
    "resource_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Files or folders with resources, which the API may then not change; read again at SIGHUP. Repeatable.",
)
@click.option("--address", default="127.0.0.1:5678", show_default=True, help="Where sidecars connect.")
@click.option("--api", default="127.0.0.1:5681", show_default=True, help="Where the API listens on loopback, or off.")
@click.option("--api-tls", default="127.0.0.1:5682", show_default=True, help="Where the API listens for HTTPS, or off.")
@click.option("--dev", is_flag=True, help="Development: whoever calls the API over loopback is the administrator.")
@click.option("--server-name", "names", multiple=True, help="Host names or addresses that others use. Repeatable.")
@click.option("--zone", default="default", show_default=True, help="The zone of Dataplanes that name none.")
@with_log_options
def command(
    data_dir: Path,
    store_url: str,
    encryption_key_file: Path | None,
    resource_paths: tuple[Path, ...],
    address: str,
    api: str,
    api_tls: str,
    dev: bool,
    names: tuple[str, ...],
    zone: str,
    log_level: str,
    log_form: str,
) -> int:
    """Run the control plane of a mesh.

    At its first start it makes its keys below --data, with ca.pem, by which others recognise it, and admin.token, with which
    its administrator uses the API.

    \b
    Examples:
      mesh control-plane --data cp --dev
      mesh control-plane --data cp --address 0.0.0.0:5678 --api-tls 0.0.0.0:5682 --server-name cp.example
    """
    inputs = Inputs()
    inputs.read(check_data_folder, data_dir)
    store = inputs.read(parse_store, store_url)
    listening = inputs.read(parse_listen_address, address, option="--address", any_port=True)
    plain, tls = inputs.read(parse_plain, api), inputs.read(parse_tls, api_tls)
    for name in names:
        inputs.read(parse_server_name, name, option="--server-name")
    inputs.read(read_name, zone, NAME, option="--zone")
    resources = inputs.read(read_resources, resource_paths) if resource_paths else None
    inputs.check()
    keys = None if encryption_key_file is None else inputs.read(read_key_file, encryption_key_file)
    inputs.check()
    program = _Program(
        data_dir=data_dir,
        store_url=store.value,
        keys=None if keys is None else keys.value,
        resource_paths=resource_paths,
        resources=None if resources is None else tuple(resources.value),
        address=listening.value,
        api=ApiOptions(plain=plain.value, tls=tls.value, dev=dev),
        server_names=_server_names(names, listening.value, tls.value),
        zone=zone,
    )
    return run_process(
        "control-plane", data_dir=str(data_dir), log_level=log_level, log_form=log_form, start=program.start
    )


def _server_names(names: tuple[str, ...], address: Address, api_tls: Address | None) -> tuple[str, ...]:
    listening = (address.host, *(() if api_tls is None else (api_tls.host,)))
    found = dict.fromkeys((*names, *listening, "localhost", "127.0.0.1"))
    return tuple(name for name in found if name not in ("0.0.0.0", "::"))


@attrs.frozen(kw_only=True)
class _Program:
    """One run of the command, its options checked."""

    data_dir: Path
    store_url: str
    keys: tuple[bytes, ...] | None = attrs.field(repr=False)
    resource_paths: tuple[Path, ...]
    resources: tuple[Resource, ...] | None
    address: Address
    api: ApiOptions
    server_names: tuple[str, ...]
    zone: str

    async def start(self, env: Environment, nursery: trio.Nursery) -> Callable[[], Awaitable[None]]:
        lock_data_folder(self.data_dir)
        plane = await self._prepare(env)
        api = ApiServer(
            env=env,
            plane=plane,
            options=self.api,
            data_dir=self.data_dir,
            store=self._store_kind,
            zone=self.zone,
            host_name=socket.gethostname(),
            config=self._public_config(),
        )
        bound = await nursery.start(plane.run)
        if self.resource_paths:
            await nursery.start(_reload_on_hangup, self.resource_paths, plane)
        if self.api.plain is None and self.api.tls is None:
            say(f"control plane on https://{bound}, CA certificate in {self.data_dir / CA_FILE}")
            return _nothing_to_drain
        where = await nursery.start(api.run)
        for scheme, at in (("http", where.plain), ("https", where.tls)):
            if at is not None:
                say(f"API on {scheme}://{at}, its administrator's token in {self.data_dir / ADMIN_TOKEN_FILE}")
        say(f"control plane on https://{bound}, CA certificate in {self.data_dir / CA_FILE}")
        return api.stop

    async def _prepare(self, env: Environment) -> ControlPlane:
        settings = ControlPlaneSettings(
            address=self.address,
            resources=self.resources,
            server_names=self.server_names,
            zone=self.zone,
            host_name=socket.gethostname(),
            shared_store=self._is_shared,
            new_signing_key=_make_signing_key,
        )
        if self._is_shared:
            settings = attrs.evolve(settings, insight_interval_s=OBSERVED_S)
        try:
            plane = ControlPlane(env, settings, await open_store(env, self.store_url, self.keys))
            await plane.prepare()
            await write_durably(env.disk, CA_FILE, plane.secrets.ca_pem.encode())
            await self._write_admin_token(env, plane)
        except OSError as error:
            message = f"cannot keep the control plane's keys: {error.strerror}"
            hint = "name another --data"
            raise ConfigError([Violation(file=str(self.data_dir), message=message, hint=hint)]) from error
        except (IdentityError, UnicodeDecodeError) as error:
            hint = "bring it back from a copy: with other keys, no sidecar would recognise this control plane"
            message = f"a key is damaged: {error}"
            raise ConfigError([Violation(file=str(self.data_dir), message=message, hint=hint)]) from None
        except StoreError as error:
            raise ConfigError([Violation(path="--store", message=str(error))]) from error
        return plane

    async def _write_admin_token(self, env: Environment, plane: ControlPlane) -> None:
        stored = plane.catalogue.get(global_secret(ADMIN_TOKEN))
        if stored is not None:
            await write_durably(env.disk, ADMIN_TOKEN_FILE, stored.resource.spec_as(Secret).data + b"\n")

    @property
    def _is_shared(self) -> bool:
        return self.store_url != SQLITE

    @property
    def _store_kind(self) -> str:
        return "postgres" if self._is_shared else SQLITE

    def _public_config(self) -> dict[str, object]:
        """Return what anybody who may use the API may know of our options."""
        api = {"plain": str(self.api.plain or "off"), "tls": str(self.api.tls or "off"), "dev": self.api.dev}
        return {
            "store": {"type": self._store_kind},
            "address": str(self.address),
            "api": api,
            "serverNames": list(self.server_names),
            "zone": self.zone,
            "resources": [str(path) for path in self.resource_paths],
        }


async def _nothing_to_drain() -> None:
    """Sidecars go on without us, so there is nothing to finish."""


async def _reload_on_hangup(
    paths: tuple[Path, ...], plane: ControlPlane, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            try:
                await plane.replace_resources(tuple(read_resources(paths)))
            except MeshError as error:
                fail(error)
                say("the resources stay as they were")
            else:
                say("the resources were read again")


async def _make_signing_key(serial: int) -> SigningKey:
    """Make a key beside everything else: it takes some 100 ms."""
    return await trio.to_thread.run_sync(SigningKey.create, serial)
