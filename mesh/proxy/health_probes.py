"""What one active health check asks of one endpoint, and what it makes of the answer.

Connections are made as the cluster's own are (names, TLS), and kept from one check to the next where configured. A connection
that ended while nobody asked is replaced; that is no failure. Raises, all of them: BrokenConnection, DeadlineExceeded.
Source: Envoy source/extensions/health_checkers/{http,tcp,grpc}/health_checker_impl.cc.
"""

from collections.abc import Iterable
from typing import Protocol as TypingProtocol

import attrs

from mesh.config.snapshot import Cluster
from mesh.model.errors import BrokenConnection, ConfigError, LocalProtocolError, RemoteProtocolError, Violation
from mesh.model.traffic import Protocol
from mesh.policy.header_changes import UNCHANGEABLE
from mesh.policy.health_check import CheckFailure, HealthCheck, HealthCheckKind, contains_in_order
from mesh.protocol import grpc_health
from mesh.protocol.http1 import MAX_HEAD_BYTES, BodyReader, ResponseHead, ResponseParser, encode_request
from mesh.protocol.http2_call import GoneAway, Http2Caller, Http2Response
from mesh.proxy.upstream_pool import UpstreamEndpoint, UpstreamPool
from mesh.runtime.environment import Connection

USER_AGENT = b"Envoy/HC"
EXCLUDING = b"x-envoy-immediate-health-check-fail"
TCP_ANSWER_BYTES_MAX = 65_536
_HTTP2 = (Protocol.HTTP2, Protocol.GRPC)
_UNCHANGEABLE = UNCHANGEABLE - {"host"}  # Here the host is ours to choose.
_GRPC_TIMEOUT_MS_MAX = 99_999_999  # eight digits. Source: grpc/grpc doc/PROTOCOL-HTTP2.md

Headers = list[tuple[bytes, bytes]]


@attrs.frozen(kw_only=True)
class CheckResult:
    """The outcome of one check. `excluded`: the endpoint wants to be left alone, even in a panic."""

    failure: CheckFailure | None = None
    reason: str = ""
    excluded: bool = False


PASSED = CheckResult()


class Probe(TypingProtocol):
    """Asks one endpoint, again and again."""

    async def ask(self) -> CheckResult:
        """Return what the endpoint says. Raises: BrokenConnection, RemoteProtocolError, DeadlineExceeded."""
        ...

    def close(self) -> None:
        """Give the connection up. Safe to repeat."""
        ...


def make_probe(check: HealthCheck, cluster: Cluster, pool: UpstreamPool, endpoint: UpstreamEndpoint) -> Probe:
    """Return what asks `endpoint` by `check`. It is called by the cluster's name, or by its own where it has one."""
    line = _Line(pool, endpoint, keep=check.reuse_connection)
    host = endpoint.hostname or cluster.name.encode()
    if check.kind is HealthCheckKind.TCP:
        return TcpProbe(check, line)
    if check.kind is HealthCheckKind.GRPC:
        return GrpcProbe(check, host, line)
    return (Http2Probe if cluster.protocol in _HTTP2 else HttpProbe)(check, host, line)


def refuse_unaskable(cluster: Cluster) -> None:
    """Raises: ConfigError where a check's request could not be written, or would not be understood as one."""
    for check in cluster.health_checks:
        names = [name.lower() for name, _ in (*check.headers_set, *check.headers_add)]
        problem = next((f"header '{name}' cannot be changed" for name in names if name in _UNCHANGEABLE), "")
        try:
            encode_request(b"GET", check.path.encode(), *request_headers(check, b"host"))
        except LocalProtocolError as error:
            problem = str(error)
        if problem:
            raise ConfigError([Violation(path=f"cluster/{cluster.name}", message=f"health check: {problem}")])


class _Line:
    """The connection of one probe."""

    def __init__(self, pool: UpstreamPool, endpoint: UpstreamEndpoint, *, keep: bool) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._keep = keep
        self._connection: Connection | None = None
        self._era = 0

    def kept(self) -> Connection | None:
        """Return the connection of the check before, None where there is none that may be used."""
        if self._era != self._pool.era:
            self.close()
        return self._connection

    def silent(self) -> Connection | None:
        """Return the connection of the check before if nothing has come on it since, nor its end."""
        connection = self.kept()
        if connection is not None and _unasked(connection) is not None:
            self.close()
            return None
        return connection

    async def open(self) -> Connection:
        """Return a new connection."""
        self.close()
        self._connection, self._era = await self._pool.dial(self._endpoint)
        return self._connection

    def finish(self, *, reusable: bool) -> None:
        """The check is over."""
        if not (reusable and self._keep):
            self.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _unasked(connection: Connection) -> bytes | None:
    """Return what came while nobody asked: b"" the end, None nothing."""
    try:
        return connection.receive_now()
    except BrokenConnection:
        return b""


class TcpProbe:
    """Connects; where something is to be received, sends and waits for it."""

    def __init__(self, check: HealthCheck, line: _Line) -> None:
        self._check = check
        self._line = line

    async def ask(self) -> CheckResult:
        """Return what the endpoint says."""
        line, expected = self._line, self._check.receive
        passed = False
        try:
            connection = line.silent() or await line.open()
            if not expected:
                return PASSED
            await connection.send(self._check.send)
            received = b""
            while not (passed := contains_in_order(received, expected)):
                data = await connection.receive()
                received += data
                if not data or len(received) > TCP_ANSWER_BYTES_MAX:
                    raise BrokenConnection("the expected bytes did not come")
            return PASSED
        finally:
            line.finish(reusable=passed)

    def close(self) -> None:
        self._line.close()


class HttpProbe:
    """One GET over HTTP/1.1."""

    def __init__(self, check: HealthCheck, host: bytes, line: _Line) -> None:
        host, headers = request_headers(check, host)
        self._expected = frozenset(check.expected_statuses)
        self._line = line
        self._request = encode_request(b"GET", check.path.encode(), host, headers)

    async def ask(self) -> CheckResult:
        """Return what the endpoint says."""
        line = self._line
        reusable = False
        try:
            connection = line.silent() or await line.open()
            await connection.send(self._request)
            head, reusable = await _receive_response(connection)
            return judge_status(head.status, self._expected, excluded=head.header(EXCLUDING) is not None)
        finally:
            line.finish(reusable=reusable)

    def close(self) -> None:
        self._line.close()


async def _receive_response(connection: Connection) -> tuple[ResponseHead, bool]:
    """Return the final response's head when all of the response has come, and whether the connection can go on."""
    parser, buffer, interim_bytes = ResponseParser(), b"", 0
    while (parsed := parser.parse(buffer)) is None or parsed[0].interim:
        if parsed is not None:
            buffer = buffer[parsed[1] :]
            interim_bytes += parsed[1]
            if interim_bytes > MAX_HEAD_BYTES:
                raise RemoteProtocolError("interim responses without end", status=502)
        else:
            buffer += await _receive(connection)
    head, size = parsed
    body, data = BodyReader(head.body, head.body_length), buffer[size:]
    while not body.done:
        if data:
            _, _, data = body.feed(data)
            continue
        data = await connection.receive()
        if not data:
            body.receive_eof()
            return head, False
    return head, head.keep_alive and not data and head.status != 101


async def _receive(connection: Connection) -> bytes:
    data = await connection.receive()
    if not data:
        raise BrokenConnection
    return data


def judge_status(status: int, expected: frozenset[int], *, excluded: bool) -> CheckResult:
    """Return what a status says; `excluded`: the header that asks for it came along, which counts in failures alone."""
    if status in expected:
        return PASSED
    return CheckResult(failure=CheckFailure.ACTIVE, reason=f"HTTP status {status}", excluded=excluded)


def request_headers(check: HealthCheck, host: bytes) -> tuple[bytes, Headers]:
    """Return a request's host and its other fields: those to set take the place of ours, those to add stand beside them."""
    fields = {b"user-agent": USER_AGENT}
    fields.update((name.lower().encode(), value.encode()) for name, value in check.headers_set)
    host = fields.pop(b"host", host)
    added = ((name.lower().encode(), value.encode()) for name, value in check.headers_add)
    return host, [*fields.items(), *added]


class _Http2Line:
    """One call after the other over HTTP/2. A server that is going away is asked again on another connection."""

    def __init__(self, line: _Line) -> None:
        self.line = line
        self._caller = Http2Caller()

    async def call(self, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> Http2Response:
        """Return the whole response."""
        answered = False
        try:
            try:
                response = await self._call(self._kept() or await self._open(), headers, body)
            except GoneAway:
                response = await self._call(await self._open(), headers, body)
            answered = True
            return response
        finally:
            self.line.finish(reusable=answered)

    def _kept(self) -> Connection | None:
        connection = self.line.kept()
        if connection is None or (data := _unasked(connection)) is None:
            return connection
        try:
            if data:
                self._caller.receive(data)
                return connection
        except (BrokenConnection, RemoteProtocolError):
            pass
        self.line.close()
        return None

    async def _open(self) -> Connection:
        connection = await self.line.open()
        self._caller = Http2Caller()
        return connection

    async def _call(self, connection: Connection, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Http2Response:
        caller = self._caller
        scheme = b"https" if connection.secure else b"http"
        caller.call([(b":scheme", scheme), *headers], body)
        response = None
        while response is None:
            if out := caller.outgoing():
                await connection.send(out)
            response = caller.receive(await _receive(connection))
        if out := caller.outgoing():
            await connection.send(out)
        return response


class Http2Probe:
    """One GET over HTTP/2, for clusters that speak it."""

    def __init__(self, check: HealthCheck, host: bytes, line: _Line) -> None:
        authority, headers = request_headers(check, host)
        self._expected = frozenset(check.expected_statuses)
        self._http2 = _Http2Line(line)
        path = check.path.encode()
        self._headers = [(b":method", b"GET"), (b":authority", authority), (b":path", path), *headers]

    async def ask(self) -> CheckResult:
        """Return what the endpoint says."""
        response = await self._http2.call(self._headers)
        return judge_status(response.status, self._expected, excluded=response.header(EXCLUDING) is not None)

    def close(self) -> None:
        self._http2.line.close()


class GrpcProbe:
    """One call of gRPC's health service. Only SERVING passes."""

    def __init__(self, check: HealthCheck, host: bytes, line: _Line) -> None:
        self._http2 = _Http2Line(line)
        self._message = grpc_health.encode_check(check.service_name)
        self._headers = [
            (b":method", b"POST"),
            (b":authority", check.authority.encode() or host),
            (b":path", grpc_health.METHOD_PATH),
            (b"te", b"trailers"),
            (b"content-type", grpc_health.CONTENT_TYPE),
            (b"user-agent", USER_AGENT),
            (b"grpc-timeout", b"%dm" % min(round(check.timeout_s * 1000), _GRPC_TIMEOUT_MS_MAX)),
        ]

    async def ask(self) -> CheckResult:
        """Return what the endpoint says."""
        complaint = grpc_health.complaint_of(await self._http2.call(self._headers, self._message))
        return CheckResult(failure=CheckFailure.ACTIVE, reason=complaint) if complaint else PASSED

    def close(self) -> None:
        self._http2.line.close()
