"""Tokens: what a sidecar shows the control plane to prove which Dataplane it is, as a signed JWT.

Source: Kuma's dataplane token: RS256, `kid` is the serial of the signing key, each claim that is there binds the token tighter.
A token stands in no message and no log line. Time is `now` in seconds since the epoch: the machine's clock is not asked.
"""

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

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


_NOT_A_JWT = "the dataplane token is not a JWT; it may be cut or mixed up with another file"


@attrs.frozen(eq=False)
class SigningKey:
    """One RSA key pair; `serial` counts rotations and is the token's `kid`."""

    serial: int
    key: rsa.RSAPrivateKey = attrs.field(repr=False)

    @classmethod
    def create(cls, serial: int = 1) -> "SigningKey":
        """Make a key pair from the operating system's chance; takes some 100 ms."""
        return cls(serial, rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS))

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
    def decode(cls, serial: int, pem: str) -> "SigningKey":
        """Read what `encode` wrote. Raises: IdentityError."""
        try:
            key = serialization.load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise IdentityError(f"token signing key {serial} is not an unencrypted private key in PEM") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise IdentityError(f"token signing key {serial} is not an RSA key")
        return cls(serial, key)


class DataplaneClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataplane token says; an empty claim binds nothing."""

    name: str = msgspec.field(default="", name="Name")
    mesh: str = msgspec.field(default="", name="Mesh")
    tags: dict[str, list[str]] = msgspec.field(default_factory=dict, name="Tags")
    type: str = msgspec.field(default="", name="Type")
    workload: str = msgspec.field(default="", name="Workload")
    token_id: str = msgspec.field(name="jti")
    issued_at: float = msgspec.field(name="iat")
    not_before: float = msgspec.field(name="nbf")
    expires_at: float = msgspec.field(name="exp")


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
    claims = DataplaneClaims(
        name=name,
        mesh=mesh,
        tags={tag: list(values) for tag, values in (tags or {}).items()},
        type="dataplane",
        workload=workload,
        token_id=f"{random.getrandbits(128):032x}",
        issued_at=int(now - SKEW_S),
        not_before=int(now - SKEW_S),
        expires_at=int(now + lifetime_s),
    )
    payload = msgspec.to_builtins(claims)
    return jwt.encode(payload, key.key, algorithm=ALGORITHM, headers={"kid": str(key.serial)})


def read_claims(token: str) -> DataplaneClaims:
    """Return what a token says, unproven: for its holder, who cannot check the signature. Raises: IdentityError."""
    _read_header(token)
    try:
        return _to_claims(jwt.decode(token, options={"verify_signature": False}))
    except jwt.PyJWTError:
        raise IdentityError(_NOT_A_JWT) from None


def _read_header(token: str) -> dict[str, Any]:
    if len(token) > TOKEN_BYTES_MAX:
        raise IdentityError(f"the dataplane token is longer than {TOKEN_BYTES_MAX} bytes")
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise IdentityError(_NOT_A_JWT) from None


def _to_claims(payload: dict[str, Any]) -> DataplaneClaims:
    try:
        return msgspec.convert(payload, DataplaneClaims)
    except msgspec.ValidationError as error:
        raise IdentityError(f"a claim of the dataplane token is wrong: {error}") from None


@attrs.define(eq=False)
class TokenVerifier:
    """Checks dataplane tokens against the signing keys still accepted and the tokens revoked."""

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
        claims = self._claims(token)
        if claims.token_id in self.revoked:
            raise IdentityError(f"the dataplane token {claims.token_id} was revoked")
        if now >= claims.expires_at + SKEW_S:
            raise IdentityError(f"the dataplane token expired {now - claims.expires_at:.0f} s ago")
        if now < claims.not_before - SKEW_S:
            raise IdentityError(f"the dataplane token is not valid for another {claims.not_before - now:.0f} s")
        if claims.type not in ("", "dataplane"):
            raise IdentityError(f"the token is for a {claims.type!r}, not for a dataplane")
        for what, bound, actual in (
            ("mesh", claims.mesh, mesh),
            ("dataplane", claims.name, name),
            ("workload", claims.workload, workload),
        ):
            if bound and bound != actual:
                raise IdentityError(f"the dataplane token is for {what} {bound!r}, not {actual!r}")
        for tag, values in claims.tags.items():
            actual = (tags or {}).get(tag, "")
            if actual not in values:
                raise IdentityError(f"the dataplane token is for {tag} {' or '.join(values)}, not {actual!r}")
        return claims

    def _claims(self, token: str) -> DataplaneClaims:
        """Check the signature; the algorithm is ours, not the token's."""
        kid = _read_header(token).get("kid")
        key = self.keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise IdentityError(f"the dataplane token is signed with key {str(kid)[:64]!r}, which is not accepted here")
        try:
            return _to_claims(jwt.decode(token, key, algorithms=[ALGORITHM], options=_SIGNATURE_ONLY))
        except jwt.InvalidAlgorithmError:
            raise IdentityError(f"the dataplane token is not signed with {ALGORITHM}") from None
        except jwt.InvalidSignatureError:
            raise IdentityError(f"the dataplane token is not signed with our key {kid}") from None
        except jwt.PyJWTError:
            raise IdentityError("the dataplane token cannot be read") from None
