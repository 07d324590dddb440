"""A header as scenarios have it: one value, or several that are drawn from. Values only."""

import attrs


@attrs.frozen(kw_only=True)
class Header:
    """A header with the values that are drawn from: one value is always that one."""

    name: str
    values: tuple[str, ...]

    def lines(self) -> tuple[bytes, ...]:
        """Return it as a complete line for each value."""
        return tuple(f"{self.name}: {value}\r\n".encode() for value in self.values)
