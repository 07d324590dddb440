"""Words for traffic: protocols, response flags, and the modes a listener can be in."""

import enum


class Protocol(enum.Enum):
    """What travels on a port, as declared. Kuma's appProtocol."""

    TCP = "tcp"
    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"


class TlsMode(enum.Enum):
    """What an inbound listener accepts. Source: Kuma MeshTLS; OFF while the proxy has no identity."""

    STRICT = "Strict"
    PERMISSIVE = "Permissive"
    OFF = "Off"


class ResponseFlag(enum.Enum):
    """Why a response is not simply the upstream's. Source: Envoy `config.accesslog.v3` RESPONSE_FLAGS."""

    NO_HEALTHY_UPSTREAM = "UH"
    UPSTREAM_CONNECTION_FAILURE = "UF"
    UPSTREAM_OVERFLOW = "UO"
    NO_ROUTE = "NR"
    NO_CLUSTER = "NC"
    RETRY_LIMIT_EXCEEDED = "URX"
    UPSTREAM_TIMEOUT = "UT"
    UPSTREAM_CONNECTION_TERMINATION = "UC"
    UPSTREAM_REMOTE_RESET = "UR"
    LOCAL_RESET = "LR"
    RATE_LIMITED = "RL"
    UNAUTHORIZED = "UAEX"
    DELAY_INJECTED = "DI"
    FAULT_INJECTED = "FI"
    DOWNSTREAM_CLOSED = "DC"
    STREAM_IDLE_TIMEOUT = "SI"
    DOWNSTREAM_PROTOCOL_ERROR = "DPE"
    UPSTREAM_PROTOCOL_ERROR = "UPE"
    DURATION_TIMEOUT = "DT"
