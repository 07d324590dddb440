"""How a sidecar recognises its control plane: by the root certificate it was given and the name that it calls.

Sidecars show no certificate here, for they have none yet: their token speaks for them, inside the protected stream.
"""

from mesh.model.names import SpiffeId
from mesh.model.security import ClientTls, TrustBundle

CONTROL_PLANE_TRUST_DOMAIN = "control-plane.mesh.local"
CONTROL_PLANE_ID = SpiffeId(CONTROL_PLANE_TRUST_DOMAIN, "/control-plane")


def control_plane_tls(ca_pem: str, server_name: str) -> ClientTls:
    """Return what a sidecar needs to call a control plane; `server_name` is the host of the address that it calls."""
    trust = TrustBundle(trust_domain=CONTROL_PLANE_TRUST_DOMAIN, roots_pem=(ca_pem,))
    return ClientTls(trust=(trust,), server_name=server_name, sni=server_name)
