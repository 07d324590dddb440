"""Insights: what this control plane observed of each proxy: connections, answers to pushes, certificates. Bounded.

Times are seconds since the epoch. Values travel to other control planes as JSON; see `encode` and `decode`.
Source: Kuma's DataplaneInsight, with what is wanted and running beside it.
"""

from collections.abc import Mapping
from typing import Any, Literal

import attrs
import msgspec

from mesh.config.holding import EVERYTHING, Holding
from mesh.discovery.publication import Refusal
from mesh.model.names import ProxyId

SUBSCRIPTIONS_MAX = 10  # of one proxy; older connections are forgotten

Answer = Literal["sent", "acked", "rejected"]


@attrs.frozen(kw_only=True)
class Subscription:
    """One connection of a proxy, and what was said on it."""

    session: str
    instance: str  # the control plane
    connected: float
    disconnected: float | None = None
    updated: float = 0.0  # of the last push or answer
    sent: int = 0
    acked: int = 0
    rejected: int = 0


@attrs.frozen(kw_only=True)
class Delivery:
    """How far a proxy is. Versions are empty where there is none; `refusal` is about the wanted version.

    It runs what the resources of `revision` ask for, and has been told what those of `published` do; `behind_since` is
    when it no longer ran the newest, None: it does.
    """

    wanted: str = ""
    sent: str = ""
    acked: str = ""
    refusal: Refusal | None = None
    revision: int = 0
    published: int = 0
    behind_since: float | None = None


@attrs.frozen(kw_only=True)
class Insight:
    """All that was observed of one proxy. `certificate_expires` is of the newest certificate that it has.

    `holding` travels with it to other control planes; here the registry knows.
    """

    subscriptions: tuple[Subscription, ...] = ()
    certificate_issued: float | None = None
    certificate_expires: float | None = None
    certificate_regenerations: int = 0
    delivery: Delivery = Delivery()
    holding: Holding = EVERYTHING


def encode(insight: Insight) -> Mapping[str, Any]:
    """Write an insight as JSON values."""
    document: dict[str, Any] = msgspec.to_builtins(insight)
    return document


def decode(document: Mapping[str, Any]) -> Insight:
    """Read what `encode` wrote, of this version or another; what cannot be read is as if nothing had been observed."""
    try:
        return msgspec.convert(dict(document), Insight)
    except msgspec.ValidationError:
        return Insight()


@attrs.define(eq=False)
class Insights:
    """Owner of what was observed. `instance` names this control plane."""

    instance: str
    _by_proxy: dict[ProxyId, Insight] = attrs.field(factory=dict)

    def of(self, proxy: ProxyId) -> Insight:
        """Return what is known of a proxy; nothing is an empty insight."""
        return self._by_proxy.get(proxy, Insight())

    def replace(self, proxy: ProxyId, insight: Insight) -> None:
        """Take over what another control plane, or our former life, observed."""
        self._by_proxy[proxy] = insight

    def forget(self, proxy: ProxyId) -> None:
        self._by_proxy.pop(proxy, None)

    def connected(self, proxy: ProxyId, session: str, *, now: float, certificate_expires: float | None) -> None:
        """A proxy joined; a connection that it has not ended is over."""
        before = self.of(proxy)
        ended = [_ended(subscription, now) for subscription in before.subscriptions]
        fresh = Subscription(session=session, instance=self.instance, connected=now, updated=now)
        self._by_proxy[proxy] = attrs.evolve(
            before,
            subscriptions=(*ended, fresh)[-SUBSCRIPTIONS_MAX:],
            certificate_expires=certificate_expires,
            delivery=Delivery(revision=before.delivery.revision),
        )

    def disconnected(self, proxy: ProxyId, session: str, *, now: float) -> None:
        """A connection ended."""
        before = self.of(proxy)
        if not any(subscription.session == session for subscription in before.subscriptions):
            return
        subscriptions = tuple(
            _ended(subscription, now) if subscription.session == session else subscription
            for subscription in before.subscriptions
        )
        self._by_proxy[proxy] = attrs.evolve(before, subscriptions=subscriptions)

    def answered(self, proxy: ProxyId, session: str, answer: Answer, *, now: float) -> None:
        """Count a push or an answer to one."""
        before = self.of(proxy)
        if not before.subscriptions or before.subscriptions[-1].session != session:
            return
        last = before.subscriptions[-1]
        counted = attrs.evolve(last, updated=now, **{answer: getattr(last, answer) + 1})
        self._by_proxy[proxy] = attrs.evolve(before, subscriptions=(*before.subscriptions[:-1], counted))

    def certified(self, proxy: ProxyId, *, now: float, expires: float) -> None:
        """A certificate was issued."""
        before = self.of(proxy)
        self._by_proxy[proxy] = attrs.evolve(
            before,
            certificate_issued=now,
            certificate_expires=expires,
            certificate_regenerations=before.certificate_regenerations + 1,
        )


def _ended(subscription: Subscription, now: float) -> Subscription:
    return subscription if subscription.disconnected is not None else attrs.evolve(subscription, disconnected=now)
