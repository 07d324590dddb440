"""Reads `steps` of endpoints: work, calls (perhaps cached, perhaps tried again) and lists of parallel steps."""

from pathlib import PurePath

from sim.scenario.distribution_reader import read_distribution
from sim.scenario.distributions import Constant
from sim.scenario.header_reader import read_headers
from sim.scenario.headers import Header
from sim.scenario.names import Names
from sim.scenario.reading import Cursor
from sim.scenario.retries_reader import read_retries
from sim.scenario.schema import keys, required_keys
from sim.scenario.topology import Cached, Call, Operation, Parallel, Step, Work

_DEPTH_MAX = 8  # Parallel steps within parallel steps.
_KEYS_MAX = 1_000_000


class StepsReader:
    """Reads the steps of one file's endpoints. `folder` is where the file stands."""

    def __init__(self, names: Names, folder: PurePath) -> None:
        self.names = names
        self.folder = folder

    def steps(self, cursor: Cursor) -> tuple[Step, ...]:
        return tuple(self._step(element, 0) for element in cursor.elements())

    def _step(self, cursor: Cursor, depth: int) -> Step:
        if isinstance(cursor.value, list):
            if depth >= _DEPTH_MAX:
                cursor.refuse(f"nested deeper than {_DEPTH_MAX} levels")
                return Parallel(steps=())
            return Parallel(steps=tuple(self._step(element, depth + 1) for element in cursor.elements()))
        section = "work" if isinstance(cursor.value, dict) and "work" in cursor.value else "call"
        if isinstance(cursor.value, dict) and not {"work", "call"} & set(cursor.value):
            cursor.refuse("a step is {work: ...}, {call: ...} or a list of parallel steps")
            return Work(time=Constant(0.0))
        entries = cursor.mapping(keys(section), required_keys(section))
        return self._work(entries) if section == "work" else self._call_or_cached(entries)

    def _work(self, entries: dict[str, Cursor]) -> Work:
        shared = entries["shared"].flag() if "shared" in entries else False
        if "shared" in entries and "lock" not in entries:
            entries["shared"].refuse("says how a lock is held; there is no lock", "for example lock: index")
        return Work(
            time=read_distribution(entries["work"], self.folder) if "work" in entries else Constant(0.0),
            lock=entries["lock"].name() if "lock" in entries else "",
            shared=shared,
        )

    def _call_or_cached(self, entries: dict[str, Cursor]) -> Step:
        call = self._call(entries)
        return self._cached(entries["cached"], call) if "cached" in entries else call

    def _cached(self, cursor: Cursor, call: Call) -> Cached:
        entries = cursor.mapping(keys("cached"), required_keys("cached"))
        service = self.names.refuse_unknown_service(entries["in"]) if "in" in entries else ""
        kind = self.names.kind_by_service.get(service, "redis")
        if kind != "redis":
            entries["in"].refuse(f"a cache is a redis service; '{service}' is a {kind} service")
        count = entries["keys"].count(least=1) if "keys" in entries else 1
        if count > _KEYS_MAX:
            entries["keys"].refuse(f"must be at most {_KEYS_MAX}, not {count}")
        share = entries["hit"].percent() if "hit" in entries else 1.0
        return Cached(call=call, keys=min(count, _KEYS_MAX), share=share, service=service)

    def _call(self, entries: dict[str, Cursor]) -> Call:
        words = entries["call"].text().split() if "call" in entries else []
        operation = Operation(service="", verb="")
        if "call" in entries and not 2 <= len(words) <= 3:
            entries["call"].refuse("must be SERVICE METHOD /path, DATABASE SELECT table or CACHE GET")
        elif words:
            operation = Operation(service=words[0], verb=words[1], target=words[2] if len(words) == 3 else "")
            self.names.refuse_unknown_operation(entries["call"], operation.service, operation.verb, operation.target)
        kind = self.names.kind_by_service.get(operation.service, "http")
        if "body" in entries and kind != "http":
            entries["body"].refuse(f"bodies are for HTTP; '{operation.service}' is a {kind} service")
        return Call(
            operation=operation,
            timeout_s=entries["timeout"].span(positive=True) if "timeout" in entries else 0.0,
            optional=entries["optional"].flag() if "optional" in entries else False,
            headers=self._call_headers(entries["headers"], operation.service) if "headers" in entries else (),
            body=entries["body"].text() if "body" in entries else "",
            retries=read_retries(entries["retries"]) if "retries" in entries else None,
        )

    def _call_headers(self, cursor: Cursor, service: str) -> tuple[Header, ...]:
        kind = self.names.kind_by_service.get(service, "http")
        if kind != "http":
            cursor.refuse(f"headers are for HTTP; '{service}' is a {kind} service")
            return ()
        return read_headers(cursor, drawn=True)
