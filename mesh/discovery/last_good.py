"""LastGood: what a sidecar keeps on disk to start and serve while the control plane is away.

Two files below its folder: the configuration that was applied last, and the identity with its private key.
"""

import attrs

from mesh.discovery.encoding import EncodedSnapshot, from_file, to_file
from mesh.identity.rotation import decode_svid, encode_svid
from mesh.model.errors import ConfigError, IdentityError
from mesh.model.security import Svid
from mesh.runtime.durable import write_durably
from mesh.runtime.environment import Environment


@attrs.define(eq=False)
class LastGood:
    """The files of one sidecar. What cannot be read or written is logged and gone without: the disk never stops us."""

    env: Environment
    folder: str
    _kept_version: str = ""
    _kept_chain: str = ""

    async def load(self) -> tuple[EncodedSnapshot | None, Svid | None]:
        """Return what was kept; None for what is absent or damaged."""
        snapshot, svid = await self._load_configuration(), await self._load_identity()
        self._kept_version = snapshot.version if snapshot else ""
        self._kept_chain = svid.chain_pem if svid else ""
        return snapshot, svid

    async def keep(self, snapshot: EncodedSnapshot | None, svid: Svid | None) -> None:
        """Write what differs from what is kept; the identity first, for the configuration needs it."""
        try:
            if svid is not None and svid.chain_pem != self._kept_chain:
                await write_durably(self.env.disk, self._identity_path, encode_svid(svid))
                self._kept_chain = svid.chain_pem
            if snapshot is not None and snapshot.version != self._kept_version:
                await write_durably(self.env.disk, self._configuration_path, to_file(snapshot))
                self._kept_version = snapshot.version
        except OSError as error:
            self.env.log.warning("configuration.not_kept", folder=self.folder, reason=str(error))

    async def _load_configuration(self) -> EncodedSnapshot | None:
        try:
            return from_file(await self.env.disk.read(self._configuration_path))
        except FileNotFoundError:
            return None
        except (ConfigError, OSError) as error:
            self.env.log.warning("configuration.not_restored", path=self._configuration_path, reason=str(error))
            return None

    async def _load_identity(self) -> Svid | None:
        try:
            return decode_svid(await self.env.disk.read(self._identity_path))
        except FileNotFoundError:
            return None
        except (IdentityError, OSError) as error:
            self.env.log.warning("configuration.not_restored", path=self._identity_path, reason=str(error))
            return None

    @property
    def _configuration_path(self) -> str:
        return f"{self.folder}/configuration.json"

    @property
    def _identity_path(self) -> str:
        return f"{self.folder}/identity.pem"
