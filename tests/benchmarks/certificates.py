"""Certificates of the benchmark's pair, made by the mesh's own authority and used by Envoy too."""

import random
import time
from pathlib import Path

from mesh.identity.authority import Authority, issue_svid
from mesh.model.names import SpiffeId


def write_certificates(folder: Path) -> None:
    """Write ca.crt and, for `in` and `out`, NAME.crt and NAME.key: ECDSA P-256, spiffe://mesh/NAME."""
    folder.mkdir()
    now, serials = time.time(), random.Random()
    authority = Authority.create("mesh", now=now, serial_random=serials)
    (folder / "ca.crt").write_text(authority.root_pem)
    for name in ("in", "out"):
        svid = issue_svid(authority, SpiffeId("mesh", f"/{name}"), lifetime_s=86_400, now=now, serial_random=serials)
        (folder / f"{name}.crt").write_text(svid.chain_pem)
        (folder / f"{name}.key").write_text(svid.private_key_pem)
