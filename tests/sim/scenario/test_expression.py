"""The language of `expect`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.scenario.expression import Metric, Number, Operation, evaluate, parse_comparison


def value_of(text, **values):
    """Evaluate the left side of `text > 0`; metrics by name."""
    comparison = parse_comparison(text)
    return evaluate(comparison.left, lambda metric: values[metric.name.replace("-", "_")])


@pytest.mark.parametrize(
    ("text", "left", "right"),
    [
        ("p99(buy) < 900ms", Metric("p99", "buy"), Number(0.9, 1, "900ms")),
        ("success(buy) >= 99.5%", Metric("success", "buy"), Number(0.995, 0, "99.5%")),
        ("rate(GET web/products) > 60/s", Metric("rate", "GET web/products"), Number(60.0, -1, "60/s")),
        ("count(payment.charged) == 3", Metric("count", "payment.charged"), Number(3.0, 0, "3")),
        (
            "retries(*) / first-tries(*) <= 20%",
            Operation("/", Metric("retries", "*"), Metric("first-tries", "*")),
            Number(0.2, 0, "20%"),
        ),
    ],
)
def test_both_sides_are_read(text, left, right):
    comparison = parse_comparison(text)
    assert (comparison.left, comparison.right) == (left, right)
    assert str(comparison) == text


def test_products_bind_tighter_than_sums_and_the_left_goes_first():
    assert value_of("10 - 2 * 3 - 1 > 0") == 3
    assert value_of("(10 - 2) * 3 > 0") == 24
    assert value_of("-failures(*) + 5 > 0", failures=2.0) == 3
    assert value_of("8 / 2 / 2 > 0") == 2


def test_what_cannot_be_measured_makes_the_whole_unknown():
    assert value_of("retries(*) / first-tries(*) > 0", retries=0.0, first_tries=0.0) is None
    assert value_of("p99(buy) + 1s > 0s", p99=None) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("p99(buy) < 20%", "cannot compare p99(buy) with 20%: a span of time against a plain number or share"),
        ("p99(buy) + 1 < 2s", "cannot add p99(buy) and 1"),
        ("p98(buy) < 1s", "unknown metric 'p98'"),
        ("sucess(buy) > 1%", "did you mean 'success'?"),
        ("p99(buy)", "expected a comparison"),
        ("p99(buy) < 1s 2s", "expected the end of the expression at character 15"),
        ("p99() < 1s", "needs a subject"),
        ("(1 + 2 > 3", "expected ')'"),
        ("1 > $", "cannot read '$' at character 5"),
        ("> 3", "expected a number"),
        ("((((((((((((((((((((((((((((((((((1)))))))))))))))))))))))))))))))))) > 0", "nested deeper"),
    ],
)
def test_wrong_expression_is_refused_with_its_place(text, complaint):
    with pytest.raises(ValueError, match=r".") as refused:
        parse_comparison(text)
    assert complaint in str(refused.value)


@given(st.text(alphabet="p99(buy)<>=! +-*/%ms.01 success", max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused_and_reads_back_the_same(text):
    try:
        comparison = parse_comparison(text)
    except ValueError:
        return
    assert parse_comparison(str(comparison)) == comparison
