"""How verdicts write values, spans and moments."""

from mesh.model.durations import format_duration
from sim.scenario.expression import RATE, SPAN, Expression, Metric, Number, Operation


def format_value(value: float, expression: Expression) -> str:
    """Write a value in its unit; shares as percentages when they are ratios, counts plainly."""
    if expression.dimension == SPAN:
        return format_rounded(value)
    if expression.dimension == RATE:
        return f"{value:.1f}/s"
    if _is_ratio(expression):
        return f"{value:.2%}"
    return f"{value:.3g}" if value < 1000 else f"{value:g}"


def _is_ratio(expression: Expression) -> bool:
    match expression:
        case Operation(symbol=symbol, left=left, right=right):
            return symbol == "/" or _is_ratio(left) or _is_ratio(right)
        case Metric(name=name):
            return name == "success"
        case Number():
            return False


def format_rounded(seconds: float) -> str:
    """Write a span with three digits, which is what a quantile is worth."""
    return format_duration(float(f"{seconds:.3g}"))


def format_moment(seconds: float) -> str:
    """Write a moment of the run: `5m03s`, `12.4s`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    if not minutes:
        return f"{rest:g}s"
    return f"{int(minutes)}m{rest:04.1f}s" if rest % 1 else f"{int(minutes)}m{int(rest):02d}s"
