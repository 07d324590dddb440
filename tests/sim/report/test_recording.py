"""Messages between hosts: when they were sent and arrived, and which never did."""

import pytest

from sim.network.recording import MessageKind
from sim.report.space_time import MESSAGES_MAX, Moment, windows_of
from tests.sim.report.small_run import small_run


def messages(from_s, to_s):
    material = small_run()
    origin_s = material.evidence.origin_s
    return list(material.capture.tape.between(origin_s + from_s, origin_s + to_s))


def test_messages_take_the_time_of_their_link():
    zone_by_host = {host.name: host.zone for host in small_run().hosts}
    data = [message for message in messages(2.0, 4.0) if message.kind is MessageKind.DATA]
    assert len(data) > 100
    for message in data:
        across = zone_by_host[message.source] != zone_by_host[message.target]
        took_s = message.arrived_s - message.sent_s
        assert took_s == pytest.approx(0.005 if across else 0.00025, abs=0.00026)


def test_nothing_arrives_at_a_host_without_power():
    to_dead = [message for message in messages(5.01, 9.9) if message.target == "stock-2"]
    assert to_dead
    assert {message.arrived_s for message in to_dead} == {None}
    assert MessageKind.SYN in {message.kind for message in to_dead}


def test_connection_begins_with_its_handshake():
    both = {"stock-2", "control-plane"}
    # The restarted instance connects to the control plane anew.
    again = [message for message in messages(10.0, 14.0) if {message.source, message.target} == both]
    opened = next(message.connection for message in again if message.kind is MessageKind.SYN)
    kinds = [message.kind for message in again if message.connection == opened]
    assert kinds[:3] == [MessageKind.SYN, MessageKind.SYN_ACK, MessageKind.DATA]


def test_windows_hold_what_can_be_told_apart_and_name_their_hosts():
    material = small_run()
    moments = [Moment(at_s=5.0, title="kill"), Moment(at_s=500.0, title="after the end")]
    (window,) = windows_of(material.capture.tape, moments, origin_s=material.evidence.origin_s, hosts=material.hosts)
    assert window["title"] == "kill"
    assert window["from"] < 5.0 < window["to"]
    assert 0 < len(window["messages"]) <= 2 * MESSAGES_MAX
    zones = [material.hosts[number].zone for number in window["hosts"]]
    assert zones == sorted(zones)
