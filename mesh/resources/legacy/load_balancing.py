"""2.14's MeshLoadBalancingStrategy: hash policies inside the balancer, and the source address as one of them."""

from mesh.resources.documents import Path
from mesh.resources.legacy.policies import rewrite_policy
from mesh.resources.legacy.rewriting import Rewriting


def rewrite_load_balancing(rewriting: Rewriting) -> None:
    """Rewrite where hash policies stand, and the type SourceIP."""
    rewrite_policy(rewriting)
    for index, _ in enumerate(rewriting.sequence(("spec", "to"))):
        default: Path = ("spec", "to", index, "default")
        for balancer in ("ringHash", "maglev"):
            inside = (*default, "loadBalancer", balancer, "hashPolicies")
            if rewriting.at(inside) is not None and rewriting.at((*default, "hashPolicies")) is None:
                rewriting.put((*default, "hashPolicies"), rewriting.take(inside), origin=inside)
                rewriting.warn(
                    inside, f"'{balancer}.hashPolicies' is gone since Kuma 3.0", "rewritten: default.hashPolicies"
                )
        for number, policy in enumerate(rewriting.sequence((*default, "hashPolicies"))):
            place = (*default, "hashPolicies", number)
            if isinstance(policy, dict) and policy.get("type") == "SourceIP":
                rewriting.take((*place, "sourceIP"))
                rewriting.put((*place, "type"), "Connection", origin=(*place, "type"))
                rewriting.put((*place, "connection"), {"sourceIP": True}, origin=(*place, "type"))
                replacement = "rewritten: {type: Connection, connection: {sourceIP: true}}"
                rewriting.warn((*place, "type"), "type SourceIP is gone since Kuma 3.0", replacement)
