"""Holding: what a sidecar has live of what others rely on, by the configuration that it acknowledged. Pure.

An acknowledged configuration is one whose listeners are open and whose certificate is in use. One that a sidecar kept on
disk counts as well: it says so when it connects.
"""

from collections.abc import Container

import attrs

from mesh.resources.dataplane import Dataplane


@attrs.frozen(kw_only=True)
class Holding:
    """What callers have to wait for; of a sidecar of which nothing is known, for nothing."""

    unopened: tuple[str, ...] = ()  # names of the inbounds that it does not listen on yet
    certified: bool = True  # it presents a certificate


EVERYTHING = Holding()


def holding_of(dataplane: Dataplane, parts: Container[str]) -> Holding:
    """Return what a sidecar holds that has acknowledged these parts (their keys)."""
    unopened = tuple(inbound.name for inbound in dataplane.inbounds if f"inbound/{inbound.name}" not in parts)
    return Holding(unopened=unopened, certified="identity" in parts)
