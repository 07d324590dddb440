"""What a scenario does to the running system, and when. Values only; what can be done stands in `sim.faults`."""

from typing import TypeAlias

import attrs

from sim.scenario.verb import Verb

Side: TypeAlias = tuple[str, ...]  # names of zones, services or instances


@attrs.frozen(kw_only=True)
class TimelineEntry:
    """One thing done at `at_s` seconds of the run. `for_s`: how long a fault stays, None to the end."""

    at_s: float
    verb: Verb
    for_s: float | None = None
    name: str = ""

    @property
    def word(self) -> str:
        return self.verb.word

    @property
    def is_fault(self) -> bool:
        return self.verb.hurts

    def title(self) -> str:
        """Name it for people."""
        return self.verb.title()

    def end_s(self, run_end_s: float) -> float:
        """Return when a fault is over, at most the end of the run."""
        return run_end_s if self.for_s is None else min(run_end_s, self.at_s + self.for_s)
