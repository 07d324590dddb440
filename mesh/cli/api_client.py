"""The control plane's HTTP API as commands use it: one connection, JSON in and out, every failure in words.

Synchronous: a command does one thing after another. No message and no representation quotes the token.
Source: Kuma's API and error shape: `{status, title, detail, invalid_parameters: [{field, reason}]}`.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from email.message import Message
from typing import Any, TypeAlias
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import attrs

from mesh import __version__
from mesh.cli.contexts import ADD_HINT, Context
from mesh.cli.failures import CommandFailed
from mesh.model.errors import ConfigError, Violation

TIMEOUT_S = 30.0
PAGE_SIZE = 500
PAGES_MAX = 10_000
BODY_BYTES_MAX = 512 * 1024 * 1024
Query: TypeAlias = Mapping[str, str | Sequence[str]]  # a sequence: the parameter several times
_DEFAULT_PORT = {"http": 80, "https": 443}


@attrs.frozen
class InvalidParameter:
    """One thing that the control plane found wrong in what it was sent; `resource`: in which one, by type, mesh and name."""

    field: str
    reason: str
    resource: Mapping[str, Any] = {}


class RequestRefused(CommandFailed):
    """The control plane answered with an error. `status` is HTTP's; `invalid` says what was wrong in the body, if it was that."""

    def __init__(self, message: str, *, hint: str, status: int, invalid: tuple[InvalidParameter, ...]) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.invalid = invalid


@attrs.frozen(kw_only=True)
class _Answer:
    """What came back for one request."""

    status: int
    headers: Message
    body: bytes = attrs.field(repr=False)


def path_of(*parts: str) -> str:
    """Join the parts of a URL's path; each is quoted whole."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


class ApiClient:
    """Requests to one control plane."""

    def __init__(self, context: Context, *, timeout_s: float = TIMEOUT_S) -> None:
        self._context = context
        self._url = urlsplit(context.address)
        self._timeout_s = timeout_s
        self._headers = {"accept": "application/json", "user-agent": f"mesh/{__version__}"}
        if token := context.bearer_token():
            if not token.isascii() or any(map(str.isspace, token)):
                raise ConfigError([Violation(file=context.token_file, message="this is not a token")])
            self._headers["authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection | None = None

    @property
    def address(self) -> str:
        return self._context.address

    def get(self, path: str, query: Query | None = None) -> Any:
        """Return the JSON of a page. Raises: CommandFailed, RequestRefused."""
        return self._json("GET", path, query=query)

    def find(self, path: str, query: Query | None = None) -> Any | None:
        """Like `get`, but nothing where there is nothing."""
        try:
            return self.get(path, query)
        except RequestRefused as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def post(self, path: str, body: Any, query: Query | None = None) -> Any:
        """Send JSON and return JSON. Raises: CommandFailed, RequestRefused."""
        return self._json("POST", path, query=query, body=body)

    def post_text(self, path: str, body: Any) -> str:
        """Send JSON and return text, such as a token. Raises: CommandFailed, RequestRefused."""
        return self._request("POST", path, body=body).body.decode()

    def version(self, path: str) -> str:
        """Return the version (ETag) of a resource, empty where nobody wrote it. Raises: CommandFailed, RequestRefused."""
        return self._request("GET", path).headers.get("etag", "")

    def delete(self, path: str) -> None:
        """Delete what is at `path`. Raises: CommandFailed, RequestRefused."""
        self._request("DELETE", path)

    def items(self, path: str, query: Query | None = None) -> Iterator[dict[str, Any]]:
        """Go through a list, page by page. Raises: CommandFailed, RequestRefused."""
        offset: str | None = "0"
        for _ in range(PAGES_MAX):
            page = self.page(path, {**(query or {}), "size": str(PAGE_SIZE), "offset": offset or "0"})
            yield from page["items"]
            offset = next_offset(page)
            if offset is None:
                return

    def find_items(self, path: str, query: Query | None = None) -> list[dict[str, Any]]:
        """Like `items`, but nothing where the control plane has no such list, as an older one."""
        try:
            return list(self.items(path, query))
        except RequestRefused as error:
            if error.status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.METHOD_NOT_ALLOWED):
                return []
            raise

    def page(self, path: str, query: Query) -> dict[str, Any]:
        """Return one page of a list: `{"total", "items", "next"}`. Raises: CommandFailed, RequestRefused."""
        page = self.get(path, query)
        if not isinstance(page, dict) or not isinstance(page.get("items") or [], list):
            raise self._not_ours(path)
        return {**page, "items": page.get("items") or []}

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _json(self, method: str, path: str, *, query: Query | None = None, body: Any = None) -> Any:
        answer = self._request(method, path, query=query, body=body)
        try:
            return json.loads(answer.body)
        except ValueError:
            raise self._not_ours(path) from None

    def _request(self, method: str, path: str, *, query: Query | None = None, body: Any = None) -> _Answer:
        target = f"{self._url.path}{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = self._headers if data is None else {**self._headers, "content-type": "application/json"}
        try:
            answer = self._exchange(method, target, data, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise _unreachable(error, self._context, self._timeout_s) from error
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise _refusal(answer, self._context)
        if answer.status >= http.HTTPStatus.MULTIPLE_CHOICES:
            # Not followed: the token is for this address alone.
            place = answer.headers.get("location", "elsewhere")
            raise CommandFailed(f"{self.address} sends us on to {place}", hint=f"use that address: {ADD_HINT}")
        return answer

    def _exchange(self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]) -> _Answer:
        reused = self._connection is not None
        connection = self._connection = self._connection or self._connect()
        try:
            connection.request(method, target, body=data, headers=dict(headers))
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            # A server may end an idle connection at any time. Only what changes nothing is asked again.
            self.close()
            if not reused or method != "GET":
                raise
            return self._exchange(method, target, data, headers)
        answer = _Answer(status=response.status, headers=response.headers, body=response.read(BODY_BYTES_MAX))
        if response.will_close:
            self.close()
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        port = self._url.port or _DEFAULT_PORT[self._url.scheme]
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._tls())

    def _tls(self) -> ssl.SSLContext:
        file = self._context.ca_cert_file
        try:
            return ssl.create_default_context(cafile=file or None)
        except (OSError, ssl.SSLError) as error:
            reason = "no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
            message = f"cannot read the control plane's CA certificate: {reason}"
            hint = "copy ca.pem from the control plane's data folder"
            raise ConfigError([Violation(file=file, message=message, hint=hint)]) from error

    def _not_ours(self, path: str) -> CommandFailed:
        message = f"what answers at {self.address}{path} is not a control plane's API"
        return CommandFailed(message, hint=f"see which one is meant: mesh config control-planes list; or {ADD_HINT}")


def next_offset(page: Mapping[str, Any]) -> str | None:
    """Return where the next page of a list begins, if there is one; `next` is a URL, of which the rest is not followed."""
    link = page.get("next")
    offsets = parse_qs(urlsplit(link).query).get("offset", []) if isinstance(link, str) else []
    return offsets[0] if offsets and page["items"] else None


def _unreachable(error: Exception, context: Context, timeout_s: float) -> CommandFailed:
    address = context.address
    start = f"start one with `mesh control-plane --data DIR`, or name another: {ADD_HINT}"
    match error:
        case ssl.SSLCertVerificationError():
            with_ca = f"by {context.ca_cert_file}" if context.ca_cert_file else "by this machine's authorities"
            message = f"the certificate of {address} is not vouched for {with_ca}: {error.verify_message}"
            return CommandFailed(
                message, hint=f"name the control plane's ca.pem: {_again(context)} --ca-cert-file FILE"
            )
        case ssl.SSLError():
            return CommandFailed(f"{address} does not speak TLS", hint="write http:// if it is the plain port, 5681")
        case socket.gaierror():
            return CommandFailed(f"no host of that name: {address}", hint=f"name another: {ADD_HINT}")
        case TimeoutError():
            return CommandFailed(f"the control plane at {address} did not answer within {timeout_s:g} s")
        case ConnectionRefusedError():
            return CommandFailed(f"no control plane answers at {address}: connection refused", hint=start)
        case http.client.RemoteDisconnected() | http.client.BadStatusLine() | ConnectionResetError():
            hint = "write https:// if it is the TLS port, 5682" if address.startswith("http:") else ""
            return CommandFailed(f"the control plane at {address} ended the connection without an answer", hint=hint)
        case OSError():
            return CommandFailed(f"cannot reach the control plane at {address}: {error.strerror or error}", hint=start)
        case _:
            return CommandFailed(f"what answers at {address} does not speak HTTP", hint=start)


def _again(context: Context) -> str:
    """Return the words that write a context anew."""
    if not context.name:
        return ADD_HINT
    return f"mesh config control-planes add --overwrite --name {context.name} --address {context.address}"


_TITLED = (401, 403, 404)  # Our words say what their titles say.
_OTHER_PORT = "its API is on 5681 (http) and 5682 (https); 5678 is for sidecars"
_WORDS = {
    401: ("the control plane does not know who is asking", f"show a user token: {ADD_HINT} --token-file FILE"),
    403: ("this is not allowed to you", "ask somebody of the group mesh-system:admin, or use their context"),
    404: ("not found", ""),
    405: ("this control plane does not do that", ""),
    409: ("somebody else changed it meanwhile", "get it again, and apply your change to that"),
    412: ("somebody else changed it meanwhile", "get it again, and apply your change to that"),
    413: ("this is too much at once", "apply fewer files at a time"),
    503: ("the control plane cannot do it now", "try again in a moment; its log says more"),
}


def _refusal(answer: _Answer, context: Context) -> RequestRefused:
    """Put an answer with an error into words."""
    status = answer.status
    failed = "the control plane failed" if status >= 500 else "the control plane refused"
    words, hint = _WORDS.get(status, (failed, "its log says more" if status >= 500 else ""))
    try:
        error = json.loads(answer.body)
    except ValueError:
        error = {}
    if not isinstance(error, dict):
        error = {}
    if status == http.HTTPStatus.BAD_REQUEST and not error:
        message = f"what answers at {context.address} is not a control plane's API"
        return RequestRefused(message, hint=_OTHER_PORT, status=status, invalid=())
    invalid = _invalid_parameters(error)
    said = [parameter.reason for parameter in invalid] or _said(error, with_title=status not in _TITLED)
    said = [text for text in said if text.casefold() != words]
    if said or error:
        message = ": ".join([words, *(["; ".join(said)] if invalid else said)])
    else:
        message = f"{words} ({status} from {context.address})"
    return RequestRefused(message, hint=hint, status=status, invalid=invalid)


def _said(error: Mapping[str, Any], *, with_title: bool) -> list[str]:
    """Return what an error says of itself: what, and why. `with_title`: our own words do not say the title already."""
    title, detail = ((text if isinstance(text := error.get(key), str) else "") for key in ("title", "detail"))
    detail = detail or str(error.get("details") or "")
    return list(dict.fromkeys(text for text in (title if with_title or not detail else "", detail) if text))


def _invalid_parameters(error: Mapping[str, Any]) -> tuple[InvalidParameter, ...]:
    """Return what was wrong, in the new spelling or Kuma's old one (`causes`)."""
    for key, reason in (("invalid_parameters", "reason"), ("causes", "message")):
        items = error.get(key)
        if isinstance(items, list) and items:
            return tuple(
                InvalidParameter(str(item.get("field", "")), str(item.get(reason, "")), item.get("resource") or {})
                for item in items
                if isinstance(item, dict)
            )
    return ()
