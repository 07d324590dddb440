"""When each try of a request began, and at whom, as its record tells."""

from collections.abc import Iterator

from mesh.telemetry.request_record import RequestRecord


def tries_of(record: RequestRecord) -> Iterator[tuple[float, str]]:
    """Yield (moment, `ip:port`) of each try in turn; a last one that came to nobody has ""."""
    moment = record.started_at
    for failed in record.failed_tries:
        yield moment, failed.upstream
        moment = failed.ended_at + failed.pause_s
    yield moment, record.upstream
