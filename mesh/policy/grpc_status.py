"""gRPC's status codes: recognised, read, and translated from and to HTTP's.

Source: gRPC `statuscodes.md` and `http-grpc-status-mapping.md`; google.rpc.Code for the way back; Envoy
source/common/grpc/{common,status}.cc, whose deviation is kept: 400 becomes INTERNAL.
"""

import enum

from mesh.policy.header_value import unsigned

_CONTENT_TYPE = b"application/grpc"


class GrpcStatus(enum.IntEnum):
    """The codes of gRPC, and Envoy's own for a status that is none of them."""

    INVALID = -1
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_STATUS_BY_CODE = {int(status): status for status in GrpcStatus if status is not GrpcStatus.INVALID}

_STATUS_BY_HTTP = {
    400: GrpcStatus.INTERNAL,
    401: GrpcStatus.UNAUTHENTICATED,
    403: GrpcStatus.PERMISSION_DENIED,
    404: GrpcStatus.UNIMPLEMENTED,
    429: GrpcStatus.UNAVAILABLE,
    502: GrpcStatus.UNAVAILABLE,
    503: GrpcStatus.UNAVAILABLE,
    504: GrpcStatus.UNAVAILABLE,
}

_HTTP_BY_STATUS = {
    GrpcStatus.OK: 200,
    GrpcStatus.CANCELLED: 499,
    GrpcStatus.INVALID_ARGUMENT: 400,
    GrpcStatus.DEADLINE_EXCEEDED: 504,
    GrpcStatus.NOT_FOUND: 404,
    GrpcStatus.ALREADY_EXISTS: 409,
    GrpcStatus.PERMISSION_DENIED: 403,
    GrpcStatus.RESOURCE_EXHAUSTED: 429,
    GrpcStatus.FAILED_PRECONDITION: 400,
    GrpcStatus.ABORTED: 409,
    GrpcStatus.OUT_OF_RANGE: 400,
    GrpcStatus.UNIMPLEMENTED: 501,
    GrpcStatus.UNAVAILABLE: 503,
    GrpcStatus.UNAUTHENTICATED: 401,
}


def is_grpc(content_type: bytes | None) -> bool:
    """Is a message of this content type gRPC's? application/grpc-web is not."""
    if content_type is None or not content_type.startswith(_CONTENT_TYPE):
        return False
    rest = content_type[len(_CONTENT_TYPE) :]
    return not rest or rest.startswith(b"+")


def read_status(value: bytes | None) -> GrpcStatus | None:
    """Read a grpc-status header or trailer; None: there is none, INVALID: what it holds is no status of gRPC's."""
    if not value:
        return None
    code = unsigned(value)
    return GrpcStatus.INVALID if code is None else _STATUS_BY_CODE.get(code, GrpcStatus.INVALID)


def from_http(status: int) -> GrpcStatus:
    """Return the gRPC status of a response that has only an HTTP status."""
    return _STATUS_BY_HTTP.get(status, GrpcStatus.UNKNOWN)


def to_http(status: GrpcStatus) -> int:
    """Return the HTTP status that a gRPC status counts as, for outlier detection."""
    return _HTTP_BY_STATUS.get(status, 500)
