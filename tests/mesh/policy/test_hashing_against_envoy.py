"""Requests with keys through a real Envoy and through our selector: each key must come to the same endpoint.

Envoy is its own upstream: listeners that answer with their address. Each case is a cluster and a route of one process.
"""

import contextlib
import http.client
import importlib.util
import json
import random
import re
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from mesh.policy.load_balancing import Balancer, EndpointSelector, HashFunction, LoadBalancing, PeakEwma
from mesh.policy.request_hash import HashPolicy, HashSource, RequestHasher

pytestmark = pytest.mark.envoy

KEYS = [f"key-{number}" for number in range(200)]
HOSTS = 6
START_S_MAX = 20.0
HEADER = (HashPolicy(source=HashSource.HEADER, name="x-key"),)


@attrs.define(eq=False)
class Host:
    """An endpoint, whose label is known when the ports are."""

    index: int
    weight: int = 1
    healthy: bool = True
    priority: int = 0
    locality: str = ""
    locality_weight: int = 0
    label: str = ""
    active: int = 0
    healthy_since: float = float("-inf")
    latency: PeakEwma | None = None


@attrs.frozen
class Head:
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    def header(self, name_lower: bytes) -> bytes | None:
        values = [value for name, value in self.headers if name == name_lower]
        return (b"; " if name_lower == b"cookie" else b", ").join(values) if values else None


@attrs.frozen(kw_only=True)
class Case:
    name: str
    config: LoadBalancing
    hosts: tuple[Host, ...]
    policies: tuple[HashPolicy, ...] = HEADER
    retries: int = 0  # hosts answer 503; the last of so many other hosts is compared


def hosts_of(*weights: int) -> tuple[Host, ...]:
    return tuple(Host(index, weight) for index, weight in enumerate(weights))


RING = LoadBalancing(balancer=Balancer.RING_HASH)
MURMUR = attrs.evolve(RING, hash_function=HashFunction.MURMUR_HASH_2)
MAGLEV = LoadBalancing(balancer=Balancer.MAGLEV)
UNEQUAL = (1, 2, 3, 4, 5)
# One usable of four has health 35, so the next priority gets the greater part.
SPILLING = (
    Host(0, 2),
    Host(1, healthy=False),
    Host(2, healthy=False),
    Host(3, healthy=False),
    Host(4, priority=1),
    Host(5, priority=1),
)
PANICKING = tuple(Host(index, index + 1, healthy=index == 0) for index in range(5))
IN_LOCALITIES = (
    Host(0, 1, locality="a", locality_weight=3),
    Host(1, 4, locality="a", locality_weight=3),
    Host(2, 1, locality="b", locality_weight=5),
    Host(3, 1, locality="b", locality_weight=5, healthy=False),
    Host(4, 1, locality="c", locality_weight=2),
    Host(5, 1, locality="d", locality_weight=0),
)
PANICKING_IN_LOCALITIES = tuple(attrs.evolve(host, healthy=host.index == 0) for host in IN_LOCALITIES)
MANY_PROPERTIES = (
    HashPolicy(source=HashSource.HEADER, name="x-first", terminal=True),
    HashPolicy(source=HashSource.HEADER, name="x-key"),
    HashPolicy(source=HashSource.COOKIE, name="session"),
    HashPolicy(source=HashSource.QUERY_PARAMETER, name="q", terminal=True),
    HashPolicy(source=HashSource.HEADER, name="x-key"),
)
NEW_COOKIE = (HashPolicy(source=HashSource.COOKIE, name="session", cookie_ttl_s=3600.0, cookie_path="/shop"),)
SESSION_COOKIE = (HashPolicy(source=HashSource.COOKIE, name="session", cookie_ttl_s=0.0),)

KEY_CASES = [
    Case(name="ring", config=RING, hosts=hosts_of(1, 1, 1, 1, 1)),
    Case(name="ring_unequal", config=RING, hosts=hosts_of(*UNEQUAL)),
    Case(name="ring_one_heavy", config=RING, hosts=hosts_of(1, 500)),
    Case(name="ring_murmur", config=MURMUR, hosts=hosts_of(*UNEQUAL)),
    Case(name="ring_of_7", config=attrs.evolve(RING, ring_size_min=7, ring_size_max=7), hosts=hosts_of(*UNEQUAL)),
    Case(name="ring_minimum_1", config=attrs.evolve(RING, ring_size_min=1), hosts=hosts_of(1, 1, 1, 1, 1)),
    Case(name="ring_capped", config=attrs.evolve(RING, ring_size_max=1024), hosts=hosts_of(3, 1, 7, 1000, 1)),
    Case(name="ring_spilling", config=RING, hosts=SPILLING),
    Case(name="ring_panicking", config=RING, hosts=PANICKING),
    Case(name="ring_localities", config=RING, hosts=IN_LOCALITIES),
    Case(name="ring_panicking_localities", config=RING, hosts=PANICKING_IN_LOCALITIES),
    Case(name="ring_retry", config=RING, hosts=hosts_of(*UNEQUAL), retries=1),
    Case(name="ring_no_panic", config=attrs.evolve(RING, panic_percent=0.0), hosts=PANICKING),
    Case(name="maglev", config=MAGLEV, hosts=hosts_of(1, 1, 1, 1, 1)),
    Case(name="maglev_unequal", config=MAGLEV, hosts=hosts_of(*UNEQUAL)),
    Case(name="maglev_one_heavy", config=MAGLEV, hosts=hosts_of(3, 1000, 1, 1, 7)),
    Case(name="maglev_of_31", config=attrs.evolve(MAGLEV, table_size=31), hosts=hosts_of(*UNEQUAL)),
    Case(name="maglev_of_3", config=attrs.evolve(MAGLEV, table_size=3), hosts=hosts_of(1, 1, 1, 1, 1)),
    Case(name="maglev_spilling", config=MAGLEV, hosts=SPILLING),
    Case(name="maglev_overprovisioned", config=attrs.evolve(MAGLEV, overprovisioning_percent=250.0), hosts=SPILLING),
    Case(name="maglev_panicking", config=MAGLEV, hosts=PANICKING),
    Case(name="maglev_localities", config=MAGLEV, hosts=IN_LOCALITIES),
    Case(name="maglev_panicking_localities", config=MAGLEV, hosts=PANICKING_IN_LOCALITIES),
    Case(name="maglev_retry", config=MAGLEV, hosts=hosts_of(*UNEQUAL), retries=1),
]
PROPERTY_CASE = Case(name="properties", config=RING, hosts=hosts_of(1, 1, 1, 1, 1, 1), policies=MANY_PROPERTIES)
ADDRESS_CASE = Case(
    name="address",
    config=RING,
    hosts=hosts_of(1, 1, 1, 1, 1, 1),
    policies=(*HEADER, HashPolicy(source=HashSource.CONNECTION)),
)
COOKIE_CASES = [
    Case(name="new_cookie", config=MAGLEV, hosts=hosts_of(1, 1, 1, 1, 1, 1), policies=NEW_COOKIE),
    Case(name="session_cookie", config=MAGLEV, hosts=hosts_of(1, 1, 1, 1, 1, 1), policies=SESSION_COOKIE),
]
TURNS_CASE = Case(name="turns", config=LoadBalancing(balancer=Balancer.ROUND_ROBIN), hosts=IN_LOCALITIES)
CASES = [*KEY_CASES, PROPERTY_CASE, ADDRESS_CASE, *COOKIE_CASES, TURNS_CASE]


def listener(port: int, routes: list[dict[str, Any]]) -> dict[str, Any]:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "hashing",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def upstream(port: int, status: int) -> dict[str, Any]:
    answer = {"status": status, "body": {"inline_string": f"127.0.0.1:{port}"}}
    return listener(port, [{"match": {"prefix": "/"}, "direct_response": answer}])


def hash_policy(policy: HashPolicy) -> dict[str, Any]:
    match policy.source:
        case HashSource.HEADER:
            made: dict[str, Any] = {"header": {"header_name": policy.name}}
        case HashSource.COOKIE:
            made = {"cookie": {"name": policy.name, "path": policy.cookie_path}}
            if policy.cookie_ttl_s is not None:
                made["cookie"]["ttl"] = f"{policy.cookie_ttl_s:.0f}s"
        case HashSource.CONNECTION:
            made = {"connection_properties": {"source_ip": True}}
        case HashSource.QUERY_PARAMETER:
            made = {"query_parameter": {"name": policy.name}}
    return {**made, "terminal": policy.terminal}


def route(case: Case) -> dict[str, Any]:
    action: dict[str, Any] = {"cluster": case.name, "hash_policy": [hash_policy(policy) for policy in case.policies]}
    if case.retries:
        action["retry_policy"] = {
            "retry_on": "5xx",
            "num_retries": case.retries,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 9,
        }
    return {"match": {"prefix": f"/{case.name}/"}, "route": action}


def cluster(case: Case) -> dict[str, Any]:
    config = case.config
    common: dict[str, Any] = {"healthy_panic_threshold": {"value": config.panic_percent}}
    if any(host.locality_weight for host in case.hosts):
        common["locality_weighted_lb_config"] = {}
    made: dict[str, Any] = {"name": case.name, "type": "STATIC", "common_lb_config": common}
    if config.balancer is Balancer.RING_HASH:
        made["lb_policy"] = "RING_HASH"
        made["ring_hash_lb_config"] = {
            "minimum_ring_size": config.ring_size_min,
            "maximum_ring_size": config.ring_size_max,
            "hash_function": "MURMUR_HASH_2" if config.hash_function is HashFunction.MURMUR_HASH_2 else "XX_HASH",
        }
    elif config.balancer is Balancer.MAGLEV:
        made["lb_policy"] = "MAGLEV"
        made["maglev_lb_config"] = {"table_size": config.table_size}
    made["load_assignment"] = {
        "cluster_name": case.name,
        "endpoints": groups(case),
        "policy": {"overprovisioning_factor": int(config.overprovisioning_percent)},
    }
    return made


def groups(case: Case) -> list[dict[str, Any]]:
    by_place: dict[tuple[int, str, int], list[dict[str, Any]]] = {}
    for host in case.hosts:
        address, _, port = host.label.rpartition(":")
        by_place.setdefault((host.priority, host.locality, host.locality_weight), []).append(
            {
                "endpoint": {"address": {"socket_address": {"address": address, "port_value": int(port)}}},
                "load_balancing_weight": host.weight,
                "health_status": "HEALTHY" if host.healthy else "UNHEALTHY",
            }
        )
    return [
        {
            "priority": priority,
            "locality": {"zone": locality},
            "lb_endpoints": endpoints,
            **({"load_balancing_weight": weight} if weight else {}),
        }
        for (priority, locality, weight), endpoints in by_place.items()
    ]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def envoy_binary() -> Path | None:
    found = importlib.util.find_spec("envoy")
    folders = found.submodule_search_locations if found else None
    binaries = [Path(folder) / "_bin" / "envoy" for folder in folders or ()]
    return next((binary for binary in binaries if binary.exists()), None)


@attrs.define
class Envoy:
    port: int
    connection: http.client.HTTPConnection

    def ask(self, case: Case, headers: list[tuple[str, str]], query: str = "") -> tuple[str, str]:
        """Return which host answered, and the cookie that it set."""
        self.connection.putrequest("GET", f"/{case.name}/{query}")
        for name, value in headers:
            self.connection.putheader(name, value)
        self.connection.endheaders()
        response = self.connection.getresponse()
        return response.read().decode(), response.headers.get("set-cookie", "")


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    binary = envoy_binary()
    if binary is None:
        pytest.skip("no Envoy here: install the extra `envoy`")
    port, admin, *ports = free_ports(2 + 2 * HOSTS)
    sound, failing = ports[:HOSTS], ports[HOSTS:]
    for case in CASES:
        for host in case.hosts:
            host.label = f"127.0.0.1:{(failing if case.retries else sound)[host.index]}"
    made = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {
            "listeners": [
                listener(port, [route(case) for case in CASES]),
                *(upstream(one, 200) for one in sound),
                *(upstream(one, 503) for one in failing),
            ],
            "clusters": [cluster(case) for case in CASES],
        },
    }
    folder = tmp_path_factory.mktemp("envoy")
    (folder / "bootstrap.json").write_text(json.dumps(made))
    command = [str(binary), "-c", str(folder / "bootstrap.json"), "--concurrency", "1", "--disable-hot-restart"]
    with (folder / "envoy.log").open("wb") as log, subprocess.Popen([*command, "-l", "warning"], stderr=log) as process:
        try:
            wait_until_live(admin, process, folder / "envoy.log")
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)) as connection:
                yield Envoy(port, connection)
        finally:
            process.terminate()


def wait_until_live(admin: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S_MAX
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready") as response:
            if response.read() == b"LIVE\n":
                return
        time.sleep(0.05)
    pytest.fail(f"Envoy did not come up: {log.read_text()[-2000:]}")


def selector_of(case: Case) -> EndpointSelector[Host]:
    return EndpointSelector(case.config, case.hosts, lambda host: host.healthy, random.Random(1), now=0.0)


def our_pick(case: Case, selector: EndpointSelector[Host], head: Head, remote_host: str = "127.0.0.1") -> str:
    request_hash, _ = RequestHasher(case.policies).hash(head, remote_host, random.Random(1))
    assert request_hash is not None
    tried: list[Host] = []
    for _ in range(case.retries + 1):
        # As Envoy does: a host that has been tried is refused, the next pick is for the next attempt.
        picks = (selector.pick(0.0, request_hash, attempt) for attempt in range(10))
        chosen = [host for host in picks if host not in tried] or [None]
        if chosen[0] is None:
            return "no healthy upstream"
        tried.append(chosen[0])
    return tried[-1].label


@pytest.mark.parametrize("case", KEY_CASES, ids=lambda case: case.name)
def test_each_key_comes_to_the_endpoint_that_envoy_chooses(envoy: Envoy, case: Case) -> None:
    selector = selector_of(case)
    theirs = {key: envoy.ask(case, [("x-key", key)])[0] for key in KEYS}
    ours = {key: our_pick(case, selector, Head(b"/", ((b"x-key", key.encode()),))) for key in KEYS}
    assert ours == theirs


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([("x-first", "$"), ("x-key", "a")], "?q=2"),
        ([("x-key", "a$")], ""),
        ([("x-key", "a")], "?q=$"),
        ([("x-key", "a")], "?p=1&q=%20+$&q=3"),
        ([("x-key", "a$")], "?q="),
        ([("x-key", "a$")], "?q"),
        ([], "?q=$"),
        ([("x-key", "b"), ("x-key", "a$")], ""),
        ([("x-key", "a$"), ("x-key", "b"), ("x-key", "a$")], ""),
        ([("x-key", "b,a$")], ""),
        ([("x-key", "")], "?q=$"),
        ([("cookie", "session=$")], ""),
        ([("cookie", 'a=b; session="quoted$"; session=2')], ""),
        ([("cookie", "a=b"), ("cookie", "session=s$ ")], ""),
        ([("cookie", "session=$ ; a=b")], ""),
        ([("cookie", "session=;x=y"), ("x-key", "a$")], "?q=1"),
        ([("cookie", "session = 1"), ("x-key", "a$")], ""),
        ([("cookie", "session=a=$"), ("x-key", "a")], ""),
        ([("cookie", "session"), ("x-key", "a$")], ""),
        ([("cookie", "session=; session=$")], "?q=1"),
    ],
)
def test_properties_are_combined_as_envoy_does(envoy: Envoy, headers: list[tuple[str, str]], query: str) -> None:
    """With six hosts and twenty other values each, a wrong hash does not go unnoticed."""
    selector = selector_of(PROPERTY_CASE)
    for number in range(20):
        salt = str(number)
        sent = [(name, value.replace("$", salt)) for name, value in headers]
        theirs, _ = envoy.ask(PROPERTY_CASE, sent, query.replace("$", salt))
        fields = tuple((name.encode(), value.strip().encode()) for name, value in sent)
        head = Head(f"/properties/{query.replace('$', salt)}".encode(), fields)
        assert our_pick(PROPERTY_CASE, selector, head) == theirs


def test_address_of_the_client_counts_without_its_port(envoy: Envoy) -> None:
    selector = selector_of(ADDRESS_CASE)
    for key in KEYS[:50]:
        head = Head(b"/", ((b"x-key", key.encode()),))
        assert our_pick(ADDRESS_CASE, selector, head) == envoy.ask(ADDRESS_CASE, [("x-key", key)])[0]


@pytest.mark.parametrize("case", COOKIE_CASES, ids=lambda case: case.name)
def test_new_cookies_look_like_envoys_and_lead_back(envoy: Envoy, case: Case) -> None:
    host, cookie = envoy.ask(case, [])
    _, line = RequestHasher(case.policies).hash(Head(b"/", ()), "127.0.0.1", random.Random(1))
    value = re.compile(r'"[0-9a-f]{16}"')
    assert value.sub("", line.decode()) == f"set-cookie: {value.sub('', cookie)}\r\n"
    assert value.search(cookie) and value.search(line.decode())
    sent = cookie.partition(";")[0]
    assert envoy.ask(case, [("cookie", sent)]) == (host, "")
    assert our_pick(case, selector_of(case), Head(b"/", ((b"cookie", sent.encode()),))) == host


def test_localities_get_envoys_shares(envoy: Envoy) -> None:
    """Weights 3, 5 and 2; of the second only one of two hosts is usable, which counts as 0.7 of it."""
    selector = selector_of(TURNS_CASE)
    count = 340
    theirs = Counter(envoy.ask(TURNS_CASE, [])[0] for _ in range(count))
    ours: Counter[str] = Counter()
    for _ in range(count):
        picked = selector.pick(0.0)
        assert picked is not None
        ours[picked.label] += 1
    assert theirs.keys() == ours.keys()
    for label, times in theirs.items():
        assert abs(ours[label] - times) <= 2
