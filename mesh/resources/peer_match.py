"""Who calls: by SPIFFE ID, exactly or by how it begins, and by the server name that was asked for."""

from collections.abc import Iterable
from typing import Any

from mesh.policy.authorization import MatchKind, PeerMatch
from mesh.resources.scalars import OneOf, Text
from mesh.resources.schema import Field, Problem, Record

_SPIFFE_ID = Record(
    {
        "type": Field(OneOf(tuple(kind.value for kind in MatchKind)), required=True),
        "value": Field(Text(what="a SPIFFE ID, or how one begins", pattern=r"spiffe://\S*"), required=True),
    }
)
_SNI = Record({"type": Field(OneOf(("Exact",)), required=True), "value": Field(Text(), required=True)})


def peer_match() -> Record:
    """Return the schema of a match on who calls."""
    return Record({"spiffeID": _SPIFFE_ID, "sni": _SNI}, check=_some, build=_build)


def _some(match: dict[str, Any]) -> Iterable[Problem]:
    if not match:
        yield Problem((), "a match needs 'spiffeID' or 'sni'", "leave the match out to mean everybody")


def _build(match: dict[str, Any]) -> PeerMatch:
    who = match.get("spiffeID")
    return PeerMatch(
        spiffe_id_kind=MatchKind(who["type"]) if who else MatchKind.EXACT,
        spiffe_id=who["value"] if who else "",
        # In lower case, as connections have it: a denial that is written otherwise would deny nobody.
        sni=match["sni"]["value"].lower() if "sni" in match else "",
    )
