"""The members of a mesh as a control plane before the store kept them: a file, read once, at the upgrade.

Without it the first sidecar to come back would be told that all others are gone.
"""

from typing import Any

import msgspec
import trio

from mesh.control.registry import Registry
from mesh.control.shared_members import SharedMembers
from mesh.model.errors import ConfigError
from mesh.model.names import ProxyId
from mesh.resources.loading import load_resource
from mesh.runtime.environment import Environment

FILE = "control-plane/registry.json"


class _Member(msgspec.Struct, frozen=True):
    dataplane: dict[str, Any]
    inbounds: dict[str, bool]


class _Members(msgspec.Struct, frozen=True):
    members: list[_Member]


async def restore_old_registry(env: Environment, registry: Registry, shared: SharedMembers) -> None:
    """Enter the members of that file, where there is one; each has a while to come back."""
    try:
        members = msgspec.json.decode(await env.disk.read(FILE), type=_Members).members
        found = [(load_resource(member.dataplane, file=FILE), member.inbounds) for member in members]
    except FileNotFoundError:
        return
    except (OSError, msgspec.DecodeError, UnicodeError, ConfigError) as error:
        env.log.warning("registry.not_restored", path=FILE, reason=str(error))
        return
    for dataplane, inbounds in found:
        proxy = ProxyId(dataplane.mesh, dataplane.name)
        registry.restore(proxy, dataplane, inbounds, trio.current_time())
        shared.note(proxy, joined=True)
    env.log.info("registry.restored", proxies=len(found))
