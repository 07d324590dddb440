"""The language of `expect`: `p99(buy) < 900ms`, `retries(*) / first-tries(*) <= 20%`. Pure.

    comparison := sum ("==" | "!=" | "<" | "<=" | ">" | ">=") sum
    sum        := product (("+" | "-") product)*
    product    := atom (("*" | "/") atom)*
    atom       := "-" atom | "(" sum ")" | number | metric "(" subject ")"

A number carries its unit (`900ms`, `60/s`, `99.5%`, `3`). Both sides must measure the same thing: a dimension is the
power of seconds (span 1, share or count 0, rate -1), so `p99(buy) < 20%` is refused when the file is read.
What a metric measures is known to `sim.checks.measurements`; nothing here has data.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from mesh.resources.documents import suggest
from sim.scenario.units import parse_percent, parse_rate, parse_span

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d[\w.µμ]*(?:%|/(?:ms|s|m|h)\b)?|\.\d[\w.%]*)"
    r"|(?P<metric>[A-Za-z][\w-]*)\s*\(\s*(?P<subject>[^()]*?)\s*\)"
    r"|(?P<symbol>==|!=|<=|>=|<|>|\+|-|\*|/|\(|\)))"
)

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "==": lambda a, b: math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12),
    "!=": lambda a, b: not math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12),
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TIGHTNESS = {"+": 1, "-": 1, "*": 2, "/": 2}
_DEPTH_MAX = 32
SPAN, SHARE, RATE = 1, 0, -1

# Metrics that stand at some value at each moment, in the same shape. See `sim.checks.gauges`.
GAUGES: Mapping[str, tuple[int, str]] = {
    **dict.fromkeys(("ejected", "panicking", "open-connections"), (SHARE, "service")),
    **dict.fromkeys(("instances", "in-flight", "queued", "restarts", "connected"), (SHARE, "member")),
    **dict.fromkeys(("config-lag", "certificate-left"), (SPAN, "member")),
}

# {metric: (dimension, what its subject names)}; the subjects' names are checked by the loader.
METRICS: Mapping[str, tuple[int, str]] = {
    **dict.fromkeys(("p50", "p90", "p95", "p99", "p999", "mean", "max"), (SPAN, "journey")),
    "success": (SHARE, "journey"),
    "failures": (SHARE, "journey"),
    **dict.fromkeys(("rate", "offered"), (RATE, "journey")),
    "retries": (SHARE, "service"),
    "first-tries": (SHARE, "service"),
    "amplification": (SHARE, "service"),
    "count": (SHARE, "event"),
    "served": (SHARE, "place"),
    "opened": (SHARE, "place"),
    "answers": (SHARE, "status"),
    "flagged": (SHARE, "flag"),
    "shadow-denied": (SHARE, "service"),
    **GAUGES,
}

# Dimensionless, and numbers of things all the same: they are not compared with percentages.
_SHARES = ("success", "amplification")
COUNTED = frozenset(name for name, (dimension, _) in METRICS.items() if dimension == SHARE and name not in _SHARES)


@attrs.frozen
class Number:
    """A constant, with its text as written."""

    value: float
    dimension: int
    text: str

    def __str__(self) -> str:
        return self.text


@attrs.frozen
class Metric:
    """Something measured: `p99(buy)`."""

    name: str
    subject: str

    @property
    def dimension(self) -> int:
        return METRICS[self.name][0]

    def __str__(self) -> str:
        return f"{self.name}({self.subject})"


@attrs.frozen
class Operation:
    """Two operands of `+`, `-`, `*` or `/`."""

    symbol: str
    left: "Expression"
    right: "Expression"

    @property
    def dimension(self) -> int:
        if self.symbol == "*":
            return self.left.dimension + self.right.dimension
        if self.symbol == "/":
            return self.left.dimension - self.right.dimension
        return self.left.dimension

    def __str__(self) -> str:
        return f"{self._side(self.left)} {self.symbol} {self._side(self.right, strict=True)}"

    def _side(self, side: "Expression", *, strict: bool = False) -> str:
        looser = isinstance(side, Operation) and _TIGHTNESS[side.symbol] < _TIGHTNESS[self.symbol] + strict
        return f"({side})" if looser else str(side)


Expression: TypeAlias = Number | Metric | Operation
Measure: TypeAlias = Callable[[Metric], float | None]


@attrs.frozen
class Comparison:
    """What is promised."""

    symbol: str
    left: Expression
    right: Expression

    def __str__(self) -> str:
        return f"{self.left} {self.symbol} {self.right}"

    def metrics(self) -> tuple[Metric, ...]:
        """Return every metric in it, in the order written."""
        return (*_metrics(self.left), *_metrics(self.right))

    def holds(self, left: float, right: float) -> bool:
        return _COMPARE[self.symbol](left, right)

    def margin(self, left: float, right: float) -> float:
        """Return how far it is from breaking: below 0 when broken. Orders windows from worst to best."""
        if self.symbol in ("<", "<="):
            return right - left
        if self.symbol in (">", ">="):
            return left - right
        return 0.0 if self.holds(left, right) else -abs(left - right) - 1e-12


def evaluate(expression: Expression, measure: Measure) -> float | None:
    """Return the value, or None where there is nothing to measure (or to divide by)."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Metric):
        return measure(expression)
    left, right = evaluate(expression.left, measure), evaluate(expression.right, measure)
    if left is None or right is None:
        return None
    match expression.symbol:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case _:
            return left / right if right else None


def parse_comparison(text: str) -> Comparison:
    """Read what `expect` says. Raises: ValueError with the place and what is allowed there."""
    return _Parser(text).comparison()


def _metrics(expression: Expression) -> tuple[Metric, ...]:
    if isinstance(expression, Metric):
        return (expression,)
    if isinstance(expression, Operation):
        return (*_metrics(expression.left), *_metrics(expression.right))
    return ()


@attrs.frozen
class _Token:
    kind: str  # number, metric, symbol, end
    text: str
    subject: str
    place: int


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            place = position + len(text[position:]) - len(text[position:].lstrip())
            raise ValueError(f"cannot read {text[place:]!r} at character {place + 1} of the expression; {_allowed()}")
        kind = match.lastgroup if match["metric"] is None else "metric"
        assert kind is not None
        tokens.append(_Token(kind, match[kind], match["subject"] or "", match.start(kind)))
        position = match.end()
    tokens.append(_Token("end", "the end", "", len(text)))
    return tokens


def _allowed() -> str:
    return f"write a number with its unit or a metric: {', '.join(f'{name}()' for name in METRICS)}"


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.depth = 0

    def comparison(self) -> Comparison:
        left = self.sum()
        token = self.tokens.pop(0)
        if token.text not in _COMPARE:
            raise self._unexpected(token, "a comparison (==, !=, <, <=, >, >=)")
        right = self.sum()
        if self.tokens[0].kind != "end":
            raise self._unexpected(self.tokens[0], "the end of the expression")
        self._same_dimension(left, right, f"compare {left} with {right}")
        return Comparison(token.text, left, right)

    def sum(self) -> Expression:
        left = self.product()
        while self.tokens[0].text in ("+", "-"):
            symbol = self.tokens.pop(0).text
            right = self.product()
            self._same_dimension(left, right, f"{'add' if symbol == '+' else 'subtract'} {left} and {right}")
            left = Operation(symbol, left, right)
        return left

    def product(self) -> Expression:
        left = self.atom()
        while self.tokens[0].text in ("*", "/"):
            left = Operation(self.tokens.pop(0).text, left, self.atom())
        return left

    def atom(self) -> Expression:
        token = self.tokens.pop(0)
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "metric":
            return _metric(token)
        if token.text not in ("(", "-"):
            raise self._unexpected(token, _allowed().removeprefix("write "))
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise ValueError(f"nested deeper than {_DEPTH_MAX} levels")
        if token.text == "-":
            inner = self.atom()
            self.depth -= 1
            return Operation("-", Number(0.0, inner.dimension, "0"), inner)
        inner = self.sum()
        closing = self.tokens.pop(0)
        if closing.text != ")":
            raise self._unexpected(closing, "')'")
        self.depth -= 1
        return inner

    @staticmethod
    def _unexpected(token: _Token, wanted: str) -> ValueError:
        found = token.text if token.kind == "end" else repr(token.text)
        return ValueError(f"expected {wanted} at character {token.place + 1} of the expression, found {found}")

    @staticmethod
    def _same_dimension(left: Expression, right: Expression, what: str) -> None:
        if left.dimension != right.dimension:
            words = {SPAN: "a span of time", SHARE: "a plain number or share", RATE: "a rate"}
            sides = [words.get(side.dimension, "a product of units") for side in (left, right)]
            raise ValueError(f"cannot {what}: {sides[0]} against {sides[1]}")


def _number(text: str) -> Number:
    if text.endswith("%"):
        return Number(parse_percent(text) if _is_small(text) else float(text[:-1]) / 100, SHARE, text)
    if "/" in text:
        return Number(parse_rate(text), RATE, text)
    try:
        return Number(float(text), SHARE, text)
    except ValueError:
        return Number(parse_span(text), SPAN, text)


def _is_small(text: str) -> bool:
    # Shares above 100% are meaningful here: retries(*) / first-tries(*) < 150%.
    try:
        return float(text[:-1]) <= 100
    except ValueError:
        return True


def _metric(token: _Token) -> Metric:
    if token.text not in METRICS:
        hint = suggest(token.text, METRICS) or f"allowed: {', '.join(METRICS)}"
        raise ValueError(f"unknown metric '{token.text}' at character {token.place + 1} of the expression; {hint}")
    if not token.subject:
        raise ValueError(f"{token.text}() needs a subject, for example {token.text}(*)")
    return Metric(token.text, token.subject)
