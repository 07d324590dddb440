"""gRPC's statuses, and the two tables between them and HTTP's."""

import pytest

from mesh.policy.grpc_status import GrpcStatus, from_http, is_grpc, read_status, to_http


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (None, False),
        (b"", False),
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc-web", False),
        (b"application/grpcx", False),
        (b"text/plain", False),
    ],
)
def test_grpc_is_recognised_by_its_content_type(content_type: bytes | None, expected: bool) -> None:
    assert is_grpc(content_type) is expected


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (None, None),
        (b"", None),
        (b"0", GrpcStatus.OK),
        (b"14", GrpcStatus.UNAVAILABLE),
        (b"16", GrpcStatus.UNAUTHENTICATED),
        (b"17", GrpcStatus.INVALID),
        (b"-1", GrpcStatus.INVALID),
        (b"fourteen", GrpcStatus.INVALID),
        (b"\xb2", GrpcStatus.INVALID),
        (b"9" * 100_000, GrpcStatus.INVALID),
    ],
)
def test_status_is_read_strictly(value: bytes | None, status: GrpcStatus | None) -> None:
    assert read_status(value) is status


@pytest.mark.parametrize(
    ("http", "grpc"),
    # Recorded from Envoy: no_route 404, rbac_deny 403, local_ratelimit 429, fault_abort_503, fault_abort_418, redirect.
    [
        (404, 12),
        (403, 7),
        (429, 14),
        (503, 14),
        (418, 2),
        (301, 2),
        (400, 13),
        (401, 16),
        (502, 14),
        (504, 14),
        (200, 2),
        (500, 2),
    ],
)
def test_status_of_a_local_reply(http: int, grpc: int) -> None:
    assert from_http(http) == grpc


@pytest.mark.parametrize("status", GrpcStatus)
def test_every_status_counts_as_some_http_status(status: GrpcStatus) -> None:
    assert to_http(status) in {200, 400, 401, 403, 404, 409, 429, 499, 500, 501, 503, 504}
    assert (to_http(status) == 200) is (status is GrpcStatus.OK)


@pytest.mark.parametrize(
    ("grpc", "http"), [(1, 499), (4, 504), (8, 429), (12, 501), (13, 500), (14, 503), (15, 500), (-1, 500)]
)
def test_what_counts_against_an_upstream(grpc: int, http: int) -> None:
    assert to_http(GrpcStatus(grpc)) == http
