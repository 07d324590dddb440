"""Starts the processes of instances and edges on this machine."""

import os
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import trio

from mesh.runtime.environment import Process
from sim.local.control_plane import ControlPlane
from sim.local.forker import Forker
from sim.local.hosts import LocalHost
from sim.local.settings import ProcessSettings
from sim.local.sockets import Sockets
from sim.scenario.scenario import Scenario

DRAIN_S = 10.0
_SECRET_MODE = 0o600


class Program:
    """Launches what runs on one host: its application or its users, then its sidecar."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        overrides: tuple[str, ...],
        folder: Path,
        sockets: Sockets,
        forker: Forker,
        control_plane: ControlPlane,
    ) -> None:
        self._scenario = scenario
        self._file = os.path.abspath(scenario.file)
        self._overrides = overrides
        self._folder = folder
        self._sockets = sockets
        self._forker = forker
        self._control_plane = control_plane

    async def launch(self, host: LocalHost) -> AsyncGenerator[Process, None]:
        """Start the processes of a host. Raises: ConfigError."""
        folder = self._folder / host.name
        folder.mkdir(exist_ok=True)
        member = host.member
        assert member is not None, "control planes are launched otherwise"
        if not member.token:
            member.token, member.token_id = self._control_plane.token(host.name, member.what.workload)
        if member.starts_after_s:
            await trio.sleep(member.starts_after_s)
        token = folder / "token"
        token.touch(_SECRET_MODE)  # Before the token is in it.
        token.write_text(member.token)
        application = "service" if host.place.service else "users"
        yield await self._start(host, application, folder, token)
        # Its sidecar's first probe finds it, as in simulation.
        await host.started(application)
        yield await self._start(host, "sidecar", folder, token)

    async def _start(self, host: LocalHost, role: str, folder: Path, token: Path) -> Process:
        settings = ProcessSettings(
            role=role,
            place=host.place,
            scenario_file=self._file,
            variant=self._scenario.variant,
            overrides=self._overrides,
            seed=self._scenario.seed,
            incarnation=host.incarnation,
            data_dir=str(folder / role),
            runner=self._sockets.runner,
            graveyard=self._sockets.graveyard,
            control_plane_ca=self._control_plane.ca_file,
            token=str(token),
            drain_s=DRAIN_S,
        )
        file = folder / f"{role}.json"
        file.write_bytes(msgspec.json.encode(settings))
        return await self._forker.start(str(file), log=str(self._folder / "logs" / f"{host.name}-{role}.log"))
