"""Departure: how far a proxy is on its way out of the mesh, by its own word.

Callers use who stays; where nobody who stays is ready, who drains; at the very last who closes. So a proxy that closes has
told everybody before, even where all instances of a service drain at once.
Source: Kubernetes, terminating endpoints (KEP-1669): none of them is used while another is ready.
"""

import enum


class Departure(enum.Enum):
    """The stages, in their order."""

    STAYING = "staying"
    DRAINING = "draining"  # it takes requests, and would rather not
    CLOSING = "closing"  # it takes them for a moment still
