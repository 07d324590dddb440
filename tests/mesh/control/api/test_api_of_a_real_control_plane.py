"""The API in front of a whole control plane, asked by curl over HTTP and HTTPS, from the first start on."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import attrs
import trio

from mesh.control.api.app import make_app
from mesh.control.api.ports import ApiSettings
from mesh.control.control_plane import ControlPlane, ControlPlaneSettings
from mesh.identity.certificate import KeyType
from mesh.identity.openssl import load_own_chain
from mesh.model.names import Address
from mesh.runtime.real.asgi_server import Bound, serve, server_context
from tests.mesh.control.api.api_world import timeout
from tests.mesh.control.memory_store import SharedDatabase, open_store, same_key
from tests.mesh.control.memory_world import MemoryWorld

ANY_PORT = Address("127.0.0.1", 0)


async def curl(url: str, *arguments: str, token: str = "") -> Any:
    bearer = ["-H", f"Authorization: Bearer {token}"] if token else []
    command = ["curl", "-s", "-S", "-m", "10", *bearer, *arguments, url]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_first_day_of_an_operator_with_curl(tmp_path: Path) -> None:
    async def main() -> None:
        world = MemoryWorld()
        # The machine's date, by which curl judges certificates.
        env = attrs.evolve(world.environment("control-plane"), wall_clock=time.time)
        settings = ControlPlaneSettings(
            address=Address("10.0.0.1", 5678),
            new_signing_key=same_key,
            key_type=KeyType.ECDSA_P256,
            plaintext=True,
            server_names=("localhost", "127.0.0.1"),
        )
        control_plane = ControlPlane(env, settings, await open_store(SharedDatabase(), env))
        await control_plane.prepare()
        app = make_app(control_plane, settings=ApiSettings(instance_id=control_plane.instance, cluster_id="c"), env=env)
        svid = control_plane.secrets.server_tls(env).svid
        context = server_context()
        load_own_chain(context, svid.chain_pem, svid.private_key_pem, owner="the API")
        ca_file = tmp_path / "ca.pem"
        ca_file.write_text(control_plane.secrets.ca_pem)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                await nursery.start(control_plane.run)

                async def serve_api(task_status: trio.TaskStatus[Bound]) -> None:
                    await serve(app, plain=ANY_PORT, tls=(ANY_PORT, context), log=env.log, task_status=task_status)

                bound = await nursery.start(serve_api)
                await ask(control_plane, f"http://{bound.plain}", tmp_path)
                index = await curl(f"https://{bound.tls}", "--cacert", str(ca_file))
                assert index["product"] == "trio-mesh"
                nursery.cancel_scope.cancel()
        assert not world.named("api.crashed") and not world.named("http_connection.crashed")

    trio.run(main, strict_exception_groups=True)


async def ask(control_plane: ControlPlane, url: str, folder: Path) -> None:
    assert (await curl(url))["product"] == "trio-mesh"
    assert (await curl(f"{url}/meshes"))["status"] == 401
    stored = control_plane.catalogue.get(("GlobalSecret", "", "admin-user-token"))
    assert stored is not None
    token = base64.b64decode(str(stored.resource.written["data"])).decode()
    assert (await curl(f"{url}/who-am-i", token=token))["role"] == "admin"
    assert [mesh["name"] for mesh in (await curl(f"{url}/meshes", token=token))["items"]] == ["default"]
    file = folder / "timeout.json"
    file.write_text(json.dumps(timeout()))
    path = f"{url}/meshes/default/meshtimeouts/slow"
    assert await curl(path, "-X", "PUT", "-d", f"@{file}", token=token) == {}
    assert (await curl(path, token=token))["name"] == "slow"
    outcome = await curl(f"{url}/apply", "-d", json.dumps({"resources": [timeout(span="1s")]}), token=token)
    assert outcome["results"][0]["action"] == "updated"
    difference = await curl(f"{url}/diff", "-d", json.dumps({"resources": [timeout(span="2s")]}), token=token)
    assert difference == {"proxies": [], "resources": [{**outcome["results"][0], "action": "updated"}]}
    status = await curl(f"{url}/status", token=token)
    assert status["revision"] == outcome["revision"] and status["proxies"] == []
    newest = (await curl(f"{url}/audit?size=1", token=token))["items"][0]
    assert (newest["action"], newest["name"], newest["revision"]) == ("updated", "slow", outcome["revision"])
    assert "from=127.0.0.1:" in newest["by"]
    assert (await curl(f"{url}/openapi.json", token=token))["openapi"] == "3.1.0"
