"""ProxyStatus: how it stands with one proxy, whichever control plane it is connected to. Pure."""

import attrs

from mesh.control.insights import Delivery, Insight
from mesh.control.proxy_stream import ProxyStream
from mesh.control.registry import LiveProxy, Presence
from mesh.discovery.publication import Refusal
from mesh.model.departure import Departure
from mesh.model.names import ProxyId


@attrs.frozen(kw_only=True)
class ProxyStatus:
    """How it stands with one proxy. Versions are empty where there is none; `refusal` is about the wanted version.

    It runs what the resources of `revision` ask for. `lag_s`: for how long it has not run the newest; 0: it does.
    """

    proxy: ProxyId
    presence: Presence
    instance: str = ""  # the control plane that it is, or was last, connected to
    wanted_version: str = ""
    sent_version: str = ""
    acked_version: str = ""
    refusal: Refusal | None = None
    revision: int = 0
    lag_s: float = 0.0
    certificate_expires: float | None = None  # seconds since the epoch, of the newest one that it has
    inbounds: tuple[tuple[str, bool], ...] = ()  # (name, ready), as reported
    departure: Departure = Departure.STAYING

    @property
    def connected(self) -> bool:
        return self.presence is Presence.CONNECTED

    @property
    def converged(self) -> bool:
        """Whether what the proxy should have is live there."""
        return self.connected and bool(self.wanted_version) and self.wanted_version == self.acked_version


def delivery_of(stream: ProxyStream, *, published_revision: int) -> Delivery:
    """Return how far the proxy of a stream is."""
    publication = stream.publication
    wanted_version = publication.wanted.version if publication.wanted else ""
    refusal = publication.refusal
    return Delivery(
        wanted=wanted_version,
        sent=publication.sent_version,
        acked=publication.acked_version,
        # One of a version that is not wanted any more says nothing about now.
        refusal=refusal if refusal is not None and refusal.version == wanted_version else None,
        revision=published_revision if publication.converged else stream.revision,
        published=published_revision,
        behind_since=stream.behind_since,
    )


def status_of(live: LiveProxy, insight: Insight, *, instance: str, now: float) -> ProxyStatus:
    """Put together what is known; `instance` is our name, `now` in seconds since the epoch."""
    delivery = insight.delivery if live.presence is Presence.CONNECTED else Delivery()
    return ProxyStatus(
        proxy=live.proxy,
        presence=live.presence,
        instance=live.instance or instance,
        wanted_version=delivery.wanted,
        sent_version=delivery.sent,
        acked_version=delivery.acked,
        refusal=delivery.refusal,
        revision=delivery.revision,
        lag_s=0.0 if delivery.behind_since is None else max(now - delivery.behind_since, 0.0),
        certificate_expires=insight.certificate_expires,
        inbounds=tuple(sorted(live.inbounds.items())),
        departure=live.departure,
    )


def offline(proxy: ProxyId) -> ProxyStatus:
    """Return how it stands with a proxy whose Dataplane was applied, and that no sidecar is."""
    return ProxyStatus(proxy=proxy, presence=Presence.OFFLINE)
