"""Control planes are killed with kill -9 again and again while an operator writes and a client calls through two sidecars.

Nothing that was acknowledged may be missing, no call may fail, and all sidecars come back.
"""

import http.client
import json
import random
import shutil
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from installation import Caller, Day, Plane, free_port, wait_until

from tests.postgres_server import PostgresServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

KILLS = 2
NAMES = 40
BACK_S = 20.0  # after a control plane serves again, until every sidecar has the newest configuration


def timeout_of(name: str, seconds: int) -> dict[str, object]:
    spec = {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"requestTimeout": f"{seconds}s"}}}]}
    return {"type": "MeshTimeout", "mesh": "shop", "name": name, "spec": spec}


def seconds_of(document: dict[str, object]) -> int:
    """Read the span that Go wrote."""
    text = json.dumps(document).partition('"requestTimeout": "')[2].partition('"')[0]
    total, number = 0, ""
    for character in text:
        if character.isdigit():
            number += character
        else:
            total, number = total + int(number) * {"h": 3600, "m": 60, "s": 1}[character], ""
    return total


@attrs.define(eq=False)
class Operator:
    """Talks to the API of any control plane."""

    ca: Path
    token: Path

    def ask(
        self, plane: Plane, method: str, path: str, body: dict[str, object] | None = None
    ) -> tuple[int, dict[str, object]]:
        """Return status and document; status 0 when there was no answer."""
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token.read_text().strip()}"}
        data = None if body is None else json.dumps(body).encode()
        url = f"https://127.0.0.1:{plane.api_port}{path}"
        request = urllib.request.Request(url, method=method, data=data, headers=headers)
        context = ssl.create_default_context(cafile=str(self.ca))
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as response:
                return response.status, json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {}
        except (OSError, ValueError, http.client.HTTPException):
            return 0, {}

    def everybody_is_back(self, plane: Plane, count: int) -> bool:
        status, found = self.ask(plane, "GET", "/status?mesh=shop")
        proxies = found.get("proxies")
        if status != 200 or not isinstance(proxies, list) or len(proxies) != count:
            return False
        return all(p["presence"] == "connected" and p["ackedVersion"] == p["wantedVersion"] != "" for p in proxies)


@attrs.define(eq=False)
class Writer:
    """Applies numbered resources, now here, now there, and remembers what was acknowledged."""

    operator: Operator
    planes: list[Plane]
    chance: random.Random
    acknowledged: dict[str, int] = attrs.Factory(dict)
    attempted: dict[str, int] = attrs.Factory(dict)
    over: threading.Event = attrs.Factory(threading.Event)

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            number += 1
            name = f"t-{number % NAMES}"
            self.attempted[name] = number
            path = f"/meshes/shop/meshtimeouts/{name}"
            plane = self.chance.choice(self.planes)
            if self.operator.ask(plane, "PUT", path, timeout_of(name, number))[0] in (200, 201):
                self.acknowledged[name] = number
            else:
                time.sleep(0.02)

    def missing(self, plane: Plane, acknowledged: dict[str, int]) -> dict[str, tuple[int, int]]:
        """Return what was acknowledged and is not there: what is there instead, by name."""
        status, found = self.operator.ask(plane, "GET", "/meshes/shop/meshtimeouts?size=1000")
        items = found.get("items", [])
        assert status == 200 and isinstance(items, list)
        there = {str(item["name"]): seconds_of(item) for item in items}
        assert all(there[name] <= self.attempted[name] for name in there if name in self.attempted), "nobody wrote this"
        return {
            name: (number, there.get(name, 0)) for name, number in acknowledged.items() if there.get(name, 0) < number
        }


@attrs.frozen
class Figures:
    """What came of it; seconds are from "serves again" to "all back", one a kill."""

    kills: int
    writes: int
    calls: int
    back_s: tuple[float, ...]


def kill_again_and_again(day: Day, planes: list[Plane], *, kills: int, seed: int) -> Figures:
    chance = random.Random(seed)
    operator = Operator(planes[0].data / "ca.pem", planes[0].data / "admin.token")
    assert operator.ask(planes[0], "PUT", "/meshes/shop", {"type": "Mesh", "name": "shop"})[0] == 201
    day.use(planes[0], ca=operator.ca, token=operator.token)
    day.start_service("catalog", planes)
    day.start_service("web", planes, calls=["catalog"])
    wait_until(lambda: day.curl("catalog") == (200, "catalog"), timeout_s=30, what="web reaches the catalog")

    writer, back_s = Writer(operator, planes, random.Random(seed + 1)), []
    thread = threading.Thread(target=writer.run)
    with Caller(day).calling() as caller:
        thread.start()
        try:
            for _ in range(kills):
                time.sleep(0.2 + 1.3 * chance.random())
                victim = chance.choice(planes)
                victim.kill()
                acknowledged = dict(writer.acknowledged)
                day.start_plane(victim)
                serves = time.monotonic()
                for plane in planes:
                    wait_until(
                        lambda: not writer.missing(plane, acknowledged),  # noqa: B023  # Done within the round.
                        timeout_s=0.0 if plane is victim else 2.0,
                        what="what was acknowledged is there",
                    )
                    wait_until(
                        lambda: operator.everybody_is_back(plane, 2),  # noqa: B023
                        timeout_s=BACK_S,
                        what="all sidecars are back",
                    )
                back_s.append(time.monotonic() - serves)
        finally:
            writer.over.set()
            thread.join()
    for plane in planes:
        wait_until(
            lambda: not writer.missing(plane, writer.acknowledged),  # noqa: B023
            timeout_s=2.0,
            what="nothing is missing at the end",
        )
    assert caller.failed == [], caller.failed
    logs = {log.name: log.read_text() for log in day.folder.glob("*.log")}
    assert not [name for name, text in logs.items() if "Traceback" in text or "crashed" in text]
    return Figures(kills, max(writer.attempted.values()), caller.answered, tuple(back_s))


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    day = Day(tmp_path)
    try:
        yield day
    finally:
        day.stop()


def on_sqlite(day: Day, *, kills: int, seed: int) -> Figures:
    plane = Plane(day.folder / "cp", free_port(), free_port())
    day.start_plane(plane)
    return kill_again_and_again(day, [plane], kills=kills, seed=seed)


def on_postgresql(day: Day, url: str, *, kills: int, seed: int) -> Figures:
    store = ("--store", url, "--encryption-key-file", str(day.folder / "encryption.key"))
    planes = [Plane(day.folder / f"cp-{n}", free_port(), free_port(), store) for n in (1, 2)]
    for plane in planes:
        day.start_plane(plane)
    return kill_again_and_again(day, planes, kills=kills, seed=seed)


def test_one_control_plane_on_sqlite(day: Day) -> None:
    figures = on_sqlite(day, kills=KILLS, seed=1)
    assert figures.calls > 50 and figures.writes > 10


def test_two_control_planes_on_postgresql(day: Day, postgres_server: PostgresServer) -> None:
    figures = on_postgresql(day, postgres_server.database_url(), kills=KILLS, seed=2)
    assert figures.calls > 50 and figures.writes > 10
