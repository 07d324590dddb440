"""Tokens: what a sidecar, a user or a zone shows the control plane to prove who it is, as a signed JWT.

Source: Kuma's tokens: RS256, `kid` is the serial of the signing key (any text where keys are kept offline); each claim of a
dataplane token that is there binds it tighter.
A token stands in no message and no log line. Time is `now` in seconds since the epoch: the machine's clock is not asked.
Where keys and revocations come from is `mesh.identity.token_authority`'s.
"""

import math
import re
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mesh.model.errors import IdentityError
from mesh.model.randomness import Random

if TYPE_CHECKING:
    from jwt.types import Options

ALGORITHM = "RS256"
KEY_BITS = 2048
SKEW_S = 5.0  # Tokens are valid from a little earlier, and this much longer, for clocks that differ.
TOKEN_BYTES_MAX = 16384
_TOKEN_ID = re.compile(r"[^\s,]+")
LIFETIME_S_MIN = 1.0  # Dates in tokens are whole seconds.
LIFETIME_S_MAX = 10 * 365 * 86400.0
# Everything but the signature is checked here, at the caller's time.
_SIGNATURE_ONLY: "Options" = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


@attrs.frozen(eq=False)
class SigningKey:
    """One RSA key pair. Tokens name it by `kid`: its serial, which counts rotations, or any text where it is kept offline."""

    kid: str = attrs.field(converter=str)
    key: rsa.RSAPrivateKey = attrs.field(repr=False)

    @classmethod
    def create(cls, serial: int | str = 1) -> "SigningKey":
        """Make a key pair from the operating system's chance; takes some 100 ms."""
        return cls(serial, rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS))

    @property
    def serial(self) -> int:
        """The number of a key that the control plane keeps."""
        return int(self.kid)

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        return self.key.public_key()

    def encode(self) -> str:
        """Write the private key as PKCS #8 PEM: a secret."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem.decode("ascii")

    @classmethod
    def decode(cls, serial: int | str, content: str | bytes, *, checked: bool = False) -> "SigningKey":
        """Read what `encode` wrote, or Kuma: PEM, or PKCS #1 in DER. Raises: IdentityError.

        `checked`: it was read before, when it was taken in; to prove once more that its primes are primes takes some 50 ms.
        """
        data = content.encode() if isinstance(content, str) else content
        load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
        try:
            key = load(data, password=None, unsafe_skip_rsa_key_validation=checked)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise IdentityError(f"token signing key {serial} is not an unencrypted private key in PEM") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise IdentityError(f"token signing key {serial} is not an RSA key")
        if key.key_size < KEY_BITS:
            raise IdentityError(f"token signing key {serial} has {key.key_size} bits; at least {KEY_BITS} are needed")
        return cls(serial, key)


def decode_public_key(kid: str, pem: str) -> rsa.RSAPublicKey:
    """Read the public half of a key that is kept offline. Raises: IdentityError."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise IdentityError(f"token public key {kid!r} is not a public key in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < KEY_BITS:
        raise IdentityError(f"token public key {kid!r} is not an RSA key of at least {KEY_BITS} bits")
    return key


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What every token says. Dates are seconds since the epoch."""

    token_id: str = msgspec.field(name="jti")
    issued_at: float = msgspec.field(name="iat")
    not_before: float = msgspec.field(name="nbf")
    expires_at: float = msgspec.field(name="exp")


class DataplaneClaims(Claims, frozen=True, kw_only=True):
    """What a dataplane token says; an empty claim binds nothing."""

    name: str = msgspec.field(default="", name="Name")
    mesh: str = msgspec.field(default="", name="Mesh")
    tags: dict[str, list[str]] = msgspec.field(default_factory=dict, name="Tags")
    type: str = msgspec.field(default="", name="Type")
    workload: str = msgspec.field(default="", name="Workload")

    def mismatch(self, *, mesh: str, name: str, workload: str = "", tags: Mapping[str, str] | None = None) -> str:
        """Say what keeps the token from standing for this Dataplane; empty when nothing does."""
        for what, bound, actual in (
            ("mesh", self.mesh, mesh),
            ("dataplane", self.name, name),
            ("workload", self.workload, workload),
        ):
            if bound and bound != actual:
                return f"the dataplane token is for {what} {bound!r}, not {actual!r}"
        for tag, values in self.tags.items():
            actual = (tags or {}).get(tag, "")
            if actual not in values:
                return f"the dataplane token is for {tag} {' or '.join(values)}, not {actual!r}"
        return ""


class UserClaims(Claims, frozen=True, kw_only=True):
    """What a user token says; groups decide what the user may do."""

    name: str = msgspec.field(name="Name")
    groups: tuple[str, ...] = msgspec.field(default=(), name="Groups")


class ZoneClaims(Claims, frozen=True, kw_only=True):
    """What a zone token says: for which zone it is and what a proxy of that zone may be with it."""

    zone: str = msgspec.field(name="Zone")
    scope: tuple[str, ...] = msgspec.field(default=(), name="Scope")


C = TypeVar("C", bound=Claims)
_NAME: dict[type[Claims], str] = {
    DataplaneClaims: "dataplane token",
    UserClaims: "user token",
    ZoneClaims: "zone token",
}
# A claim that makes a token one of another kind, should an operator use one key for several.
_FOREIGN: dict[type[Claims], tuple[str, ...]] = {
    DataplaneClaims: ("Zone", "Groups"),
    UserClaims: ("Zone", "Mesh", "Type", "Workload", "Tags"),
    ZoneClaims: ("Mesh", "Groups", "Type", "Workload", "Tags"),
}


def issue_dataplane_token(
    key: SigningKey,
    *,
    mesh: str,
    name: str = "",
    workload: str = "",
    tags: Mapping[str, tuple[str, ...]] | None = None,
    lifetime_s: float,
    now: float,
    random: Random,
) -> str:
    """Sign a token for the Dataplanes of a mesh; what is left empty is not bound."""
    bound = {"Name": name, "Mesh": mesh, "Type": "dataplane", "Workload": workload}
    values = {tag: list(allowed) for tag, allowed in (tags or {}).items()}
    return _sign(key, {**bound, "Tags": values}, lifetime_s=lifetime_s, now=now, random=random)


def issue_user_token(
    key: SigningKey, *, name: str, groups: tuple[str, ...] = (), lifetime_s: float, now: float, random: Random
) -> str:
    """Sign a token for a user of the API."""
    claims = {"Name": name, "Groups": list(groups)}
    return _sign(key, claims, lifetime_s=lifetime_s, now=now, random=random)


def issue_zone_token(
    key: SigningKey, *, zone: str, scope: tuple[str, ...] = (), lifetime_s: float, now: float, random: Random
) -> str:
    """Sign a token for a zone."""
    return _sign(key, {"Zone": zone, "Scope": list(scope)}, lifetime_s=lifetime_s, now=now, random=random)


def _sign(key: SigningKey, claims: dict[str, Any], *, lifetime_s: float, now: float, random: Random) -> str:
    if not LIFETIME_S_MIN <= lifetime_s <= LIFETIME_S_MAX:
        raise IdentityError(f"a token lives from {LIFETIME_S_MIN:.0f} s to ten years, not {lifetime_s:g} s")
    payload = {
        **claims,
        "jti": f"{random.getrandbits(128):032x}",
        "iat": int(now - SKEW_S),
        "nbf": int(now - SKEW_S),
        "exp": int(now + lifetime_s),
    }
    return jwt.encode(payload, key.key, algorithm=ALGORITHM, headers={"kid": key.kid})


def read_claims(token: str) -> DataplaneClaims:
    """Return what a dataplane token says, unproven: for its holder, who cannot check it. Raises: IdentityError."""
    return _to_claims(read_payload(token, "dataplane token"), DataplaneClaims)


def read_payload(token: str, what: str = "token") -> dict[str, Any]:
    """Return all that a token says, unproven. Raises: IdentityError."""
    _read_header(token, what)
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        raise IdentityError(_not_a_jwt(what)) from None


def _read_header(token: str, what: str) -> dict[str, Any]:
    if len(token) > TOKEN_BYTES_MAX:
        raise IdentityError(f"the {what} is longer than {TOKEN_BYTES_MAX} bytes")
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise IdentityError(_not_a_jwt(what)) from None


def _not_a_jwt(what: str) -> str:
    return f"the {what} is not a JWT; it may be cut or mixed up with another file"


def _to_claims(payload: dict[str, Any], claims_type: type[C]) -> C:
    what = _NAME[claims_type]
    foreign = [name for name in _FOREIGN[claims_type] if payload.get(name)]
    if foreign:
        raise IdentityError(f"a claim of the {what} is wrong: {foreign[0]} belongs to another kind of token")
    try:
        claims = msgspec.convert(payload, claims_type)
    except msgspec.ValidationError as error:
        raise IdentityError(f"a claim of the {what} is wrong: {error}") from None
    if not _TOKEN_ID.fullmatch(claims.token_id):
        raise IdentityError(f"a claim of the {what} is wrong: jti could not stand in a list of revoked tokens")
    # Python reads NaN and Infinity in JSON, and nothing is ever later than either.
    if not all(map(math.isfinite, (claims.issued_at, claims.not_before, claims.expires_at))):
        raise IdentityError(f"a claim of the {what} is wrong: a date is not a number")
    return claims


@attrs.define(eq=False)
class TokenVerifier:
    """Checks tokens of one kind against the signing keys still accepted and the tokens revoked."""

    keys: Mapping[str, rsa.RSAPublicKey]  # by kid
    revoked: Container[str] = ()  # token ids

    def verify(
        self,
        token: str,
        *,
        now: float,
        mesh: str,
        name: str,
        workload: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> DataplaneClaims:
        """Return the claims if the token allows this Dataplane to connect at `now`. Raises: IdentityError with the reason."""
        claims = self.verify_dataplane(token, now=now)
        mismatch = claims.mismatch(mesh=mesh, name=name, workload=workload, tags=tags)
        if mismatch:
            raise IdentityError(mismatch)
        return claims

    def verify_dataplane(self, token: str, *, now: float) -> DataplaneClaims:
        """Return the claims of a token that is good at `now`, whatever it is bound to. Raises: IdentityError."""
        claims = self._good(token, DataplaneClaims, now)
        if claims.type not in ("", "dataplane"):
            raise IdentityError(f"the token is for a {claims.type!r}, not for a dataplane")
        return claims

    def verify_user(self, token: str, *, now: float) -> UserClaims:
        """Return the claims of a user token that is good at `now`. Raises: IdentityError."""
        return self._good(token, UserClaims, now)

    def verify_zone(self, token: str, *, now: float) -> ZoneClaims:
        """Return the claims of a zone token that is good at `now`. Raises: IdentityError."""
        return self._good(token, ZoneClaims, now)

    def _good(self, token: str, claims_type: type[C], now: float) -> C:
        what = _NAME[claims_type]
        claims = _to_claims(self._proven(token, what), claims_type)
        if claims.token_id in self.revoked:
            raise IdentityError(f"the {what} {claims.token_id} was revoked")
        if now >= claims.expires_at + SKEW_S:
            raise IdentityError(f"the {what} expired {now - claims.expires_at:.0f} s ago")
        if now < claims.not_before - SKEW_S:
            raise IdentityError(f"the {what} is not valid for another {claims.not_before - now:.0f} s")
        return claims

    def _proven(self, token: str, what: str) -> dict[str, Any]:
        """Check the signature; the algorithm is ours, not the token's."""
        kid = _read_header(token, what).get("kid")
        key = self.keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise IdentityError(f"the {what} is signed with key {str(kid)[:64]!r}, which is not accepted here")
        try:
            return jwt.decode(token, key, algorithms=[ALGORITHM], options=_SIGNATURE_ONLY)
        except jwt.InvalidAlgorithmError:
            raise IdentityError(f"the {what} is not signed with {ALGORITHM}") from None
        except jwt.InvalidSignatureError:
            raise IdentityError(f"the {what} is not signed with our key {kid}") from None
        except jwt.PyJWTError:
            raise IdentityError(f"the {what} cannot be read") from None
