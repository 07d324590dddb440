"""What a host believes the date is. Spans of time are Trio's and always right: this is what certificates and logs go by."""

from collections.abc import Callable

from sim.clock import SimClock

ClockError = Callable[[float], float]  # seconds of the world -> seconds by which the host's clock is wrong


class WallClock:
    """The clock of one host. It runs on while the host is off; errors add up."""

    def __init__(self, epoch: float, clock: SimClock) -> None:
        self.asked_while_wrong = 0  # how often something on the host got a wrong answer
        self._epoch = epoch
        self._clock = clock
        self._errors: list[ClockError] = []

    def read(self) -> float:
        """Return seconds since the epoch, to something on the host."""
        now_s = self._clock.now_s
        if not self._errors:
            return self._epoch + now_s
        error_s = sum(error(now_s) for error in self._errors)
        if error_s:
            self.asked_while_wrong += 1
        return self._epoch + now_s + error_s

    def look(self) -> float:
        """Return the same to an observer, who does not count."""
        now_s = self._clock.now_s
        return self._epoch + now_s + sum(error(now_s) for error in self._errors)

    def leap(self, seconds: float) -> None:
        """Move on with the whole world; see `World.leap`."""
        self._epoch += seconds

    def mislead(self, error: ClockError) -> Callable[[], None]:
        """Add an error; return how to take it back."""
        self._errors.append(error)
        return lambda: self._errors.remove(error)
