"""TlsSession: one established TLS connection of OpenSSL's without its transport; ciphertext in, plaintext out, and back.

The hot path of mutual TLS: a record that arrives whole costs one BIO write and one read, and no exception.
Does not shake hands (`tls`) and does not wait (`tls_connection`, `tls_stream`).
"""

import ssl
from collections.abc import Callable
from typing import Any

from mesh.identity.certificate_path import Fault, PeerRefused
from mesh.identity.handshake import RefusedByPeer
from mesh.model.errors import BrokenConnection, MeshError

RECORD_BYTES = 16384  # Plaintext of one record at most. Source: RFC 8446 section 5.1.
SCRATCH_BYTES = 256 * 1024
CHUNK_BYTES = 256 * 1024  # Encrypted at once at most: memory stays bounded, and back-pressure bites between chunks.

NO_COMMON_VERSION = "no version of TLS that both sides speak"

_HEADER_BYTES = 5
_CERTIFICATE_ALERTS = (
    "bad certificate",
    "unsupported certificate",
    "certificate revoked",
    "certificate expired",
    "certificate unknown",
    "unknown ca",
    "access denied",
    "certificate required",
)
_FAULT_BY_VERIFY_CODE = {9: Fault.NOT_YET_VALID, 10: Fault.EXPIRED} | dict.fromkeys(
    (2, 18, 19, 20, 21), Fault.UNKNOWN_AUTHORITY
)  # Source: OpenSSL x509_vfy.h X509_V_ERR_*


class TlsSession:
    """See the module. `ready`: the next plaintext, the end or a failure is known already, `take` tells without input."""

    __slots__ = (
        "_ended",
        "_failure",
        "_inbound",
        "_last_input",
        "_object",
        "_on_data",
        "_outbound",
        "_read",
        "_scratch",
        "_unfinished",
        "_write",
        "ready",
    )

    def __init__(
        self,
        tls_object: ssl.SSLObject,
        bios: tuple[ssl.MemoryBIO, ssl.MemoryBIO],
        *,
        scratch: memoryview,
        last_input: bytes,
        on_data: Callable[[ssl.SSLObject], None] | None = None,
    ) -> None:
        """Go on from a finished handshake.

        `bios` are inbound and outbound, `scratch` may be shared by all sessions of a thread, `last_input` is what was
        written last to inbound, `on_data` is called once, with the first data.
        """
        inbound, outbound = bios
        self._object = tls_object
        self._inbound = inbound
        self._outbound = outbound
        # The object behind SSLObject, where there is one: a Python frame less for each record (measured: 4 to 8 % of it).
        direct: Any = getattr(tls_object, "_sslobj", tls_object)
        self._read: Callable[..., Any] = direct.read
        self._write: Callable[[bytes | memoryview], int] = direct.write
        self._scratch = scratch
        self._on_data = on_data
        self._last_input = last_input
        self._unfinished = bytearray()  # the beginning of a record that has not arrived whole
        self._ended = False
        self._failure: MeshError | None = None
        # Data may have come together with the peer's last handshake message.
        self.ready = inbound.pending > 0

    def feed(self, data: bytes) -> bytes | None:
        """Take ciphertext (not b"") while not `ready`; return plaintext, b"" at the end, None when more is needed.

        Raises: BrokenConnection, RefusedByPeer.
        """
        inbound = self._inbound
        inbound.write(data)
        try:
            plain: bytes = self._read(RECORD_BYTES)
        except ssl.SSLWantReadError:
            self._note_unfinished(data)
            return None
        except ssl.SSLError as error:
            self._stop(error)
            return self.take()
        if self._unfinished:
            self._unfinished.clear()
        if not plain:
            self._ended = self.ready = True
        elif inbound.pending:
            return self._read_on(plain, data)
        if self._on_data is not None:
            self._announce_data()
        return plain

    def take(self) -> bytes | None:
        """Return what is known without more input; only when `ready`. Raises as `feed` does, again and again."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._ended:
            return b""
        return self._read_on(b"", self._last_input)

    def finish(self) -> bytes:
        """Take the end of the transport's stream: the end of ours, unless it cuts a record. Raises: BrokenConnection.

        Many peers close without a close_notify; what HTTP needs to know about truncation stands in its framing.
        """
        self.ready = True
        if self._unfinished:
            self._failure = BrokenConnection("TLS error: the stream was cut in the middle of a record")
            raise self._failure
        self._ended = True
        return b""

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Return the records that carry `data`: at least one byte, at most CHUNK_BYTES."""
        try:
            self._write(data)
        except ssl.SSLError as error:
            raise translate(error) from error
        return self._outbound.read()

    def end(self) -> bytes:
        """Return the close_notify, or the alert that OpenSSL wants the peer to see after a failure."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # It asks for the peer's close_notify, which may come later or never.
        return self._outbound.read()

    def _read_on(self, first: bytes, data: bytes) -> bytes | None:
        """Read the records behind the first into the scratch buffer, as many as fit. `data` is the latest input."""
        inbound, scratch, read = self._inbound, self._scratch, self._read
        filled = len(first)
        scratch[:filled] = first
        self.ready = False
        while pending := inbound.pending:
            if filled > SCRATCH_BYTES - RECORD_BYTES:
                self.ready, self._last_input = True, data
                break
            try:
                count = read(RECORD_BYTES, scratch[filled:])
            except ssl.SSLWantReadError:
                self._note_unfinished(data[-pending:])
                break
            except ssl.SSLError as error:
                self._stop(error)
                break
            if not count:
                self._ended = self.ready = True
                break
            filled += count
        if filled:
            if self._on_data is not None:
                self._announce_data()
            return bytes(scratch[:filled])
        return self.take() if self.ready else None

    def _stop(self, error: ssl.SSLError) -> None:
        self.ready = True
        if isinstance(error, ssl.SSLZeroReturnError):
            self._ended = True
        else:
            self._failure = translate(error)

    def _note_unfinished(self, data: bytes) -> None:
        """Follow the record headers, to know at the end of the stream whether it cuts a record."""
        unfinished = self._unfinished
        unfinished += data
        begin = 0
        while len(unfinished) - begin >= _HEADER_BYTES:
            length = int.from_bytes(unfinished[begin + 3 : begin + _HEADER_BYTES])
            if begin + _HEADER_BYTES + length > len(unfinished):
                break
            begin += _HEADER_BYTES + length
        del unfinished[:begin]

    def _announce_data(self) -> None:
        on_data, self._on_data = self._on_data, None
        if on_data is not None:
            on_data(self._object)


def translate(error: ssl.SSLError) -> MeshError:
    """Say an error of OpenSSL's in our words: IdentityError for certificates, BrokenConnection for the rest."""
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = _FAULT_BY_VERIFY_CODE.get(error.verify_code, Fault.MALFORMED)
        return PeerRefused(fault, f"the peer's certificate: {error.verify_message}")
    reason = error.reason or ""
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return PeerRefused(Fault.MISSING, "the peer presented no certificate")
    if reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"):
        return BrokenConnection(f"TLS error: {NO_COMMON_VERSION}")
    before, separator, alert = reason.lower().replace("_", " ").partition("alert ")
    if separator and alert in _CERTIFICATE_ALERTS:
        return RefusedByPeer(alert)
    return BrokenConnection(f"TLS error: {alert or before or 'connection termination'}")
