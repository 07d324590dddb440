"""What all sides of TLS by OpenSSL share: the exchange of a handshake, the peer's chain, own certificates, names to send."""

import os
import ssl
import tempfile
import warnings
from collections.abc import Generator
from typing import Any

from mesh.identity.certificate_path import PeerRefused
from mesh.identity.handshake import Farewell, plain_alert
from mesh.identity.tls_session import TlsSession, translate
from mesh.model.errors import BrokenConnection, ConfigError, IdentityError, Violation
from mesh.model.security import TlsVersion

NO_CHECK_TIME = 0x200000  # Source: OpenSSL X509_V_FLAG_NO_CHECK_TIME; Python has no name for it.
_DER = 2  # Source: CPython _ssl.ENCODING_DER
_VERSION = {
    TlsVersion.TLS10: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS11: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3,
}


def limit_versions(context: ssl.SSLContext, lowest: TlsVersion, highest: TlsVersion) -> None:
    """Set the versions that a side speaks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Of old ones, which whoever asked for them has accepted.
        context.minimum_version = _VERSION[lowest]
        context.maximum_version = _VERSION[highest]


def refusal_alert(tls: ssl.SSLObject, refusal: PeerRefused, session: TlsSession) -> bytes:
    """Return the alert by which a client says that it does not accept the server that OpenSSL has accepted.

    Up to TLS 1.2 both sides are done by now, and an alert goes out protected. In 1.3 our last messages still wait to go
    out, the server knows of nothing, and until then a plain alert is in order.
    """
    return plain_alert(refusal.fault) if tls.version() == "TLSv1.3" else session.end()


def exchange(tls: ssl.SSLObject, inbound: ssl.MemoryBIO, outbound: ssl.MemoryBIO) -> Generator[bytes, bytes, bytes]:
    """Exchange messages until OpenSSL is content; return the last input, which may hold data already."""
    received = b""
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            received = yield outbound.read()
            if not received:
                raise BrokenConnection("TLS error: the peer closed during the handshake") from None
            inbound.write(received)
        except ssl.SSLError as error:
            raise Farewell(translate(error), outbound.read()) from error
        else:
            return received


def presented_chain(tls: ssl.SSLObject) -> list[bytes]:
    """Return what the peer presented in DER, leaf first; of a resumed session the leaf only, of nobody nothing."""
    leaf = tls.getpeercert(binary_form=True)
    if leaf is None:
        return []
    if hasattr(tls, "get_unverified_chain"):  # From Python 3.13 on.
        chain: list[bytes] = tls.get_unverified_chain()
        return chain or [leaf]
    direct: Any = getattr(tls, "_sslobj", None)
    if not hasattr(direct, "get_unverified_chain"):
        return [leaf]
    return [certificate.public_bytes(_DER) for certificate in direct.get_unverified_chain() or ()] or [leaf]


def load_own_chain(context: ssl.SSLContext, chain_pem: str, private_key_pem: str, *, owner: str) -> None:
    """Give OpenSSL a chain and its key. Raises: IdentityError.

    Python takes them from files only: here from one that exists in memory alone.
    """
    pem = f"{chain_pem}\n{private_key_pem}".encode()
    try:
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("svid", os.MFD_CLOEXEC)
            try:
                os.write(fd, pem)
                context.load_cert_chain(f"/proc/self/fd/{fd}", password="")
            finally:
                os.close(fd)
        else:
            with tempfile.NamedTemporaryFile() as file:  # Mode 0600, gone at once.
                file.write(pem)
                file.flush()
                context.load_cert_chain(file.name, password="")
    except ssl.SSLError as error:
        raise IdentityError(f"the certificate and key of {owner} cannot be used: {error.reason}") from error


def check_sni(name: str) -> None:
    """Raises: ConfigError when a name cannot be sent as server name."""
    try:
        name.encode("idna")
    except UnicodeError as error:
        raise ConfigError([Violation(message=f"{name!r} cannot be sent as server name: {error}")]) from error
    if name.startswith("."):
        raise ConfigError([Violation(message=f"{name!r} cannot be sent as server name")])
