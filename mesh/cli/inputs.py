"""Reading several inputs of one command, so that everything that is wrong with them is said at once."""

from collections.abc import Callable, Iterable
from typing import Generic, ParamSpec, TypeVar

import attrs

from mesh.model.errors import ConfigError, Violation

T = TypeVar("T")
P = ParamSpec("P")


@attrs.define(eq=False)
class Input(Generic[T]):
    """One input that was read, or that could not be."""

    values: list[T] = attrs.field(factory=list)  # empty: it was wrong

    @property
    def is_right(self) -> bool:
        return bool(self.values)

    @property
    def value(self) -> T:
        """Return what was read. Ask after `Inputs.check`, or where `is_right`."""
        return self.values[0]


@attrs.define(eq=False)
class Inputs:
    """The inputs of one command, and what is wrong with them so far."""

    violations: list[Violation] = attrs.field(factory=list)

    def read(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Input[T]:
        """Call `function`; keep its result or, for later, the violations of its ConfigError."""
        result: Input[T] = Input()
        try:
            result.values.append(function(*args, **kwargs))
        except ConfigError as error:
            self.violations += error.violations
        return result

    def refuse(self, violations: Iterable[Violation]) -> None:
        """Note what a comparison of inputs found."""
        self.violations += violations

    def check(self) -> None:
        """Raises: ConfigError with all violations, if there are any."""
        if self.violations:
            raise ConfigError(self.violations)
