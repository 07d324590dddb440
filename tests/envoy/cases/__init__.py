"""All cases, by subject."""

from tests.envoy.case import Case
from tests.envoy.cases import balancing, breakers, inbounds, interactions, opaque, retries, routing, timeouts, wire

SUBJECTS = (retries, timeouts, breakers, balancing, routing, inbounds, wire, opaque, interactions)
CASES: tuple[Case, ...] = tuple(case for subject in SUBJECTS for case in subject.CASES)
