"""Units of scenario files."""

import pytest

from sim.scenario.units import parse_bandwidth, parse_percent, parse_rate, parse_size, parse_span


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_rate, "60/s", 60.0),
        (parse_rate, "120/m", 2.0),
        (parse_percent, "0.2%", 0.002),
        (parse_percent, "100%", 1.0),
        (parse_bandwidth, "1Gbit", 125e6),
        (parse_bandwidth, "100kbit/s", 12_500.0),
        (parse_size, "4KiB", 4096),
        (parse_size, "512B", 512),
        (parse_span, "250us", 0.00025),
        (parse_span, "1m30s", 90.0),
        (parse_span, "0", 0.0),
    ],
)
def test_value_with_its_unit_is_read(parse, text, value):
    assert parse(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_rate, "60"),
        (parse_rate, "60/fortnight"),
        (parse_percent, "101%"),
        (parse_percent, "0.2"),
        (parse_bandwidth, "1GB"),
        (parse_bandwidth, "0bit"),
        (parse_size, "1.5KiB"),
        (parse_span, "-2s"),
        (parse_span, "2"),
    ],
)
def test_value_with_a_wrong_unit_is_refused_with_what_is_allowed(parse, text):
    with pytest.raises(ValueError, match=r"write|is not"):
        parse(text)
