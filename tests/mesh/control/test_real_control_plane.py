"""The same control plane and sidecar client on real sockets of this host, under real TLS."""

from pathlib import Path
from typing import cast

import structlog
import trio
from memory_store import same_key
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from mesh.config.snapshot import Snapshot
from mesh.control.control_plane import ControlPlane, ControlPlaneSettings
from mesh.control.store.sealing import load_sealer
from mesh.control.store.store import Store
from mesh.discovery.client import ControlPlaneClient, ControlPlaneClientSettings
from mesh.discovery.control_plane_tls import control_plane_tls
from mesh.identity.tls import OpenSslTls
from mesh.identity.token_authority import TokenAuthority
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


async def control_plane_at(env: Environment) -> ControlPlane:
    """Return a control plane that is ready to run, with a store on the real disk."""
    store = await Store.open(
        await env.disk.open_database("mesh.db"),
        sealer=await load_sealer(env, "encryption.key"),
        wall_clock=env.wall_clock,
        log=env.log,
    )
    settings = ControlPlaneSettings(
        address=Address(LOOPBACK, 0),
        resources=tuple(load_resources({"identity.yaml": IDENTITY})),
        server_names=(LOOPBACK,),
        new_signing_key=same_key,
    )
    control_plane = ControlPlane(env, settings, store)
    await control_plane.prepare()
    return control_plane


def client_settings(
    address: Address, tokens: TokenAuthority, tls: ClientTls, env: Environment
) -> ControlPlaneClientSettings:
    token = tokens.issue_dataplane(
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
        control_plane = await control_plane_at(env)
        stranger = await control_plane_at(environment("stranger", tmp_path, log))
        async with trio.open_nursery() as nursery:
            address = cast(Address, await nursery.start(control_plane.run))
            deceived_env = environment("deceived", tmp_path, log)
            deceived_tls = control_plane_tls(stranger.secrets.ca_pem, LOOPBACK)
            deceived = ControlPlaneClient(
                deceived_env, client_settings(address, control_plane.tokens, deceived_tls, deceived_env), Target()
            )
            nursery.start_soon(deceived.run)
            target, client_env = Target(), environment("web-1", tmp_path, log)
            tls = control_plane_tls(control_plane.secrets.ca_pem, LOOPBACK)
            client = ControlPlaneClient(
                client_env, client_settings(address, control_plane.tokens, tls, client_env), target
            )
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
