"""Access log: one JSON line a request, encoded and written in batches away from the request path.

Bounded: past `RECORDS_MAX` waiting records the newest are counted as dropped, never waited for.
Does not rotate files: that is the writer's matter.
"""

from collections.abc import Awaitable, Callable

import msgspec
import trio

from mesh.telemetry.request_record import RequestRecord

FLUSH_INTERVAL_S = 0.1
RECORDS_MAX = 100_000


class _Line(msgspec.Struct, gc=False, omit_defaults=True):
    ts: float
    dir: str
    method: str
    path: str
    authority: str
    status: int
    flags: str
    details: str
    route: str
    cluster: str
    endpoint: str
    peer: str
    dur_ms: float
    tries: int
    bytes_in: int
    bytes_out: int
    request_id: str
    trace: str
    shadow_denied: str = ""  # left out where it is empty


_encoder = msgspec.json.Encoder()


def encode_line(record: RequestRecord, *, clock_offset_s: float) -> bytes:
    """Write one line without its end. `clock_offset_s` turns the record's clock into seconds since the epoch."""
    return _encoder.encode(
        _Line(
            ts=round(record.started_at + clock_offset_s, 6),
            dir="in" if record.inbound else "out",
            method=record.method.decode("latin-1"),
            path=record.path.decode("latin-1"),
            authority=record.authority.decode("latin-1"),
            status=record.status,
            flags=",".join(flag.value for flag in record.flags) if record.flags else "-",
            details=record.detail,
            route=record.route,
            cluster=record.cluster,
            endpoint=record.upstream,
            peer=record.peer,
            dur_ms=round((record.ended_at - record.started_at) * 1000, 3),
            tries=record.tries,
            bytes_in=record.bytes_received,
            bytes_out=record.bytes_sent,
            request_id=record.request_id.decode("latin-1"),
            trace=record.traceparent.decode("latin-1"),
            shadow_denied=record.shadow_denied,
        )
    )


class AccessLog:
    """Collects records and hands their lines to `write` every 100 ms, and once more when it ends."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]], *, wall_clock: Callable[[], float]) -> None:
        self._write = write
        self._wall_clock = wall_clock
        self._records: list[RequestRecord] = []
        self.dropped = 0

    def append(self, record: RequestRecord) -> None:
        """Keep a completed request for the next batch."""
        if len(self._records) < RECORDS_MAX:
            self._records.append(record)
        else:
            self.dropped += 1

    async def run(self) -> None:
        """Write batches until cancelled."""
        try:
            while True:
                await trio.sleep(FLUSH_INTERVAL_S)
                await self.flush()
        finally:
            with trio.CancelScope(deadline=trio.current_time() + 1.0, shield=True):
                await self.flush()

    async def flush(self) -> None:
        """Write what has been collected."""
        if not self._records:
            return
        records, self._records = self._records, []
        offset_s = self._wall_clock() - trio.current_time()
        lines = [encode_line(record, clock_offset_s=offset_s) for record in records]
        lines.append(b"")
        await self._write(b"\n".join(lines))
