"""MeshTLS: whether inbounds take only mutual TLS (Strict) or plaintext too (Permissive), and which TLS they speak.

Without a word sidecars speak TLS 1.3 with one another and nothing older. TLS 1.2 is there for whoever asks for it, older
versions are not: OpenSSL no longer takes them for safe. Source: Kuma `api/common/v1alpha1/tls` for the names.
"""

from collections.abc import Iterable
from typing import Any

from mesh.model.traffic import TlsMode
from mesh.resources.policy import Policy, policy_kind
from mesh.resources.scalars import OneOf
from mesh.resources.schema import ListOf, Problem, Record

_OLD = ("TLS10", "TLS11")
_CIPHERS = tuple(
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
)


def _ordered(version: dict[str, Any]) -> Iterable[Problem]:
    if (version.get("min"), version.get("max")) == ("TLS13", "TLS12"):
        yield Problem(("min",), "'min' is above 'max'")


def _ciphers_count(conf: dict[str, Any]) -> Iterable[Problem]:
    if "tlsCiphers" not in conf:
        return
    version = conf.get("tlsVersion", {})
    path = ("tlsCiphers",)
    if not any("-ECDSA-" in cipher for cipher in conf["tlsCiphers"]):
        # The keys of identities are no RSA keys.
        problem = "sidecars can agree on none of them: they need one of ECDHE-ECDSA-*"
        yield Problem(path, problem, warning=version.get("max") != "TLS12")
    elif "TLS12" not in version.values() and not any(old in version.values() for old in _OLD):
        hint = "they count in TLS 1.2: tlsVersion: {min: TLS12}"
        yield Problem(path, "TLS 1.3 has no ciphers to choose among", hint, warning=True)


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
                    "min": OneOf(
                        ("TLSAuto", *_OLD, "TLS12", "TLS13"),
                        dormant=dict.fromkeys(_OLD, "sidecars speak nothing older than TLS 1.2"),
                    ),
                    "max": OneOf(
                        ("TLSAuto", "TLS12", "TLS13"),
                        unsupported=dict.fromkeys(_OLD, "is insecure: sidecars speak TLS 1.2 and 1.3"),
                    ),
                },
                check=_ordered,
            ),
            "tlsCiphers": ListOf(OneOf(_CIPHERS)),
        },
        check=_ciphers_count,
    ),
    check=_version_for_all,
)
