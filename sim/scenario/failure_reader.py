"""Reads `errors: {503: 20%, reset: 5%}`: which shares of requests fail, and how."""

from sim.scenario.reading import Cursor
from sim.scenario.topology import Failure


def read_failures(cursor: Cursor) -> tuple[Failure, ...]:
    """Read the shares, which add up to 100% at most."""
    failures = []
    for what, entry in cursor.entries().items():
        status = 0
        if what != "reset":
            status = int(what) if what.isdecimal() and 400 <= int(what) <= 599 else -1
        if status < 0:
            entry.refuse(f"unknown error '{what}'", "write a status from 400 to 599, or reset")
        failures.append(Failure(status=status, share=entry.percent()))
    if sum(failure.share for failure in failures) > 1:
        cursor.refuse("the shares add up to more than 100%")
    return tuple(failures)
