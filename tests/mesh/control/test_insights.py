"""What is remembered of a proxy's connections, answers and certificates: bounded, and the same after a journey as JSON."""

import msgspec

from mesh.control.insights import SUBSCRIPTIONS_MAX, Delivery, Insight, Insights, decode, encode
from mesh.discovery.publication import Refusal
from mesh.model.names import ProxyId

WEB = ProxyId("shop", "web-1")


def test_connections_and_answers_are_counted() -> None:
    insights = Insights("cp-1")
    insights.connected(WEB, "a", now=1.0, certificate_expires=None)
    insights.answered(WEB, "a", "sent", now=2.0)
    insights.answered(WEB, "a", "acked", now=3.0)
    insights.answered(WEB, "other", "rejected", now=4.0)
    (first,) = insights.of(WEB).subscriptions
    assert (first.session, first.instance, first.connected, first.updated) == ("a", "cp-1", 1.0, 3.0)
    assert (first.sent, first.acked, first.rejected, first.disconnected) == (1, 1, 0, None)
    insights.disconnected(WEB, "a", now=5.0)
    insights.disconnected(WEB, "a", now=6.0)
    assert insights.of(WEB).subscriptions[0].disconnected == 5.0


def test_new_connection_ends_the_one_before_and_old_ones_are_forgotten() -> None:
    insights = Insights("cp-1")
    for number in range(SUBSCRIPTIONS_MAX + 5):
        insights.connected(WEB, str(number), now=float(number), certificate_expires=None)
    subscriptions = insights.of(WEB).subscriptions
    assert len(subscriptions) == SUBSCRIPTIONS_MAX
    assert [subscription.disconnected is None for subscription in subscriptions].count(True) == 1
    assert subscriptions[-2].disconnected == subscriptions[-1].connected


def test_certificates_are_counted_across_connections() -> None:
    insights = Insights("cp-1")
    insights.connected(WEB, "a", now=1.0, certificate_expires=None)
    insights.certified(WEB, now=2.0, expires=100.0)
    insights.connected(WEB, "b", now=3.0, certificate_expires=100.0)
    insights.certified(WEB, now=50.0, expires=200.0)
    insight = insights.of(WEB)
    assert (insight.certificate_issued, insight.certificate_expires) == (50.0, 200.0)
    assert insight.certificate_regenerations == 2
    insights.forget(WEB)
    assert insights.of(WEB) == Insight()


def test_insight_travels_as_json() -> None:
    insights = Insights("cp-1")
    insights.connected(WEB, "a", now=1.0, certificate_expires=5.0)
    refusal = Refusal(version="1" * 16, reason="no")
    delivery = Delivery(wanted="1" * 16, refusal=refusal, revision=3, published=4, behind_since=2.0)
    insight = Insight(subscriptions=insights.of(WEB).subscriptions, certificate_expires=5.0, delivery=delivery)
    assert decode(msgspec.json.decode(msgspec.json.encode(encode(insight)))) == insight
    assert decode({"subscriptions": "of another version"}) == Insight()
