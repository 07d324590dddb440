"""MeshTimeout: how long connections and requests may take, towards services (`to`) or at inbounds (`rules`)."""

from mesh.resources.policy import policy_kind
from mesh.resources.scalars import Duration
from mesh.resources.schema import Record

_CONF = Record(
    {
        "connectionTimeout": Duration(positive=True),
        "idleTimeout": Duration(),
        "http": Record(
            {
                "requestTimeout": Duration(),
                "streamIdleTimeout": Duration(),
                "maxStreamDuration": Duration(),
                "maxConnectionDuration": Duration(),
                "requestHeadersTimeout": Duration(),
            }
        ),
    }
)

MESH_TIMEOUT = policy_kind("MeshTimeout", path="meshtimeouts", short="mt", to=_CONF, rules=_CONF)
