"""New paths and Locations, by the tables of the Gateway API and by what a real Envoy was seen to answer."""

import pytest

from mesh.policy.path_rewrite import location, rewritten_target
from mesh.policy.routing import PathRewrite, Redirect


@pytest.mark.parametrize(
    ("path", "prefix", "replacement", "expected"),
    [
        # The Gateway API's own table (HTTPPathModifier.replacePrefixMatch).
        (b"/foo/bar", b"/foo", "/xyz", b"/xyz/bar"),
        (b"/foo/bar", b"/foo", "/xyz/", b"/xyz/bar"),
        (b"/foo/bar", b"/foo/", "/xyz", b"/xyz/bar"),
        (b"/foo/bar", b"/foo/", "/xyz/", b"/xyz/bar"),
        (b"/foo", b"/foo", "/xyz", b"/xyz"),
        (b"/foo/", b"/foo", "/xyz", b"/xyz/"),
        (b"/foo/bar", b"/foo", "", b"/bar"),
        (b"/foo/", b"/foo", "", b"/"),
        (b"/foo", b"/foo", "", b"/"),
        (b"/foo/", b"/foo", "/", b"/"),
        (b"/foo", b"/foo", "/", b"/"),
        # The prefix of everything.
        (b"/bar", b"/", "/xyz", b"/xyz/bar"),
        (b"/", b"/", "/xyz", b"/xyz/"),
    ],
)
def test_a_prefix_is_replaced(path: bytes, prefix: bytes, replacement: str, expected: bytes) -> None:
    rewrite = PathRewrite(value=replacement, prefix=True)
    assert rewritten_target(path, path, rewrite, prefix) == expected
    assert rewritten_target(path + b"?a=/foo?b", path, rewrite, prefix) == expected + b"?a=/foo?b"


def test_the_whole_path_is_replaced_and_the_query_stays() -> None:
    rewrite = PathRewrite(value="/new")
    assert rewritten_target(b"/old/path?q=1", b"/old/path", rewrite, b"/old") == b"/new?q=1"
    assert rewritten_target(b"http://svc/old?q=1", b"/old", rewrite, b"/") == b"/new?q=1"


@pytest.mark.parametrize("target", [b"*", b"svc:443"])
def test_what_has_no_path_stays(target: bytes) -> None:
    assert rewritten_target(target, target, PathRewrite(value="/new"), b"/") == target


@pytest.mark.parametrize(
    ("redirect", "host", "expected"),
    [
        # Recorded from Envoy 1.40, case `redirect`.
        (Redirect(scheme="https", path=PathRewrite(value="/new")), b"svc", b"https://svc/new?q=1"),
        (Redirect(hostname="other"), b"svc:8080", b"http://other/a/b?q=1"),
        (Redirect(hostname="other", port=8080), b"svc", b"http://other:8080/a/b?q=1"),
        (Redirect(port=81), b"svc:8080", b"http://svc:81/a/b?q=1"),
        (Redirect(port=80), b"svc:8080", b"http://svc/a/b?q=1"),
        (Redirect(scheme="https", port=443), b"svc:8080", b"https://svc/a/b?q=1"),
        (Redirect(scheme="https", port=80), b"svc", b"https://svc:80/a/b?q=1"),
        (Redirect(scheme="https"), b"svc:80", b"https://svc/a/b?q=1"),
        (Redirect(scheme="https"), b"svc:8443", b"https://svc:8443/a/b?q=1"),
        (Redirect(), b"svc:8080", b"http://svc:8080/a/b?q=1"),
        (Redirect(port=1), b"[::1]:80", b"http://[::1]:1/a/b?q=1"),
        (Redirect(port=1), b"[::1]", b"http://[::1]:1/a/b?q=1"),
        (Redirect(path=PathRewrite(value="/c", prefix=True)), b"svc", b"http://svc/c/b?q=1"),
    ],
)
def test_location(redirect: Redirect, host: bytes, expected: bytes) -> None:
    assert location(redirect, host, b"/a/b?q=1", b"/a/b", b"/a", b"http") == expected


def test_location_of_a_target_without_a_path() -> None:
    assert location(Redirect(hostname="other"), b"svc", b"*", b"*", b"/", b"http") == b"http://other/"
