"""Publication: what one connected proxy should have, was sent and has acknowledged. No I/O, no time.

At most one push is in flight; snapshots wanted meanwhile coalesce into the newest. So a slow proxy costs one
snapshot of memory, however fast the mesh changes. Source: xDS (version, nonce, ACK/NACK), with deltas by digest.
"""

from collections.abc import Mapping

import attrs
import msgspec

from mesh.discovery.encoding import EncodedSnapshot
from mesh.discovery.messages import Push


@attrs.frozen(kw_only=True)
class Refusal:
    """A version that the proxy refused on this connection, and why."""

    version: str
    reason: str


@attrs.define(eq=False)
class Publication:
    """The control plane's side of one proxy's configuration stream; a new connection gets a new one."""

    acked_version: str = ""  # what the proxy holds, as far as it told
    acked_digests: Mapping[str, str] = attrs.field(factory=dict)  # of its parts, by their keys
    wanted: EncodedSnapshot | None = None
    refusal: Refusal | None = None
    sent_version: str = ""
    _in_flight: EncodedSnapshot | None = None
    _nonce: int = 0
    _offer_again: bool = False

    @classmethod
    def resume(cls, version: str, digests: Mapping[str, str]) -> "Publication":
        """Start from what the proxy says that it holds; an empty version means nothing."""
        return cls(acked_version=version, acked_digests=digests if version else {})

    @property
    def in_flight(self) -> bool:
        return self._in_flight is not None

    @property
    def converged(self) -> bool:
        """Whether the proxy has acknowledged what it should have."""
        return self.wanted is not None and self.wanted.version == self.acked_version and not self.in_flight

    @property
    def refused(self) -> bool:
        """Whether what the proxy should have is what it refused."""
        return self.refusal is not None and self.wanted is not None and self.refusal.version == self.wanted.version

    def offer_again(self) -> None:
        """Send the refused version once more: what stood in its way (a port in use) may be gone."""
        self._offer_again = True

    def want(self, snapshot: EncodedSnapshot) -> None:
        """Set what the proxy should have from now on."""
        self.wanted = snapshot

    def next_push(self) -> Push | None:
        """Return the push to send now, None when one is in flight or nothing is to be said. It counts as sent."""
        wanted = self.wanted
        if wanted is None or self.in_flight or wanted.version == self.acked_version:
            return None
        if self.refused and not self._offer_again:
            return None
        self._offer_again = False
        self._nonce += 1
        self._in_flight = wanted
        self.sent_version = wanted.version
        return self._push(wanted)

    def _push(self, wanted: EncodedSnapshot) -> Push:
        before = self.acked_digests if self.acked_version else {}
        changed = {
            key: msgspec.Raw(wanted.parts[key]) for key, digest in wanted.digests.items() if before.get(key) != digest
        }
        removed = tuple(sorted(key for key in before if key not in wanted.digests))
        return Push(
            version=wanted.version,
            nonce=self._nonce,
            base_version=self.acked_version,
            upserts=changed,
            removed=removed,
        )

    def ack(self, version: str, nonce: int) -> bool:
        """Take an Ack; False when it answers anything but the push in flight."""
        snapshot = self._answered(nonce)
        if snapshot is None or snapshot.version != version:
            return False
        self._in_flight = None
        self.acked_version, self.acked_digests = snapshot.version, snapshot.digests
        self.refusal = None
        return True

    def nack(self, version: str, nonce: int, reason: str) -> bool:
        """Take a Nack: the version is not sent again until it is wanted anew or `offer_again`. False as for `ack`."""
        snapshot = self._answered(nonce)
        if snapshot is None or snapshot.version != version:
            return False
        self._in_flight = None
        self.refusal = Refusal(version=version, reason=reason)
        return True

    def resync(self, nonce: int) -> bool:
        """Take a Resync: the next push is whole. False as for `ack`, and when it answers a push that was whole."""
        if self._answered(nonce) is None or not self.acked_version:
            return False
        self._in_flight = None
        self.acked_version, self.acked_digests = "", {}
        return True

    def _answered(self, nonce: int) -> EncodedSnapshot | None:
        return self._in_flight if nonce == self._nonce else None
