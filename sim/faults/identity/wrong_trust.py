"""`wrong-trust`: some proxies live by another trust than the rest: a migration half done, a bundle that was never handed out.

As an operator does it: a MeshIdentity gives the proxies of one service (in one zone) identities of another trust domain, with
`meshTrustCreation: Disabled` and no MeshTrust beside it. Their certificates come from an authority whose root nobody has, so
that every new handshake with them fails, both ways, while connections of before go on. It is over when the MeshIdentity is
taken back.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mesh.resources.documents import Value
from mesh.resources.loading import load_resource
from mesh.resources.resource import WORKLOAD, ZONE, Resource
from sim.faults.active import Active
from sim.faults.control_plane.in_force import InForce
from sim.scenario.draw import Draw
from sim.scenario.schema_parts import ZONE as ZONE_KEY
from sim.scenario.schema_parts import text
from sim.scenario.verb import Reach, Verb
from sim.scenario.verb_entry import VerbEntry

if TYPE_CHECKING:
    from sim.assembly import SimulatedMesh

TRUST_DOMAIN = "elsewhere.mesh.local"


@attrs.frozen(kw_only=True)
class WrongTrust(Verb):
    """Give the proxies of a service identities that nobody trusts."""

    word: ClassVar = "wrong-trust"
    about: ClassVar = "some proxies hold identities that the others do not trust"
    keys: ClassVar = {"wrong-trust": text("a service"), "zone": ZONE_KEY}
    reach: ClassVar = Reach.PROCESSES

    service: str
    zone: str = ""
    identity: Resource

    @classmethod
    def read(cls, entry: VerbEntry) -> Self:
        service, zone = entry.target(cls.word)
        if service not in entry.names.kind_by_service:
            entry.cursors[cls.word].refuse(f"'{service}' is no service: identities are given to workloads")
        return cls(service=service, zone=zone, identity=_identity(entry.mesh, service, zone))

    def title(self) -> str:
        return f"{self.word} {self.service}"

    def begin(self, mesh: "SimulatedMesh", name: str) -> Active:
        active = InForce(mesh, (self.identity,), self.alarms)
        active.put()
        return active

    @classmethod
    def drawn(cls, draw: Draw) -> dict[str, Value] | None:
        return {cls.word: draw.one_of(draw.services())}


def _identity(mesh: str, service: str, zone: str) -> Resource:
    labels = {WORKLOAD: service} | ({ZONE: zone} if zone else {})
    bundled = {"meshTrustCreation": "Disabled", "insecureAllowSelfSigned": True, "autogenerate": {"enabled": True}}
    document = {
        "type": "MeshIdentity",
        "name": f"wrong-trust-{service}",
        "mesh": mesh,
        "spec": {
            "selector": {"dataplane": {"matchLabels": labels}},
            "spiffeID": {"trustDomain": TRUST_DOMAIN},
            "provider": {"type": "Bundled", "bundled": bundled},
        },
    }
    return load_resource(document, file="wrong-trust")
