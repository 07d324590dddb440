"""DataplaneLookup: how a sidecar that knows only its name gets the Dataplane that an operator has applied for it.

Asked of any control plane until one answers; what was answered last is kept on disk, so that a sidecar starts while all
of them are away. Later changes reach the proxy's configuration by the stream; what is read here is what a sidecar sets up
once: the probes of its application and its admin page.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec
import trio

from mesh.discovery.control_plane_endpoint import ControlPlaneEndpoint, Rotation, open_stream
from mesh.discovery.messages import (
    PATH,
    DataplaneDocument,
    DataplaneRequest,
    Refused,
    decode_control_plane_message,
    encode_message,
)
from mesh.discovery.reconnection import Reconnection, ReconnectionBackoff
from mesh.discovery.session import RefusedByControlPlane
from mesh.discovery.web_socket import MessageSocket, converse_as_client
from mesh.model.errors import BrokenConnection, IdentityError, RemoteProtocolError
from mesh.runtime.durable import write_durably
from mesh.runtime.environment import Environment

PATIENCE_S = 10.0  # with control planes that do not answer, while there is something on disk


@attrs.frozen(kw_only=True)
class DataplaneLookup:
    """One sidecar's question. Spans in seconds."""

    env: Environment
    endpoints: Sequence[ControlPlaneEndpoint]
    token: str = attrs.field(repr=False)
    mesh: str
    name: str
    state_folder: str
    timeout_s: float = 5.0
    backoff: ReconnectionBackoff = ReconnectionBackoff()

    async def run(self) -> dict[str, Any]:
        """Return the Dataplane's document; waits until there is one."""
        kept = await self._kept()
        if kept is None:
            return await self._ask_until_answered()
        with trio.move_on_after(PATIENCE_S):
            return await self._ask_until_answered()
        self.env.log.warning("dataplane.not_asked", reason="no control plane answered; the last one known is used")
        return kept

    async def _ask_until_answered(self) -> dict[str, Any]:
        random = self.env.randomness.stream("dataplane-lookup", self.env.host)
        rotation, reconnection = Rotation.of(self.endpoints, random), Reconnection(self.backoff)
        said = ""
        while True:
            try:
                return await self._ask(rotation.current)
            except RefusedByControlPlane as error:
                reason, waits = str(error), True
            except (BrokenConnection, RemoteProtocolError, IdentityError) as error:
                reason, waits = str(error), not rotation.go_on(was_connected=False)
            if reason != said:
                said = reason
                self.env.log.warning("dataplane.not_received", reason=reason)
            if waits:
                await trio.sleep(reconnection.delay_s(random))

    async def _ask(self, endpoint: ControlPlaneEndpoint) -> dict[str, Any]:
        answers: list[dict[str, Any]] = []

        async def converse(socket: MessageSocket) -> None:
            await socket.send(encode_message(DataplaneRequest(token=self.token, mesh=self.mesh, name=self.name)))
            match decode_control_plane_message(await socket.receive()):
                case DataplaneDocument(dataplane=document):
                    answers.append(document)
                case Refused() as refused:
                    raise RefusedByControlPlane(refused)
                case other:
                    raise RemoteProtocolError(f"{type(other).__name__} in answer to DataplaneRequest")

        with trio.move_on_after(2 * self.timeout_s):
            stream = await open_stream(self.env, endpoint, timeout_s=self.timeout_s)
            await converse_as_client(
                stream, host=str(endpoint.address), path=PATH, handshake_timeout_s=self.timeout_s, converse=converse
            )
        if not answers:
            raise BrokenConnection("no answer in time")
        await self._keep(answers[0])
        self.env.log.info("dataplane.received", address=str(endpoint.address))
        return answers[0]

    async def _kept(self) -> dict[str, Any] | None:
        try:
            document = msgspec.json.decode(await self.env.disk.read(self._path), type=dict[str, Any])
        except (OSError, msgspec.DecodeError, UnicodeError):
            return None
        ours = document.get("mesh") == self.mesh and document.get("name") == self.name
        return document if ours else None

    async def _keep(self, document: dict[str, Any]) -> None:
        try:
            await write_durably(self.env.disk, self._path, msgspec.json.encode(document))
        except OSError as error:
            self.env.log.warning("dataplane.not_kept", path=self._path, reason=str(error))

    @property
    def _path(self) -> str:
        return f"{self.state_folder}/dataplane.json"
