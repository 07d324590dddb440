"""Says of a broken check when it first broke, what happened near that moment, and which requests are worth a look."""

import attrs

from sim.checks.evidence import Evidence, Verdict
from sim.checks.suspects import Suspect
from sim.checks.wording import format_moment


def blame(
    verdict: Verdict,
    evidence: Evidence,
    first_s: float,
    *,
    end_s: float | None = None,
    suspects: tuple[Suspect, ...] = (),
    told: bool = True,
) -> Verdict:
    """Return a broken verdict with its first moment, the nearest event of the timeline, requests and a trace.

    `end_s`: the end of the stretch that begins with `first_s`, where it is one. `told`: its detail says the moment, too.
    """
    until_s = first_s + 1.0 if end_s is None else end_s
    near = evidence.nearby(first_s if end_s is None else end_s)
    found = suspects or tuple(evidence.suspects.between(first_s, until_s))
    moment = f"; first broken at {format_moment(first_s)}{f' ({near})' if near else ''}"
    return attrs.evolve(
        verdict,
        detail=verdict.detail + moment if told else verdict.detail,
        first_s=first_s,
        near=near,
        requests=tuple(str(suspect) for suspect in found),
        trace=next((suspect.trace for suspect in found if suspect.trace), ""),
    )
