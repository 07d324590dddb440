"""The same control plane and sidecar client on real sockets of this host, under real TLS."""

from pathlib import Path
from typing import cast

import structlog
import trio
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from mesh.config.snapshot import Snapshot
from mesh.control.bootstrap import ControlPlaneSecrets, load_or_create_secrets
from mesh.control.control_plane import ControlPlane, ControlPlaneSettings
from mesh.discovery.client import ControlPlaneClient, ControlPlaneClientSettings
from mesh.discovery.control_plane_tls import control_plane_tls
from mesh.identity.tls import OpenSslTls
from mesh.identity.tokens import issue_dataplane_token
from mesh.model.names import Address
from mesh.model.security import ClientTls, Svid
from mesh.resources.loading import load_resources
from mesh.runtime.environment import Environment, Reactor
from mesh.runtime.real import real_environment, wall_clock

LOOPBACK = "127.0.0.1"
IDENTITY = """
{type: MeshIdentity, name: all, mesh: retail, spec: {selector: {dataplane: {matchLabels: {}}}, provider:
  {type: Bundled, bundled: {autogenerate: {enabled: true}}}}}
"""
DATAPLANE = {
    "type": "Dataplane",
    "mesh": "retail",
    "name": "web-1",
    "labels": {"kuma.io/workload": "web"},
    "networking": {"address": LOOPBACK, "inbound": [{"port": 8080, "servicePort": 9090}]},
}


class Target:
    def __init__(self) -> None:
        self.applied = trio.Event()
        self.snapshot: Snapshot | None = None
        self.svid: Svid | None = None

    def apply(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.applied.set()

    def use_identity(self, svid: Svid) -> None:
        self.svid = svid


def environment(host: str, folder: Path, log: LogCapture) -> Environment:
    logger = structlog.wrap_logger(None, processors=[log], wrapper_class=structlog.make_filtering_bound_logger(0))
    return real_environment(
        host,
        data_dir=str(folder / host),
        reactor=cast(Reactor, None),  # neither of the two uses it
        tls=OpenSslTls(wall_clock),
        log=cast(FilteringBoundLogger, logger.bind()),
        seed=1,
    )


def client_settings(
    address: Address, secrets: ControlPlaneSecrets, tls: ClientTls, env: Environment
) -> ControlPlaneClientSettings:
    token = issue_dataplane_token(
        secrets.token_key,
        mesh="retail",
        name="web-1",
        workload="web",
        lifetime_s=60.0,
        now=env.wall_clock(),
        random=env.randomness.stream("token"),
    )
    return ControlPlaneClientSettings(
        address=address, tls=tls, token=token, dataplane=DATAPLANE, state_folder="sidecar"
    )


def test_sidecar_joins_over_tls_and_a_stranger_is_not_trusted(tmp_path: Path) -> None:
    log = LogCapture()

    async def test() -> None:
        env = environment("control-plane", tmp_path, log)
        secrets = await load_or_create_secrets(env, [LOOPBACK])
        stranger = await load_or_create_secrets(environment("stranger", tmp_path, log), [LOOPBACK])
        control_plane = ControlPlane(
            env,
            ControlPlaneSettings(
                address=Address(LOOPBACK, 0),
                resources=tuple(load_resources({"identity.yaml": IDENTITY})),
                tls=secrets.server_tls(env),
                token_verifier=secrets.token_verifier,
            ),
        )
        async with trio.open_nursery() as nursery:
            address = cast(Address, await nursery.start(control_plane.run))
            deceived_env = environment("deceived", tmp_path, log)
            deceived_tls = control_plane_tls(stranger.ca_pem, LOOPBACK)
            deceived = ControlPlaneClient(
                deceived_env, client_settings(address, secrets, deceived_tls, deceived_env), Target()
            )
            nursery.start_soon(deceived.run)
            target, client_env = Target(), environment("web-1", tmp_path, log)
            tls = control_plane_tls(secrets.ca_pem, LOOPBACK)
            client = ControlPlaneClient(client_env, client_settings(address, secrets, tls, client_env), target)
            nursery.start_soon(client.run)
            with trio.fail_after(10.0):
                await target.applied.wait()
                while not all(status.converged for status in control_plane.status()):
                    await trio.sleep(0.01)
            assert target.svid is not None
            assert str(target.svid.spiffe_id) == "spiffe://retail.default.mesh.local/workload/web"
            assert not deceived.status().connected and deceived.status().last_error
            nursery.cancel_scope.cancel()

    trio.run(test)
    assert [entry for entry in log.entries if entry["log_level"] == "error"] == []
    assert "PRIVATE KEY" not in str(log.entries)
