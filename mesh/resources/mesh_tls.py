"""MeshTLS: whether inbounds take only mutual TLS (Strict) or plaintext too (Permissive).

Sidecars speak TLS 1.3 with one another and nothing older, so that a lower `max` is refused and ciphers are not chosen.
"""

from collections.abc import Iterable

from mesh.model.traffic import TlsMode
from mesh.resources.policy import Policy, policy_kind
from mesh.resources.scalars import OneOf, Text
from mesh.resources.schema import Field, ListOf, Problem, Record

_VERSIONS = ("TLSAuto", "TLS10", "TLS11", "TLS12", "TLS13")


def _version_for_all(policy: Policy) -> Iterable[Problem]:
    if policy.target.kind == "Mesh":
        return
    for index, rule in enumerate(policy.rules):
        for key in ("tlsVersion", "tlsCiphers"):
            if key in rule.default:
                yield Problem(("rules", index, "default", key), f"'{key}' needs targetRef: {{kind: Mesh}}")


MESH_TLS = policy_kind(
    "MeshTLS",
    path="meshtlses",
    short="mtls",
    rules=Record(
        {
            "mode": OneOf((TlsMode.STRICT.value, TlsMode.PERMISSIVE.value)),
            "tlsVersion": Record(
                {
                    "min": OneOf(_VERSIONS),
                    "max": OneOf(
                        ("TLSAuto", "TLS13"),
                        unsupported=dict.fromkeys(("TLS10", "TLS11", "TLS12"), "is too old: sidecars speak TLS 1.3"),
                    ),
                }
            ),
            "tlsCiphers": Field(ListOf(Text(what="a cipher's name")), dormant="TLS 1.3 has no ciphers to choose among"),
        },
    ),
    check=_version_for_all,
)
