"""Routing: which route a request takes, shares, rewrites, redirects, changes of headers, mirrors."""

from collections.abc import Sequence

from mesh.config.snapshot import Backend, Mirror, Part, Route
from mesh.policy.retry import RetryOn, RetryPolicy
from mesh.policy.routing import (
    HeaderChanges,
    HeaderMatch,
    PathMatch,
    PathMatchKind,
    PathRewrite,
    QueryMatch,
    Redirect,
    Rewrite,
    RouteMatch,
    ValueMatchKind,
)
from tests.envoy.case import Bounds, Case, outbound, route, service
from tests.envoy.script import Answer, Stage, Step, Upstream, get, post, request, talk, times

A, B = Answer(body=b"a"), Answer(body=b"b")


def path(value: str, kind: PathMatchKind = PathMatchKind.PREFIX, **other: object) -> RouteMatch:
    return RouteMatch(path=PathMatch(kind=kind, value=value), **other)  # type: ignore[arg-type]


def _routed(name: str, routes: Sequence[Route], steps: Sequence[Step], **other: object) -> Case:
    """Two services, a and b, behind one listener with these routes."""
    parts: tuple[Part, ...] = (*service("a", name="a"), *service("b", name="b"), outbound(*routes))
    return Case(
        name=name,
        parts=parts,
        upstreams=(Upstream(name="a", answers=(A,)), Upstream(name="b", answers=(B,))),
        steps=tuple(steps),
        **other,  # type: ignore[arg-type]
    )


def _changed(name: str, steps: Sequence[Step] = (get(),), answer: Answer = A, **changes: object) -> Case:
    """One route that changes something."""
    return Case(
        name=name,
        parts=(*service("a", name="a"), outbound(route(to="a", **changes))),
        upstreams=(Upstream(name="a", answers=(answer,)),),
        steps=tuple(steps),
    )


def _split(name: str, weights: tuple[int, int], count: int, shares: dict[str, Bounds]) -> Case:
    backends = (Backend(cluster="a", weight=weights[0]), Backend(cluster="b", weight=weights[1]))
    return _routed(name, [route(backends=backends)], times(count, get()), ordered=False, shares=shares)


MATCHES = (
    _routed(
        "path_normalization",
        [route(match=path("/api"), to="a")],
        [
            get(target)
            for target in ("/api", "/api/x", "/apix", "/api//y", "/api/../z", "/api/%2e%2e/q", "/API/x", "/api?x=1")
        ],
    ),
    _routed("no_route", [route(match=path("/api"), to="a")], [get("/else")]),
    _routed(
        "no_route_for_grpc",
        [route(match=path("/api"), to="a")],
        [post(b"frame", "content-type: application/grpc", target="/else")],
    ),
    _routed(
        "route_exact_path",
        [route(match=path("/one", PathMatchKind.EXACT), to="a"), route(to="b")],
        [get("/one"), get("/one/"), get("/one?q=1"), get("/One"), get("/one%2F")],
    ),
    _routed(
        "route_regular_expression",
        [route(match=path("/v[0-9]+/items", PathMatchKind.REGULAR_EXPRESSION), to="a"), route(to="b")],
        [get("/v12/items"), get("/v12/items/3"), get("/x/v1/items"), get("/v1/items?q=/")],
    ),
    _routed(
        "route_method",
        [route(match=RouteMatch(method="POST"), to="a"), route(to="b")],
        [post(), get(), talk(request("DELETE"))],
    ),
    _routed(
        "route_header_exact",
        [route(match=RouteMatch(headers=(HeaderMatch(name="x-v", value="2"),)), to="a"), route(to="b")],
        [
            get("/", "x-v: 2"),
            get("/", "X-V: 2"),
            get("/", "x-v: 22"),
            get("/", "x-v: 2", "x-v: 3"),
            get("/", "x-v: 3", "x-v: 2"),
            get(),
        ],
    ),
    _routed(
        "route_header_prefix_and_present",
        [
            route(
                match=RouteMatch(
                    headers=(
                        HeaderMatch(name="x-v", kind=ValueMatchKind.PREFIX, value="ab"),
                        HeaderMatch(name="x-w", kind=ValueMatchKind.PRESENT),
                    )
                ),
                to="a",
            ),
            route(to="b"),
        ],
        [get("/", "x-v: abc", "x-w: "), get("/", "x-v: abc"), get("/", "x-v: xabc", "x-w: 1"), get("/", "x-w: 1")],
    ),
    _routed(
        "route_header_absent",
        [
            route(match=RouteMatch(headers=(HeaderMatch(name="x-v", kind=ValueMatchKind.ABSENT),)), to="a"),
            route(to="b"),
        ],
        [get(), get("/", "x-v: 1")],
    ),
    _routed(
        "route_header_regular_expression",
        [
            route(
                match=RouteMatch(
                    headers=(HeaderMatch(name="x-v", kind=ValueMatchKind.REGULAR_EXPRESSION, value="[a-z]+[0-9]"),)
                ),
                to="a",
            ),
            route(to="b"),
        ],
        [get("/", "x-v: abc1"), get("/", "x-v: abc12"), get("/", "x-v: 1")],
    ),
    _routed(
        "route_query",
        [
            route(match=RouteMatch(query=(QueryMatch(name="v", value="1"),)), to="a"),
            route(to="b"),
        ],
        [get("/?v=1"), get("/?a=b&v=1"), get("/?v=2"), get("/?v"), get("/?vv=1"), get("/?v=2&v=1"), get("/?v=%31")],
    ),
    _routed(
        "route_first_match_wins",
        [
            route("long", match=path("/a/b"), to="b"),
            route("short", match=path("/a"), to="a"),
            route("method", match=RouteMatch(method="PUT"), to="b"),
        ],
        [get("/a/b/c"), get("/a/bc"), get("/a"), talk(request("PUT", "/x")), get("/x")],
    ),
    _routed(
        "route_path_with_encoded_characters",
        [route(match=path("/a b"), to="a"), route(match=path("/caf%C3%A9"), to="a"), route(to="b")],
        [get("/a%20b"), get("/caf%C3%A9/x"), get("/%61%20b")],
    ),
)

SPLITS = (
    _split("split_90_10", (90, 10), 300, {"a": (250, 290), "b": (10, 50)}),
    _split("split_weight_0_gets_nothing", (1, 0), 20, {"a": (20, 20), "b": (0, 0)}),
    _routed(
        "no_backend_answers_500",
        [route(backends=())],
        [get(), post(b"frame", "content-type: application/grpc")],
    ),
    _routed("unresolved_backend_answers_500", [route(backends=(Backend(),))], [get()]),
    _routed(
        "unresolved_backend_takes_its_share",
        [route(backends=(Backend(cluster="a", weight=1), Backend(weight=1)))],
        times(100, get()),
        ordered=False,
        compares_replies=False,
        shares={"a": (25, 75)},
    ),
)

REWRITES = (
    *(
        Case(
            name=f"rewrite_prefix_{name}",
            parts=(
                *service("a", name="a"),
                outbound(
                    route(match=path(prefix), to="a", rewrite=Rewrite(path=PathRewrite(value=value, prefix=True)))
                ),
            ),
            upstreams=(Upstream(name="a"),),
            steps=(get(prefix), get(f"{prefix}/x?q=1"), get(f"{prefix}/"), get(f"{prefix}?q=/")),
        )
        for name, prefix, value in (
            ("to_another", "/api", "/v2"),
            ("to_the_root", "/api", "/"),
            ("that_ends_with_a_slash", "/api", "/v2/"),
        )
    ),
    _changed(
        "rewrite_whole_path",
        [get("/x/y?q=1&r=2"), get("/")],
        rewrite=Rewrite(path=PathRewrite(value="/only")),
    ),
    _changed("rewrite_hostname", [get("/")], rewrite=Rewrite(hostname="other.example")),
    _changed(
        "redirect",
        [get("/old?q=1")],
        backends=(),
        redirect=Redirect(scheme="https", path=PathRewrite(value="/new"), status=301),
    ),
    _changed("redirect_hostname", [get("/x?q=1")], backends=(), redirect=Redirect(hostname="new.example")),
    _changed("redirect_port", [get("/x")], backends=(), redirect=Redirect(port=8443, status=307)),
    _changed(
        "redirect_scheme_drops_the_default_port",
        [talk(request("GET", "/x", host="svc:80"))],
        backends=(),
        redirect=Redirect(scheme="https"),
    ),
    _changed(
        "redirect_keeps_an_unusual_port",
        [talk(request("GET", "/x", host="svc:8080"))],
        backends=(),
        redirect=Redirect(scheme="https"),
    ),
    Case(
        name="redirect_prefix",
        parts=(
            *service("a", name="a"),
            outbound(
                route(
                    match=path("/old"),
                    backends=(),
                    redirect=Redirect(path=PathRewrite(value="/new", prefix=True), status=308),
                ),
            ),
        ),
        upstreams=(Upstream(name="a"),),
        steps=(get("/old"), get("/old/x?q=1")),
    ),
    _changed(
        "redirect_of_a_post_with_a_body",
        [talk(request("POST", "/x", body=b"body"), request())],
        backends=(),
        redirect=Redirect(hostname="new.example", status=303),
    ),
)

HEADERS = (
    _changed(
        "headers_of_requests",
        [get("/", "x-set: client", "x-add: client", "x-gone: client", "X-Gone: again")],
        request_headers=(
            HeaderChanges(
                set=(("x-set", "ours"), ("x-new", "n")), add=(("x-add", "ours"), ("x-more", "m")), remove=("x-gone",)
            ),
        ),
    ),
    _changed(
        "headers_of_responses",
        [get()],
        Answer(headers=(("x-set", "server"), ("X-Add", "server"), ("X-Gone", "server"))),
        response_headers=(HeaderChanges(set=(("x-set", "ours"),), add=(("x-add", "ours"),), remove=("x-gone",)),),
    ),
    Case(
        name="headers_of_local_replies_are_changed_too",
        parts=(
            *service("a", name="a"),
            outbound(
                route(
                    to="a",
                    response_headers=(HeaderChanges(set=(("x-set", "ours"),)),),
                )
            ),
        ),
        upstreams=(Upstream(name="a", answers=(Answer(ends=Stage.REQUEST),)),),
        steps=(get(),),
    ),
    _changed(
        "headers_of_redirects_are_changed_too",
        [get()],
        backends=(),
        redirect=Redirect(hostname="new.example"),
        response_headers=(HeaderChanges(add=(("x-add", "ours"),)),),
    ),
)


def _mirrored(
    name: str, percent: float, steps: Sequence[Step], *, answers: tuple[Answer, ...] = (A,), **other: object
) -> Case:
    retry = RetryPolicy(retries_max=2, conditions=(RetryOn.SERVER_ERROR,))
    return Case(
        name=name,
        parts=(
            *service("a", name="a"),
            *service("b", name="b"),
            outbound(route(to="a", mirrors=(Mirror(cluster="b", percent=percent),), retry=retry)),
        ),
        upstreams=(Upstream(name="a", answers=answers), Upstream(name="b", answers=(Answer(status=500),))),
        steps=tuple(steps),
        ordered=False,
        **other,  # type: ignore[arg-type]
    )


MIRRORS = (
    _mirrored("mirror_100", 100.0, [get()]),
    _mirrored("mirror_100_post", 100.0, [post(b"body")]),
    _mirrored("mirror_0", 0.0, [get()]),
    _mirrored("mirror_30", 30.0, times(100, get()), shares={"a": (100, 100), "b": (12, 50)}),
    _mirrored("mirror_once_though_retried", 100.0, [get()], answers=(Answer(status=503), A)),
)
CASES = MATCHES + SPLITS + REWRITES + HEADERS + MIRRORS
