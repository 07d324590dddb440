"""Outcome: what was seen of one case, by its client, its upstreams and the proxy's log. Values, kept as JSON."""

import attrs


@attrs.frozen(kw_only=True)
class Reply:
    """One response as the client saw it. `ending`: complete; cut or reset (the connection ended in
    it); no response (it ended before); silence (nothing came)."""

    ending: str
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    interim: tuple[int, ...] = ()
    head_s: float = 0.0  # from the end of the request to the response's head
    whole_s: float = 0.0  # to its end
    closed_s: float | None = None  # from the response's end to that of the connection, where somebody waited for it


@attrs.frozen(kw_only=True)
class Arrival:
    """One request as an upstream saw it. `cut`: its connection ended before the upstream had answered."""

    upstream: str
    connection: int
    at_s: float  # since the case began
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: str = ""
    cut: bool = False


@attrs.frozen(kw_only=True)
class Entry:
    """One line of the proxy's access log."""

    listener: str
    status: int
    flags: str  # sorted, with commas; "" none
    details: str
    tries: int
    upstream: str  # "" none


@attrs.frozen(kw_only=True)
class Outcome:
    """Everything that was seen of one case on one proxy."""

    replies: tuple[Reply, ...]
    arrivals: tuple[Arrival, ...]
    log: tuple[Entry, ...]
    connections: dict[str, int]  # that each upstream accepted, health checks apart
    stats: dict[str, int]  # those that the case asks for: `<cluster>.<name>`
    complaints: tuple[str, ...] = ()  # of ours: what it still held when all was over, errors in its log
