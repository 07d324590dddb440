"""What a sidecar and the control plane say to each other: one JSON message per WebSocket message, tagged by `type`.

A connection opens with Hello and Welcome (or Refused, after which the control plane closes). A sidecar that knows only its
name may open one with DataplaneRequest instead, which is answered once. After a Welcome the control plane
pushes configuration, at most one push at a time; the sidecar answers each with Ack, Nack or Resync. It ends with Goodbye, after
which the control plane closes, or without a word, and then the proxy may come back. Strict and bounded:
unknown fields, unknown types and oversized messages are errors of the peer. Lengths of messages do not depend on chance.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from mesh.model.departure import Departure
from mesh.model.errors import LocalProtocolError, RemoteProtocolError

M = TypeVar("M")

PROTOCOL_VERSION = 1
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
HELLO_BYTES_MAX = 4 * 1024 * 1024  # All that a sidecar may send: it is read before anything is proven.
REASON_CHARACTERS_MAX = 4096
PATH = "/v1/configuration"  # the WebSocket resource

Version = Annotated[str, Meta(pattern="^([0-9a-f]{16})?$")]  # of a snapshot; empty: none
Nonce = Annotated[int, Meta(ge=1)]  # numbers the pushes of one session from 1
Session = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
Name = Annotated[str, Meta(min_length=1, max_length=512)]
Reason = Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)]
Pem = Annotated[str, Meta(min_length=1, max_length=65536)]
Span = Annotated[float, Meta(gt=0, le=86400)]  # seconds


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What all messages share."""


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    """Sidecar: who I am, my Dataplane resource, and which configuration I hold (`{part key: digest}`).

    A `dataplane` without `networking` stands for the one that an operator has applied under its mesh and name.
    """

    protocol: int = PROTOCOL_VERSION
    token: Annotated[str, Meta(max_length=16384)]
    dataplane: dict[str, Any]
    version: Version = ""
    digests: dict[str, str] = {}
    inbounds: dict[Name, bool] = {}  # health, as in HealthReport
    departure: Departure | UnsetType = UNSET  # left out while we stay, so an older control plane understands
    certificate_expires: Annotated[int, Meta(ge=0)] = 0  # seconds since the epoch; 0: holds none

    def __repr__(self) -> str:
        return f"Hello(dataplane={self.dataplane.get('name')!r}, version={self.version!r}, token=<hidden>)"


class DataplaneRequest(_Message, frozen=True, kw_only=True, tag="dataplane_request"):
    """Sidecar: tell me the Dataplane that an operator has applied under my name. Instead of Hello."""

    protocol: int = PROTOCOL_VERSION
    token: Annotated[str, Meta(max_length=16384)]
    mesh: Name
    name: Name

    def __repr__(self) -> str:
        return f"DataplaneRequest(mesh={self.mesh!r}, name={self.name!r}, token=<hidden>)"


class Ack(_Message, frozen=True, kw_only=True, tag="ack"):
    """Sidecar: this version is live here."""

    version: Version
    nonce: Nonce


class Nack(_Message, frozen=True, kw_only=True, tag="nack"):
    """Sidecar: this version cannot be used; the one before stays live."""

    version: Version
    nonce: Nonce
    reason: Reason


class Resync(_Message, frozen=True, kw_only=True, tag="resync"):
    """Sidecar: this delta does not fit what I hold; send everything."""

    nonce: Nonce
    reason: Reason


class CertificateRequest(_Message, frozen=True, kw_only=True, tag="certificate_request"):
    """Sidecar: sign this key. The answer, Certificate or CertificateRefused, carries the same number."""

    number: Nonce
    csr_pem: Pem


class HealthReport(_Message, frozen=True, kw_only=True, omit_defaults=True, tag="health"):
    """Sidecar: which inbounds are ready to serve, all of them every time; whether we stay. An inbound never named is ready.

    Ready or not, it is no endpoint before we acknowledge a configuration that has it, or bring one along in Hello.
    """

    inbounds: dict[Name, bool]
    departure: Departure = Departure.STAYING


class Goodbye(_Message, frozen=True, kw_only=True, tag="goodbye"):
    """Sidecar: I serve nobody any more and do not come back. The control plane forgets the proxy at once, and closes."""


class Heartbeat(_Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Sidecar: alive. The control plane answers each with one of its own."""


class Welcome(_Message, frozen=True, kw_only=True, tag="welcome"):
    """Control plane: you are in. Be heard at least every `lease_s`; send a heartbeat every `heartbeat_s`."""

    session: Session
    heartbeat_s: Span
    lease_s: Span


class DataplaneDocument(_Message, frozen=True, kw_only=True, tag="dataplane"):
    """Control plane: the Dataplane that was asked for; then it closes."""

    dataplane: dict[str, Any]


class Push(_Message, frozen=True, kw_only=True, tag="push"):
    """Control plane: become `version`. Whole when `base_version` is empty, else changes to exactly that version."""

    version: Version
    nonce: Nonce
    base_version: Version = ""
    upserts: dict[Name, msgspec.Raw]
    removed: tuple[Name, ...] = ()


class Certificate(_Message, frozen=True, kw_only=True, tag="certificate"):
    """Control plane: the certificate chain for request `number`, leaf first."""

    number: Nonce
    chain_pem: Pem


class CertificateRefused(_Message, frozen=True, kw_only=True, tag="certificate_refused"):
    """Control plane: no certificate for request `number`."""

    number: Nonce
    reason: Reason


class Refused(_Message, frozen=True, kw_only=True, tag="refused"):
    """Control plane: go away. Coming back with the same token and Dataplane helps only if `retryable`."""

    reason: Reason
    retryable: bool
    kind: Literal["protocol", "token", "dataplane", "mesh", "replaced", "silent", "stopping", "cut-off"]


SidecarMessage = (
    Hello | DataplaneRequest | Ack | Nack | Resync | CertificateRequest | HealthReport | Heartbeat | Goodbye
)
ControlPlaneMessage = Welcome | DataplaneDocument | Push | Certificate | CertificateRefused | Refused | Heartbeat

_encoder = msgspec.json.Encoder()
_sidecar_decoder: msgspec.json.Decoder[SidecarMessage] = msgspec.json.Decoder(SidecarMessage)
_control_plane_decoder: msgspec.json.Decoder[ControlPlaneMessage] = msgspec.json.Decoder(ControlPlaneMessage)


def encode_message(message: SidecarMessage | ControlPlaneMessage) -> bytes:
    """Write one message. Raises: LocalProtocolError when it is longer than the peer would accept."""
    data = _encoder.encode(message)
    if len(data) > MESSAGE_BYTES_MAX:
        raise LocalProtocolError(f"a message of {len(data)} bytes is over the limit of {MESSAGE_BYTES_MAX}")
    return data


def decode_sidecar_message(data: bytes | str) -> SidecarMessage:
    """Read what a sidecar sent. Raises: RemoteProtocolError."""
    return _decode(_sidecar_decoder, data)


def decode_control_plane_message(data: bytes | str) -> ControlPlaneMessage:
    """Read what a control plane sent. Raises: RemoteProtocolError."""
    return _decode(_control_plane_decoder, data)


def shorten(reason: str) -> str:
    """Cut a reason to what a message may carry."""
    return reason if len(reason) <= REASON_CHARACTERS_MAX else reason[: REASON_CHARACTERS_MAX - 3] + "..."


def _decode(decoder: "msgspec.json.Decoder[M]", data: bytes | str) -> M:
    if len(data) > MESSAGE_BYTES_MAX:
        raise RemoteProtocolError(f"a message of {len(data)} bytes is over the limit of {MESSAGE_BYTES_MAX}")
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise RemoteProtocolError(f"unreadable message: {error}") from error
