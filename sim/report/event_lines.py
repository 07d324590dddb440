"""`events.jsonl`: every event of a run, one line each, with its id and the id of the event that it follows from."""

from collections.abc import Iterator

import msgspec

from sim.report.causes import Happening, happenings_of
from sim.report.failures import failings_of
from sim.report.material import Material


def event_lines(material: Material) -> Iterator[bytes]:
    """Write the lines in the order of time. `at_s` is virtual time, `run_s` the same since the scenario began."""
    origin_s = material.evidence.origin_s
    for event in happenings_of_run(material):
        line = {
            "id": event.id,
            "cause": event.cause or None,
            "at_s": round(event.at_s + origin_s, 9),
            "run_s": round(event.at_s, 9),
            "host": event.host,
            "kind": event.kind,
            "level": event.level,
        }
        yield msgspec.json.encode(line | dict(event.fields), enc_hook=str) + b"\n"


def happenings_of_run(material: Material) -> tuple[Happening, ...]:
    """Return the events of a run with their causes."""
    origin_s, keeper = material.evidence.origin_s, material.capture.requests
    hosts = {host.address: host.name for host in material.hosts}
    failings = () if keeper is None else failings_of(keeper.seen, origin_s=origin_s, host_by_address=hosts)
    return happenings_of(material.events, failings, origin_s=origin_s, hosts=hosts.values())
