"""Scripts: what the client says, and what the upstreams answer. Values only; `client` and `upstream` act them.

Hosts in a case are names, not addresses: upstreams are called as the case calls them, and listeners by their name.
"""

import enum

import attrs


class Stage(enum.Enum):
    """How far an upstream goes with an answer before it ends the connection."""

    REQUEST = "request"  # nothing is answered
    HEAD = "head"
    HALF = "half"  # the head and the first half of the body
    WHOLE = "whole"


class Framing(enum.Enum):
    """How the end of a body is told."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


@attrs.frozen(kw_only=True)
class Answer:
    """What an upstream does with one request. `raw` takes the place of everything that would be written.

    `early`: it answers when the head has come, without the body. `ends`: the connection ends at this stage, by a reset or
    not. `length`: what the head claims, if not the truth. `echoes`: from then on it sends back what it gets.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"hi"
    framing: Framing = Framing.LENGTH
    length: int | None = None
    interim: tuple[int, ...] = ()
    wait_s: float = 0.0  # before the first byte
    body_wait_s: float = 0.0  # between head and body
    half_wait_s: float = 0.0  # between the halves of the body
    early: bool = False
    ends: Stage | None = None
    resets: bool = False
    raw: bytes | None = None
    echoes: bool = False


class Door(enum.Enum):
    """What somebody who connects to an upstream finds."""

    OPEN = "open"
    SHUT = "shut"  # refused
    SILENT = "silent"  # the connection is never made


@attrs.frozen(kw_only=True)
class Opaque:
    """What an upstream does with a connection that is not HTTP: it greets, echoes, and ends when the client has."""

    greeting: bytes = b""
    echoes: bool = True
    ends_after_s: float | None = None  # by itself, so long after the connection was made
    resets: bool = False
    farewell: bytes = b""  # written after the client's end has come


@attrs.frozen(kw_only=True)
class Upstream:
    """One server. Its n-th request gets its n-th answer, the last answer repeats; `by_path` are other scripts for some paths.

    Requests under `by_path` are not among the arrivals (health checks). `port`: fixed, where rings place it by its address.
    """

    name: str
    answers: tuple[Answer, ...] = (Answer(),)
    by_path: tuple[tuple[str, tuple[Answer, ...]], ...] = ()
    door: Door = Door.OPEN
    opaque: Opaque | None = None
    host: str = "127.0.0.1"
    port: int = 0


@attrs.frozen(kw_only=True)
class Piece:
    """Bytes, and how long to wait before they are sent."""

    data: bytes
    wait_s: float = 0.0


@attrs.frozen(kw_only=True)
class Turn:
    """One request and its response."""

    pieces: tuple[Piece, ...]
    method: str = "GET"


@attrs.frozen(kw_only=True)
class Talk:
    """One connection: turn by turn. `leaves_after_s`: hang up so long after the last piece, whatever has come.

    `lingers_s`: how long to wait afterwards for the proxy to end the connection.
    """

    turns: tuple[Turn, ...]
    listener: str = "out"
    leaves_after_s: float | None = None
    resets: bool = False
    lingers_s: float = 0.0


@attrs.frozen(kw_only=True)
class Stream:
    """One opaque connection: pieces out, whatever comes in. `ends`: send our end after the last piece."""

    pieces: tuple[Piece, ...] = ()
    listener: str = "out"
    ends: bool = True
    reads_s: float = 3.0  # at most


@attrs.frozen(kw_only=True)
class Pause:
    """Nothing, for so long."""

    seconds: float


@attrs.frozen(kw_only=True)
class Together:
    """Talks at once, each starting so long after the one before."""

    talks: tuple[Talk, ...]
    stagger_s: float = 0.0


Step = Talk | Stream | Pause | Together


def request(
    method: str = "GET", target: str = "/", *headers: str, body: bytes = b"", host: str = "svc", wait_s: float = 0.0
) -> Turn:
    """One ordinary request, sent at once; `headers` are whole lines."""
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", *headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    data = "\r\n".join([*lines, "", ""]).encode() + body
    return Turn(pieces=(Piece(data=data, wait_s=wait_s),), method=method)


def talk(*turns: Turn, listener: str = "out", lingers_s: float = 0.0) -> Talk:
    """Turns on one connection."""
    return Talk(turns=turns, listener=listener, lingers_s=lingers_s)


def get(target: str = "/", *headers: str, listener: str = "out", host: str = "svc") -> Talk:
    """A GET on a connection of its own."""
    return talk(request("GET", target, *headers, host=host), listener=listener)


def post(body: bytes = b"body", *headers: str, target: str = "/", listener: str = "out") -> Talk:
    """A POST on a connection of its own, all of it at once."""
    return talk(request("POST", target, *headers, body=body), listener=listener)


def pieces(*parts: bytes | tuple[float, bytes], method: str = "GET") -> Turn:
    """One request in pieces: bytes, or (wait in seconds, bytes)."""
    made = [part if isinstance(part, tuple) else (0.0, part) for part in parts]
    return Turn(pieces=tuple(Piece(data=data, wait_s=wait_s) for wait_s, data in made), method=method)


def times(count: int, step: Talk, pause_s: float = 0.0) -> tuple[Step, ...]:
    """The same again and again."""
    if not pause_s:
        return (step,) * count
    return (step, Pause(seconds=pause_s)) * count
