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


_encode = msgspec.json.Encoder().encode


def encode_line(record: RequestRecord, *, clock_offset_s: float) -> bytes:
    """Write one line without its end. `clock_offset_s` turns the record's clock into seconds since the epoch."""
    flags = record.flags
    # By position, in the order of `_Line`, and rounded by whole numbers: names and `round` would double what a line costs.
    return _encode(
        _Line(
            int((record.started_at + clock_offset_s) * 1e6 + 0.5) / 1e6,
            "in" if record.inbound else "out",
            record.method.decode("latin-1"),
            record.path.decode("latin-1"),
            record.authority.decode("latin-1"),
            record.status,
            ",".join([flag.value for flag in flags]) if flags else "-",
            record.detail,
            record.route,
            record.cluster,
            record.upstream,
            record.peer,
            int((record.ended_at - record.started_at) * 1e6 + 0.5) / 1e3,
            record.tries,
            record.bytes_received,
            record.bytes_sent,
            record.request_id.decode("latin-1"),
            record.traceparent.decode("latin-1"),
            record.shadow_denied,
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
