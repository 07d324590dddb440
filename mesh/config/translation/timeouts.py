"""From MeshTimeout's merged settings to the spans that bound requests and connections."""

from mesh.policy.timeout import Timeouts
from mesh.resources.policy import Conf


def timeouts(conf: Conf, default: Timeouts) -> Timeouts:
    """Translate MeshTimeout's settings."""
    http = conf.get("http", {})
    return Timeouts(
        connect_s=conf.get("connectionTimeout", default.connect_s),
        request_s=http.get("requestTimeout", default.request_s),
        idle_s=conf.get("idleTimeout", default.idle_s),
        stream_idle_s=http.get("streamIdleTimeout", default.stream_idle_s),
        request_headers_s=http.get("requestHeadersTimeout", default.request_headers_s),
        stream_s_max=http.get("maxStreamDuration", default.stream_s_max),
        connection_s_max=http.get("maxConnectionDuration", default.connection_s_max),
    )
