"""Numbers in header values, as strangers write them. Source: absl::SimpleAtoi, with which Envoy reads them."""

# 2^64 - 1 has twenty digits; leading zeros beyond that are no honest number.
_DIGITS_MAX = 20


def unsigned(value: bytes | None, *, most: int = 2**64 - 1) -> int | None:
    """Return the decimal number that is the whole value, blanks around it aside; None where it is none or above `most`."""
    if value is None:
        return None
    digits = value.strip(b" \t").removeprefix(b"+")
    if len(digits) > _DIGITS_MAX or not digits.isdigit():
        return None
    number = int(digits)
    return number if number <= most else None
