"""Resources that are in force for a while, as an operator's mistake is until it is taken back."""

from typing import TYPE_CHECKING

import attrs

from mesh.resources.resource import Resource
from sim.faults.active import Whole
from sim.faults.control_plane.live import live_versions

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh


@attrs.define(eq=False)
class InForce(Whole):
    """Puts resources in force and takes them back, any number of times; what they replaced is there again then.

    It bit when they were refused, when some proxy refused them or came to run something else, or when an alarm was raised.
    """

    mesh: "SimulatedMesh"
    resources: tuple[Resource, ...]
    alarms: tuple[str, ...]
    _replaced: tuple[Resource, ...] = attrs.field(init=False)
    _live: dict[str, str] = attrs.field(init=False)
    _refusals: int = attrs.field(init=False)
    _errors: int = attrs.field(init=False)
    _touched: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        keys = {resource.key for resource in self.resources}
        self._replaced = tuple(resource for resource in self.mesh.resources if resource.key in keys)
        self._live = live_versions(self.mesh)
        self._refusals = len(self.mesh.control_planes.refusals)
        self._errors = len(self.mesh.world.log.errors)

    def put(self) -> None:
        """Put them in force."""
        self._replace(self.resources)

    def take_back(self) -> None:
        """Undo that."""
        self.bit()
        self._replace(self._replaced)

    def end(self) -> None:
        self.take_back()

    def _replace(self, resources: tuple[Resource, ...]) -> None:
        keys = {resource.key for resource in self.resources}
        others = [resource for resource in self.mesh.resources if resource.key not in keys]
        self.mesh.replace_resources((*others, *resources))

    def bit(self) -> bool:
        self._touched = self._touched or self._bites()
        return self._touched

    def _bites(self) -> bool:
        mesh = self.mesh
        if len(mesh.control_planes.refusals) > self._refusals or live_versions(mesh) != self._live:
            return True
        if any(event.kind in self.alarms for event in mesh.world.log.errors[self._errors :]):
            return True
        return any(status.refusal is not None for status in mesh.status().values())
