"""A control plane as a process of this machine, for `mesh up` and `mesh run --on local`.

Started by its command, asked and changed through its API, as an operator would.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import trio

from mesh.cli.api_client import ApiClient, RequestRefused
from mesh.cli.contexts import Context
from mesh.cli.failures import CommandFailed
from mesh.cli.kinds import path_of_kind
from mesh.cli.signing_key import read_signing_key
from mesh.control.registry import Presence
from mesh.control.status import ProxyStatus
from mesh.discovery.publication import Refusal
from mesh.identity.tokens import SigningKey, TokenVerifier, issue_dataplane_token
from mesh.model.departure import Departure
from mesh.model.errors import ConfigError, Violation
from mesh.model.names import ProxyId
from mesh.resources.registry import KIND_BY_NAME
from mesh.resources.resource import Resource
from mesh.runtime.environment import Process, Processes
from mesh.runtime.real import wall_clock
from mesh.runtime.real.randomness import SystemRandomness

TOKEN_LIFETIME_S = 30 * 86400.0
READY_TIMEOUT_S = 120.0
LOG_LINES_SHOWN = 5
API_STARTED = re.compile(r"^API on (https://\S+),", re.MULTILINE)  # the last that it says before it is ready
_POLL_S = 0.05
_APPLY_RETRY_S = 0.2


class LocalControlPlane:
    """One control plane. `folder` is for its data and its log; `address` is where proxies reach it."""

    def __init__(self, processes: Processes, folder: Path, *, mesh: str, address: str, zone: str = "default") -> None:
        self.data = folder / "control-plane"
        self.log = folder / "logs" / "control-plane.log"
        self.ca_file = str(self.data / "ca.pem")
        self.api_url = ""
        self.serving = False
        self.status: Mapping[str, ProxyStatus] = {}
        self.revision = 0
        self._read_to = 0  # bytes of its log
        self._processes = processes
        self._folder = folder
        self._mesh = mesh
        self._address = address
        self._zone = zone
        self._signing_key: SigningKey | None = None
        self._client: ApiClient | None = None
        self._asking = trio.Lock()

    @property
    def ready_inbounds(self) -> Mapping[str, int]:
        """How many have said so, of each proxy that converged."""
        statuses = self.status.items()
        return {name: sum(ready for _, ready in status.inbounds) for name, status in statuses if status.converged}

    def write_resources(self, resources: Sequence[Resource]) -> Path:
        """Write the resources that it starts with; a mesh of its name is added where there is none."""
        documents = [resource.written for resource in resources]
        if not any(resource.kind == "Mesh" for resource in resources):
            documents.insert(0, {"type": "Mesh", "name": self._mesh})
        file = self._folder / "resources.yaml"
        file.write_text("\n---\n".join(json.dumps(document) for document in documents))
        return file

    async def launch(self, resources: Sequence[Resource]) -> Process:
        """Start it with resources; started again, it goes on with what it has stored. Raises: ConfigError in its own words."""
        return await self.start(*([] if self.serving else ["--resources", str(self.write_resources(resources))]))

    async def start(self, *options: str) -> Process:
        """Start its process and wait until its API answers. Raises: ConfigError in its own words."""
        command = [sys.executable, "-m", "mesh", "control-plane", "--data", str(self.data), "--zone", self._zone]
        command += [
            "--address",
            self._address,
            "--api",
            "off",
            "--api-tls",
            "127.0.0.1:0",
            "--log-form",
            "json",
            *options,
        ]
        said_before = self.log.stat().st_size if self.log.exists() else 0
        process = await self._processes.start(command, log_path=str(self.log.relative_to(self._folder)))
        try:
            return await self._wait_until_serving(process, said_before)
        except BaseException:
            process.kill()
            raise

    async def _wait_until_serving(self, process: Process, said_before: int) -> Process:
        ended = False
        with trio.move_on_after(READY_TIMEOUT_S):
            while not ended:
                found = API_STARTED.search(self.log.read_text()[said_before:])
                if found is not None:
                    self._forget_client()
                    self.api_url = found[1]
                    self._signing_key = self._signing_key or read_signing_key(self.data, mesh=self._mesh)
                    self.serving = True
                    return process
                with trio.move_on_after(_POLL_S):
                    await process.wait()
                    ended = True
        raise ConfigError([self._explain(ended=ended)])

    def _explain(self, *, ended: bool) -> Violation:
        """Say why it does not start, in its own words."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        reason = "; ".join(errors or lines[-LOG_LINES_SHOWN:]) or "it said nothing"
        what = "ended at its start" if ended else f"has not started within {READY_TIMEOUT_S:g} s"
        return Violation(file=str(self.log), message=f"the control plane {what}: {reason}")

    def token(self, name: str, workload: str) -> tuple[str, str]:
        """Return a token for the Dataplane of that name, and its id."""
        key = self._signing_key
        assert key is not None, "the control plane has not started"
        token = issue_dataplane_token(
            key,
            mesh=self._mesh,
            name=name,
            workload=workload,
            lifetime_s=TOKEN_LIFETIME_S,
            now=wall_clock(),
            random=SystemRandomness().stream("token", name),
        )
        claims = TokenVerifier({key.kid: key.public_key}).verify_dataplane(token, now=wall_clock())
        return token, claims.token_id

    async def watch(self) -> None:
        """Look at the proxies again and again, until cancelled."""
        while True:
            try:
                status = await self._ask("GET", "/status", {"mesh": self._mesh})
            except CommandFailed:
                self.status = {}  # It is away.
            else:
                self.status = {proxy["name"]: _status_of(proxy) for proxy in status.get("proxies") or []}
                self.revision = status["revision"]
            await trio.sleep(_POLL_S)

    def read_log(self) -> list[tuple[float, str, str, Mapping[str, Any]]]:
        """Return what it has logged since the last time: seconds since the epoch, event, level, fields."""
        with self.log.open("rb") as log:
            log.seek(self._read_to)
            data = log.read()
        whole, _, _ = data.rpartition(b"\n")
        self._read_to += len(whole) + 1 if whole else 0
        return [line for text in whole.splitlines() if (line := _line_of(text)) is not None]

    async def apply(self, resources: Sequence[Resource]) -> str:
        """Apply resources through the API; wait while the control plane is away. Return why it refused, if it did."""
        body = {"resources": [dict(resource.written) for resource in resources], "dryRun": False}
        return await self._change("POST", "/apply", body)

    async def delete(self, resource: Resource) -> str:
        """Delete a resource, likewise; one that is not there is no refusal."""
        return await self._change("DELETE", path_of_kind(KIND_BY_NAME[resource.kind], resource.mesh, resource.name), {})

    async def _change(self, method: str, path: str, body: Mapping[str, Any]) -> str:
        while True:
            try:
                await self._ask(method, path, body)
            except RequestRefused as error:
                if method == "DELETE" and error.status == HTTPStatus.NOT_FOUND:
                    return ""
                if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return str(error)
            except CommandFailed:
                pass  # It is away.
            else:
                self.status = {}  # Nothing is known of the time after it until the next look.
                return ""
            await trio.sleep(_APPLY_RETRY_S)

    async def _ask(self, method: str, path: str, what: Mapping[str, Any]) -> Any:
        async with self._asking:
            client = self._client
            if client is None:
                token_file = str(self.data / "admin.token")
                context = Context(address=self.api_url, ca_cert_file=self.ca_file, token_file=token_file)
                client = self._client = ApiClient(context)
            if method == "DELETE":
                return await trio.to_thread.run_sync(client.delete, path)
            ask = client.get if method == "GET" else client.post
            return await trio.to_thread.run_sync(ask, path, what)

    def _forget_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _status_of(proxy: Mapping[str, Any]) -> ProxyStatus:
    """Read how it stands with one proxy, as the API shows it."""
    refusal = proxy.get("refusal")
    return ProxyStatus(
        proxy=ProxyId(proxy["mesh"], proxy["name"]),
        presence=Presence(proxy["presence"]),
        wanted_version=proxy.get("wantedVersion") or "",
        sent_version=proxy.get("sentVersion") or "",
        acked_version=proxy.get("ackedVersion") or "",
        refusal=None if refusal is None else Refusal(version=refusal["version"], reason=refusal["reason"]),
        lag_s=proxy.get("lagSeconds") or 0.0,
        inbounds=tuple((inbound["name"], inbound["ready"]) for inbound in proxy.get("inbounds") or ()),
        departure=Departure(proxy.get("departure") or "staying"),
    )


def _line_of(text: bytes) -> tuple[float, str, str, Mapping[str, Any]] | None:
    """Read one line of its log; what it says to people is none."""
    try:
        fields = json.loads(text)
        at = datetime.fromisoformat(fields.pop("timestamp")).timestamp()
        return at, fields.pop("event"), fields.pop("level"), fields
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
