"""What a sidecar is handed to prove itself and to recognise its control plane, checked as far as that is possible offline.

No message quotes a token. Time is `now` in seconds since the epoch.
"""

from collections.abc import Iterator
from pathlib import Path

from mesh.cli.files import read_text
from mesh.identity.certificate import decode_chain, utc
from mesh.identity.tokens import SKEW_S, TOKEN_BYTES_MAX, DataplaneClaims, read_claims
from mesh.model.errors import ConfigError, IdentityError, Violation
from mesh.resources.resource import WORKLOAD, ZONE, Resource

TOKEN_HINT = "make one with mesh generate dataplane-token"
CA_HINT = "copy ca.pem from the control plane's data folder"


def read_token(path: Path, *, now: float) -> tuple[str, DataplaneClaims]:
    """Return the token in a file and what it says; only the control plane can check its signature. Raises: ConfigError."""
    token = read_text(path, what="the token", hint=TOKEN_HINT).strip()
    if len(token) > TOKEN_BYTES_MAX or token.count(".") != 2 or not token.isascii() or any(map(str.isspace, token)):
        raise ConfigError([_token_violation(path, "this is not a token (three parts joined by dots)")])
    try:
        claims = read_claims(token)
    except IdentityError as error:
        raise ConfigError([_token_violation(path, str(error))]) from None
    if now >= claims.expires_at + SKEW_S:
        raise ConfigError([_token_violation(path, f"the token expired on {_date(claims.expires_at)}")])
    return token, claims


def token_mismatches(path: Path, claims: DataplaneClaims, dataplane: Resource) -> Iterator[Violation]:
    """Compare what a token is bound to with the Dataplane that shows it; what it does not name binds nothing."""
    yield from _type_mismatches(path, claims)
    workload = dataplane.labels.get(WORKLOAD, "")
    for what, bound, actual in (
        ("mesh", claims.mesh, dataplane.mesh),
        ("Dataplane", claims.name, dataplane.name),
        ("workload", claims.workload, workload),
    ):
        if bound and bound != actual:
            written = f"the Dataplane's is {actual!r}" if actual else f"the Dataplane has none (label {WORKLOAD})"
            yield _token_violation(path, f"the token is for the {what} {bound!r}; {written}")
    for tag, values in claims.tags.items():
        if tag == ZONE and tag not in dataplane.labels:
            continue  # The control plane gives it its own.
        if dataplane.labels.get(tag, "") not in values:
            yield _token_violation(path, f"the token is for the label {tag}: {' or '.join(values)}")


def name_mismatches(path: Path, claims: DataplaneClaims, *, mesh: str, name: str) -> Iterator[Violation]:
    """Compare what a token is bound to with the name of a Dataplane that only the control plane knows."""
    yield from _type_mismatches(path, claims)
    for what, bound, actual in (("mesh", claims.mesh, mesh), ("Dataplane", claims.name, name)):
        if bound and bound != actual:
            yield _token_violation(path, f"the token is for the {what} {bound!r}; the sidecar's is {actual!r}")


def _type_mismatches(path: Path, claims: DataplaneClaims) -> Iterator[Violation]:
    if claims.type not in ("", "dataplane"):
        yield _token_violation(path, f"the token is for a {claims.type!r}, not for a dataplane")


def read_ca_certificate(path: Path, *, now: float) -> str:
    """Return the certificate with which the control plane is recognised; it is in date. Raises: ConfigError."""
    pem = read_text(path, what="the control plane's CA certificate", hint=CA_HINT)
    if "-----BEGIN CERTIFICATE-----" not in pem:
        raise ConfigError([_ca_violation(path, "no certificate in PEM")])
    try:
        certificates = decode_chain(pem)
    except IdentityError:
        raise ConfigError([_ca_violation(path, "the certificate is damaged")]) from None
    today = utc(now)
    if all(today > certificate.not_valid_after_utc for certificate in certificates):
        latest = max(certificate.not_valid_after_utc for certificate in certificates)
        raise ConfigError([_ca_violation(path, f"the CA certificate expired on {_date(latest.timestamp())}")])
    if not any(c.not_valid_before_utc <= today <= c.not_valid_after_utc for c in certificates):
        earliest = min(certificate.not_valid_before_utc for certificate in certificates)
        message = f"the CA certificate is not valid before {_date(earliest.timestamp())}; it is {_date(now)} here"
        hint = "set this machine's clock"
        raise ConfigError([Violation(file=str(path), message=message, hint=hint)])
    return pem


def _date(seconds: float) -> str:
    try:
        return f"{utc(seconds):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s after 1970"


def _token_violation(path: Path, message: str) -> Violation:
    return Violation(file=str(path), message=message, hint=TOKEN_HINT)


def _ca_violation(path: Path, message: str) -> Violation:
    return Violation(file=str(path), message=message, hint=CA_HINT)
