"""Path rewrite: where a request goes instead, and the Location of a redirect. Pure, in bytes.

Source: Gateway API HTTPPathModifier (its table of prefixes), Envoy `RedirectAction` (newUri in
source/common/router/config_impl.cc). Unlike with Envoy's prefix_rewrite, no `//` arises where a prefix ends.
"""

from mesh.policy.routing import PathRewrite, Redirect

_DEFAULT_PORTS = {b"http": 80, b"https": 443}


def rewritten_target(target: bytes, path: bytes, rewrite: PathRewrite, matched_prefix: bytes) -> bytes:
    """Return the target to ask for, in origin form and with the query that the client sent.

    `path` is the target's; `matched_prefix` is what a route's match gives as prefix. What has no path (`*`, the
    authority of a CONNECT) stays.
    """
    if not path.startswith(b"/"):
        return target
    _, mark, query = target.partition(b"?")
    return _rewritten_path(path, rewrite, matched_prefix) + mark + query


def location(
    redirect: Redirect, head_host: bytes, target: bytes, path: bytes, matched_prefix: bytes, scheme: bytes
) -> bytes:
    """Return the Location, an absolute URI: `scheme` is how the client asked, `head_host` its host[:port].

    The client's port stays with the client's host, but for one that was only its scheme's; ports that go without
    saying are left out.
    """
    new_scheme = redirect.scheme.encode() or scheme
    host, port = _split_port(head_host)
    if redirect.hostname:
        host, port = redirect.hostname.encode(), 0
    elif port == _DEFAULT_PORTS.get(scheme):
        port = 0
    port = redirect.port or port
    shown = b":%d" % port if port and port != _DEFAULT_PORTS.get(new_scheme) else b""
    new_target = b"/"
    if path.startswith(b"/"):
        mark, query = target.partition(b"?")[1:]
        new_path = path if redirect.path is None else _rewritten_path(path, redirect.path, matched_prefix)
        new_target = new_path + mark + query
    return b"%b://%b%b%b" % (new_scheme, host, shown, new_target)


def _rewritten_path(path: bytes, rewrite: PathRewrite, matched_prefix: bytes) -> bytes:
    value = rewrite.value.encode()
    if not rewrite.prefix:
        return value or b"/"
    rest = path[len(matched_prefix.removesuffix(b"/")) :]
    return value.removesuffix(b"/") + rest or b"/"


def _split_port(host: bytes) -> tuple[bytes, int]:
    """Split host[:port]; port 0: none. An IPv6 address stands in brackets."""
    name, mark, port = host.rpartition(b":")
    if not mark or not port.isdigit() or name.endswith(b":") or (b":" in name and not name.endswith(b"]")):
        return host, 0
    return name, int(port)
