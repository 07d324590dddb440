"""Whatever is sent, the API answers in its own shapes: never a 500, never somebody else's text."""

import json
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.control.api.table import endpoints
from tests.mesh.control.api.api_world import ApiWorld, exchange, run, timeout

PATHS = sorted({endpoint.path for endpoint in endpoints()})
WORDS = st.sampled_from(
    ["default", "slow", "x", "_overview", "kri_mt_default___slow_", "", "..", "%00", "é", "a b", "💥"]
)
SEGMENTS = WORDS | st.text(max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "mesh", "name", "labels", "spec", "to", "targetRef", "default", "resources", "data"]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
BODIES = VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60)
REQUESTS = st.tuples(
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PRI"]),
    st.sampled_from(PATHS) | st.text(max_size=30).map(lambda text: f"/{text}"),
    st.lists(SEGMENTS, min_size=3, max_size=3),
    st.dictionaries(
        st.sampled_from(["size", "offset", "tag", "shadow", "filter[labels.a]", "before"]), WORDS, max_size=2
    ),
    st.dictionaries(
        st.sampled_from(["host", "if-match", "if-none-match", "origin", "content-length", "x-forwarded-for"]),
        st.text(st.characters(codec="latin-1"), max_size=12),
        max_size=3,
    ),
    BODIES,
)


def fill(path: str, words: list[str]) -> str:
    for word in words:
        start, brace, rest = path.partition("{")
        if not brace:
            break
        path = f"{start}{word}{rest.partition('}')[2]}"
    return path


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(REQUESTS, min_size=40, max_size=40))
def test_no_request_breaks_the_api(requests: list[Any]) -> None:
    async def body(world: ApiWorld) -> None:
        await world.put("/meshes/default/meshtimeouts/slow", timeout())
        for method, path, words, query, headers, data in requests:
            scope = {
                "type": "http",
                "http_version": "1.1",
                "method": method,
                "scheme": "http",
                "path": fill(path, words),
                "query_string": "&".join(f"{key}={value}" for key, value in query.items()).encode(),
                "headers": [
                    (b"authorization", f"Bearer {world.token}".encode()),
                    *((name.encode(), value.encode("latin-1")) for name, value in headers.items()),
                ],
                "client": ("127.0.0.1", 1),
                "server": ("127.0.0.1", 5681),
            }
            with trio.fail_after(30):
                reply = await exchange(world.app, scope, data)
            assert reply.status < 500, (scope, data, world.memory.named("api.crashed"))
            if reply.status >= 400:
                assert (
                    reply.json["type"] == "/std-errors" and reply.json["title"] and reply.json["status"] == reply.status
                )

    run(body)


HEADERS = st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin-1"))


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(HEADERS, min_size=40, max_size=40))
def test_no_authorization_header_breaks_the_api(headers: list[str]) -> None:
    async def body(world: ApiWorld) -> None:
        for header in headers:
            value = header.encode("latin-1", "replace").decode("latin-1")
            reply = await world.request("GET", "/", token="", headers=[("authorization", f"Bearer {value}")])
            assert reply.status == 401

    run(body)
