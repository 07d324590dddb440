"""RegistryFile: who was in the mesh, kept on disk, so that a control plane that restarts does not take its mesh for empty.

Without it the first sidecar to come back would be told that all others are gone.
"""

from typing import Any

import attrs
import msgspec
import trio

from mesh.control.registry import Registry
from mesh.discovery.wake_up import WakeUp
from mesh.model.errors import ConfigError
from mesh.model.names import ProxyId
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource
from mesh.runtime.durable import write_durably
from mesh.runtime.environment import Environment

WRITE_INTERVAL_S = 1.0  # Joins come in crowds; a second of them may be lost in a crash.


class _Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dataplane: dict[str, Any]
    inbounds: dict[str, bool]


class _Members(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    members: list[_Member]
    format: int = 1


@attrs.define(eq=False)
class RegistryFile:
    """The file behind one registry; the registry stays the truth."""

    env: Environment
    registry: Registry
    path: str
    changed: WakeUp = attrs.field(factory=WakeUp, init=False)
    _written: bytes = attrs.field(default=b"", init=False)

    async def restore(self) -> None:
        """Enter the members of the last life into the registry; each has a while to come back."""
        try:
            members = msgspec.json.decode(await self.env.disk.read(self.path), type=_Members).members
            found = [(_resource(member), member.inbounds) for member in members]
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, UnicodeError, ConfigError) as error:
            self.env.log.warning("registry.not_restored", path=self.path, reason=str(error))
            return
        now = trio.current_time()
        for dataplane, inbounds in found:
            self.registry.restore(ProxyId(dataplane.mesh, dataplane.name), dataplane, inbounds, now)
        self.env.log.info("registry.restored", proxies=len(found))

    async def run(self) -> None:
        """Write changes until cancelled, at most one a second."""
        while True:
            await self.changed.wait()
            data = self._encode()
            if data != self._written:
                try:
                    await write_durably(self.env.disk, self.path, data)
                    self._written = data
                except OSError as error:
                    self.env.log.warning("registry.not_kept", path=self.path, reason=str(error))
            await trio.sleep(WRITE_INTERVAL_S)

    def _encode(self) -> bytes:
        members = [
            _Member({**live.dataplane.written, "labels": dict(live.dataplane.labels)}, dict(live.inbounds))
            for live in self.registry.proxies()
        ]
        return msgspec.json.encode(_Members(members))


def _resource(member: _Member) -> Resource:
    return load_resource(member.dataplane, file="the registry on disk")
