"""Layout: what the field names of one head mean, and where each stands.

A peer sends the same names in the same order again and again while the values change. So names are judged once for
each combination: duplicates that smuggle requests, which fields end at this hop, and a template for sending the rest on.
Holds no values: nothing of one message reaches another.
"""

import functools
from collections.abc import Callable, Sequence
from operator import itemgetter

from mesh.model.errors import RemoteProtocolError
from mesh.protocol.http1.pattern import Match, request_pattern, response_pattern

MAX_HEADERS = 100
_PLANS_MAX = 32  # Callers remove a handful of different sets; more would be a leak.
_MET_FOR_PATTERN = 64  # To compile a pattern takes as long as some hundred heads save by it.

# Source: RFC 9110 section 7.6.1. TE and Upgrade come back by `keep` where their meaning passes through.
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"})
# Two of these, or both kinds of framing, make two readers see two different messages.
_AT_MOST_ONCE = (b"host", b"content-length", b"transfer-encoding")


class Plan:
    """How to write the fields that go on: templates with a %b for each value, and what picks those values.

    The request's template begins with method and target, the response's with status and reason; both end with more lines.
    """

    __slots__ = ("pick", "request", "response")

    def __init__(self, kept: Sequence[tuple[int, bytes]]) -> None:
        """Take the positions and raw names of the fields that are kept."""
        # `%` is a token character.
        lines = b"".join([name.replace(b"%", b"%%") + b": %b\r\n" for _, name in kept])
        self.request = b"%b %b HTTP/1.1\r\n" + lines + b"%b\r\n"
        self.response = b"HTTP/1.1 %d %b\r\n" + lines + b"%b\r\n"
        self.pick = _picker([index for index, _ in kept])


class Layout:
    """Positions of the fields that matter; -1 where a field is absent. Immutable but for its memo of plans and patterns."""

    __slots__ = (
        "_met",
        "connection",
        "content_length",
        "controlled",
        "host",
        "names",
        "plans",
        "positions",
        "rare",
        "request_id",
        "request_match",
        "response_match",
        "traceparent",
        "transfer_encoding",
    )

    def __init__(self, names: tuple[bytes, ...]) -> None:
        """Judge raw names, valid tokens each. Raises: RemoteProtocolError (400 ambiguous framing or host, 431 too many)."""
        if len(names) > MAX_HEADERS:
            raise RemoteProtocolError(f"more than {MAX_HEADERS} header fields", status=431)
        positions: dict[bytes, tuple[int, ...]] = {}
        for index, name in enumerate(names):
            lower = name.lower()
            positions[lower] = (*positions.get(lower, ()), index)
        for lower in _AT_MOST_ONCE:
            if len(positions.get(lower, ())) > 1:
                raise RemoteProtocolError(f"more than one {lower.decode()} field")
        if b"content-length" in positions and b"transfer-encoding" in positions:
            raise RemoteProtocolError("both content-length and transfer-encoding")
        self.names = list(names)
        self.positions = positions
        self.host = self._first(b"host")
        self.content_length = self._first(b"content-length")
        self.transfer_encoding = self._first(b"transfer-encoding")
        self.connection = self._first(b"connection")
        self.request_id = self._first(b"x-request-id")
        self.traceparent = self._first(b"traceparent")
        # One flag for all that most messages do not have, so that they pay for one check.
        repeated = any(len(positions.get(name, ())) > 1 for name in (b"connection", b"x-request-id", b"traceparent"))
        self.rare = repeated or any(name in positions for name in (b"upgrade", b"expect", b"te"))
        # A client may try to steer the proxy; most do not, and shall not pay for the look.
        self.controlled = any(name.startswith(b"x-envoy-") for name in positions)
        self.plans: dict[frozenset[bytes], Plan] = {}
        # What reads a whole head of this layout at once; None until it pays, and for layouts that are read field by field.
        self.request_match: Match | None = None
        self.response_match: Match | None = None
        self._met = 0

    def meet_again(self) -> None:
        """Hear that a peer has repeated these names: often enough, and the next head is read by a pattern."""
        self._met += 1
        if self._met == _MET_FOR_PATTERN:
            self.request_match = request_pattern(self.names)
            self.response_match = response_pattern(self.names)

    def _first(self, lower: bytes) -> int:
        return self.positions.get(lower, (-1,))[0]

    def value(self, name: bytes, values: Sequence[bytes]) -> bytes | None:
        """Return a field's value; repeated fields are joined as one list. Source: RFC 9110 section 5.3, 9113 section 8.2.3."""
        found = self.positions.get(name)
        if found is None:
            return None
        if len(found) == 1:
            return values[found[0]].strip()
        return (b"; " if name == b"cookie" else b", ").join([values[index].strip() for index in found])

    def plan(self, remove: frozenset[bytes]) -> Plan:
        """Return how to write the fields that go on: not hop-by-hop, not in `remove`. Remembered for each `remove`.

        `remove` holds lower-case names; one that ends in `*` stands for all that begin so.
        """
        plan = self.plans.get(remove)
        if plan is None:
            plan = self.make_plan(remove, frozenset())
            if len(self.plans) < _PLANS_MAX:
                self.plans[remove] = plan
        return plan

    def make_plan(self, remove: frozenset[bytes], keep: frozenset[bytes]) -> Plan:
        """Like `plan`, for one message whose values ask for it: `keep` goes on although hop-by-hop. Not remembered."""
        prefixes = tuple(name[:-1] for name in remove if name.endswith(b"*"))
        dropped = (HOP_BY_HOP - keep) | remove
        kept = []
        for index, name in enumerate(self.names):
            lower = name.lower()
            # A repeated traceparent is void, so the first place is the one that a new value takes.
            again = lower == b"traceparent" and index != self.traceparent
            if lower not in dropped and not (prefixes and lower.startswith(prefixes)) and not again:
                kept.append((index, name))
        return Plan(kept)


def _picker(kept: list[int]) -> Callable[[Sequence[bytes]], tuple[bytes, ...]]:
    if not kept:
        return lambda values: ()
    if len(kept) == 1:
        only = kept[0]
        return lambda values: (values[only],)
    return itemgetter(*kept)


@functools.lru_cache(maxsize=512)
def _remembered(names: tuple[bytes, ...]) -> Layout:
    return Layout(names)


def layout_of(names: Sequence[bytes], *, head_bytes: int, status: int = 0) -> Layout:
    """Return the layout of a head of `head_bytes`. Raises: RemoteProtocolError (with `status`, if that is given)."""
    try:
        # 512 layouts of at most 4 KiB bound what hostile peers can make us keep.
        return _remembered(tuple(names)) if head_bytes <= 4096 else Layout(tuple(names))
    except RemoteProtocolError as error:
        raise RemoteProtocolError(str(error), status=status or error.status) from None


EMPTY = Layout(())
