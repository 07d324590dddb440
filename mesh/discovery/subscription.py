"""Subscription: which configuration a sidecar holds, and what to do with a push. No I/O, no time.

The caller receives pushes in the order of the wire, tries each Candidate on its target and reports back with
`accept` or `refuse`. What arrives twice, late, or for a base that is not held never becomes a configuration.
"""

import attrs

from mesh.config.snapshot import Snapshot
from mesh.discovery.encoding import EncodedSnapshot, of_parts
from mesh.discovery.messages import Ack, Nack, Push, Resync, shorten
from mesh.model.errors import ConfigError


@attrs.frozen(kw_only=True, eq=False)
class Candidate:
    """A configuration that arrived complete and readable, not applied yet."""

    nonce: int
    encoded: EncodedSnapshot
    snapshot: Snapshot


@attrs.define(eq=False)
class Subscription:
    """The sidecar's side of the configuration stream."""

    held: EncodedSnapshot | None = None
    nonce_newest: int = 0  # of this connection

    def connect(self) -> None:
        """Start a new connection: the control plane numbers its pushes afresh."""
        self.nonce_newest = 0

    def receive(self, push: Push) -> Candidate | Ack | Nack | Resync | None:
        """Return the candidate to apply, or the answer to send at once; None for a push that newer ones overtook."""
        if push.nonce <= self.nonce_newest:
            return None
        self.nonce_newest = push.nonce
        if self.held is not None and self.held.version == push.version:
            return Ack(version=push.version, nonce=push.nonce)
        parts = {key: bytes(raw) for key, raw in push.upserts.items()}
        if push.base_version:
            if self.held is None or self.held.version != push.base_version:
                held = self.held.version if self.held else "nothing"
                return Resync(nonce=push.nonce, reason=f"a delta to {push.base_version}, held is {held}")
            removed = frozenset(push.removed)
            kept = {key: data for key, data in self.held.parts.items() if key not in removed}
            parts = kept | parts
        return self._check(push, of_parts(parts))

    def _check(self, push: Push, encoded: EncodedSnapshot) -> Candidate | Nack | Resync:
        if encoded.version != push.version:
            reason = f"the parts make version {encoded.version}, not {push.version}"
            # A whole push that is wrong will be wrong again; only for a delta does asking for everything help.
            if push.base_version:
                return Resync(nonce=push.nonce, reason=reason)
            return Nack(version=push.version, nonce=push.nonce, reason=reason)
        try:
            snapshot = encoded.decode()
        except ConfigError as error:
            return Nack(version=push.version, nonce=push.nonce, reason=shorten(str(error)))
        return Candidate(nonce=push.nonce, encoded=encoded, snapshot=snapshot)

    def accept(self, candidate: Candidate) -> Ack:
        """Record that the target applied the candidate whole."""
        self.held = candidate.encoded
        return Ack(version=candidate.encoded.version, nonce=candidate.nonce)

    def refuse(self, candidate: Candidate, reason: str) -> Nack:
        """Record nothing: the last good configuration stays."""
        return Nack(version=candidate.encoded.version, nonce=candidate.nonce, reason=shorten(reason))
