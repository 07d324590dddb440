"""The control plane's HTTP API on real sockets: where it listens, with which certificate, and what it says of itself."""

import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from mesh.cli.addresses import parse_listen_address
from mesh.control.api.app import make_app
from mesh.control.api.ports import ApiSettings
from mesh.control.bootstrap import keep_server_certificate
from mesh.control.control_plane import ControlPlane
from mesh.identity.rotation import encode_svid
from mesh.model.names import Address
from mesh.model.security import ServerTls
from mesh.runtime.environment import Environment
from mesh.runtime.real.asgi_server import Bound, serve, server_context

OFF = "off"


@attrs.frozen(kw_only=True)
class ApiOptions:
    """Where the API listens; None: not in this way. `dev`: who calls over loopback is the administrator."""

    plain: Address | None
    tls: Address | None
    dev: bool = False


def parse_plain(text: str) -> Address | None:
    """Read --api. Raises: ConfigError."""
    loopback = "tokens would be read on the way; others use HTTPS, --api-tls"
    return None if text == OFF else parse_listen_address(text, option="--api", loopback=loopback, any_port=True)


def parse_tls(text: str) -> Address | None:
    """Read --api-tls. Raises: ConfigError."""
    return None if text == OFF else parse_listen_address(text, option="--api-tls", any_port=True)


@attrs.define(eq=False, kw_only=True)
class ApiServer:
    """The API of one control plane."""

    env: Environment
    plane: ControlPlane
    options: ApiOptions
    data_dir: Path
    store: str
    zone: str
    host_name: str
    config: Mapping[str, Any]
    _stopping: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stopped: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def run(self, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop` or cancelled; reports where. Raises: ConfigError naming an address that cannot be had."""
        options = self.options
        async with trio.open_nursery() as nursery:
            tls = None
            if options.tls is not None:
                tls = (options.tls, await self._prepare_tls(nursery))
            await serve(
                make_app(self.plane, settings=self._settings(), env=self.env),
                plain=options.plain,
                tls=tls,
                log=self.env.log,
                shutdown=self._stopping.wait,
                task_status=task_status,
            )
            nursery.cancel_scope.cancel()
        self._stopped.set()

    async def stop(self) -> None:
        """Take no more requests, and finish those under way."""
        self._stopping.set()
        await self._stopped.wait()

    async def _prepare_tls(self, nursery: trio.Nursery) -> ssl.SSLContext:
        context = server_context()

        def use(tls: ServerTls) -> None:
            _load(context, encode_svid(tls.svid), self.data_dir)

        use(self.plane.secrets.server_tls(self.env))
        nursery.start_soon(keep_server_certificate, self.env, self.plane.secrets, use)
        return context

    def _settings(self) -> ApiSettings:
        return ApiSettings(
            instance_id=self.plane.instance,
            cluster_id=self.plane.secrets.cluster_id,
            hostname=self.host_name,
            dev=self.options.dev,
            store=self.store,
            zone=self.zone,
            config=self.config,
        )


def _load(context: ssl.SSLContext, pem: bytes, folder: Path) -> None:
    """Load certificate and key, which OpenSSL takes from a file alone: ours lives for a moment, for our eyes only."""
    descriptor, path = tempfile.mkstemp(dir=folder, prefix=".api-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)
