"""The JSON Schema of scenario files, for editors, and the one list of the keys that each section allows.

`sim.scenario.*_reader` take their allowed keys from here, so that an editor and the loader cannot disagree about them.
What a schema cannot say (references, units in context) only the loader checks.
"""

from collections.abc import Mapping
from typing import Any

from sim.scenario.promises import BUILTINS

Schema = dict[str, Any]

FORMAT = 1
OUTPUT_FILES = ("result.json", "events.jsonl", "junit.xml")
LATER_OUTPUT_FILES = ("report.html", "traces.otlp.jsonl")
POSTGRESQL_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
REDIS_VERBS = ("GET", "SET", "DEL", "INCR")
FUZZ_KINDS = ("partition", "kill", "slow", "loss", "latency", "clock-skew", "cp-down")


def _text(what: str, pattern: str = "") -> Schema:
    return {"type": "string", "description": what} | ({"pattern": pattern} if pattern else {})


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _list(of: Schema, *, least: int = 0) -> Schema:
    return {"type": "array", "items": of} | ({"minItems": least} if least else {})


def _map(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def _section(what: str, properties: Mapping[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "description": what,
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _verb(what: str, properties: Mapping[str, Schema], required: tuple[str, ...], *, lasts: bool = True) -> Schema:
    common = {"at": _ref("span"), "name": _text("what `during` in checks calls it")}
    if lasts:
        common["for"] = _ref("span")
    return _section(what, common | dict(properties), ("at", *required))


_COUNT: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_SIDES = {
    "type": "array",
    "items": {"anyOf": [_text("zone, service or instance"), _list(_text("name"))]},
    "minItems": 2,
}

VERBS: tuple[str, ...] = (
    "apply",
    "scale",
    "partition",
    "kill",
    "slow",
    "fail",
    "latency",
    "loss",
    "control-plane",
)

_DEFS: dict[str, Schema] = {
    "span": _text("a span with a unit: 250us, 15ms, 2s, 1m30s", r"^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$|^0$"),
    "rate": _text("a rate: 60/s", r"^\d+(\.\d+)?/(ms|s|m|h)$"),
    "percent": _text("a share: 0.2%", r"^\d+(\.\d+)?%$"),
    "size": _text("bytes: 512B, 4KiB", r"^\d+(B|KiB|MiB|kB|MB)$"),
    "distribution": {"anyOf": [_ref("span"), _ref("drawn")]},
    "drawn": _section(
        "spans drawn by chance: {mean} exponential, {p50, p99} log-normal, {histogram} by the weights of a file",
        {"mean": _ref("span"), "p50": _ref("span"), "p99": _ref("span"), "histogram": _text("a CSV file: span,weight")},
    ),
    "link_model": _section(
        "how bytes travel",
        {
            "latency": _ref("distribution"),
            "bandwidth": _text("bits per second: 1Gbit", r"^\d+(\.\d+)?(bit|kbit|Mbit|Gbit)(/s)?$"),
            "loss": _ref("percent"),
        },
    ),
    "control_plane": _section(
        "where the control plane runs and how long its messages take besides the network",
        {"zone": _text("a zone"), "push_delay": _ref("distribution")},
        ("zone",),
    ),
    "service": _section(
        "a service: its instances by zone, what one instance can hold, what its endpoints do",
        {
            "kind": {"enum": ["http", "postgresql", "redis"]},
            "instances": _map(_COUNT),
            "concurrency": {"type": "integer", "minimum": 1, "description": "served at once per instance"},
            "queue": _COUNT | {"description": "waiting per instance; more are refused with 503"},
            "work": _ref("distribution") | {"description": "time of one statement (databases)"},
            "endpoints": _map(_ref("endpoint")),
            "autoscale": _ref("autoscale"),
            "labels": _ref("labels"),
        },
        ("instances",),
    ),
    "autoscale": _section(
        "instances follow the share of busy places",
        {
            "metric": {"enum": ["busy"]},
            "target": _ref("percent"),
            "min": _COUNT,
            "max": _COUNT,
            "delay": _ref("span"),
        },
        ("target", "max"),
    ),
    "endpoint": _section(
        "one operation of an HTTP service",
        {
            "steps": _list(_ref("step")),
            "idempotent": _FLAG | {"description": "may be repeated; by default what the method promises"},
            "errors": _ref("errors"),
            "headers": _map(_text("value")) | {"description": "go with each answer, also with failures"},
            "requires": _map(_text("value")) | {"description": "headers without which a request is answered 400"},
            "counts": _text("the event one successful execution adds to: count(service.event)"),
            "request": _ref("size"),
            "response": _ref("size"),
        },
    ),
    "step": {"anyOf": [_ref("work"), _ref("call"), _list(_ref("step"))]},
    "work": _section("computing time", {"work": _ref("distribution")}, ("work",)),
    "call": _section(
        "a request to another service",
        {
            "call": _text("SERVICE METHOD /path, DATABASE SELECT table or CACHE GET"),
            "timeout": _ref("span"),
            "headers": _map(_ref("header")),
            "optional": _FLAG | {"description": "its failure does not fail the caller"},
        },
        ("call",),
    ),
    "open": _section(
        "users who arrive at a rate",
        {
            "model": {"const": "open"},
            "arrivals": {"anyOf": [{"enum": ["poisson", "constant"]}, _ref("arrivals_trace")]},
            "rate": {"anyOf": [_ref("rate"), _list(_ref("rate_stage"), least=1)]},
            "mix": _map({"type": "number", "minimum": 0}),
            "journeys": _map(_list({"anyOf": [_text("METHOD service/path"), _ref("request"), _ref("think")]}, least=1)),
            "headers": _map(_ref("header")) | {"description": "of a user, on all requests of a journey"},
            "labels": _ref("labels"),
            "timeout": _ref("span"),
            "zones": _map({"type": "number", "minimum": 0}),
        },
        ("journeys",),
    ),
    "closed": _section(
        "a fixed number of users",
        {
            "model": {"const": "closed"},
            "users": {"type": "integer", "minimum": 1},
            "think": _ref("distribution"),
            "mix": _map({"type": "number", "minimum": 0}),
            "journeys": _map(_list({"anyOf": [_text("METHOD service/path"), _ref("request"), _ref("think")]}, least=1)),
            "headers": _map(_ref("header")) | {"description": "of a user, on all requests of a journey"},
            "labels": _ref("labels"),
            "timeout": _ref("span"),
            "zones": _map({"type": "number", "minimum": 0}),
        },
        ("model", "users", "journeys"),
    ),
    "arrivals_trace": _section("starts from a file", {"trace": _text("a file: one span per line")}, ("trace",)),
    "rate_stage": _section(
        "a part of the curve: go linearly to a rate, or hold the one before",
        {"to": _ref("rate"), "over": _ref("span"), "hold": _ref("span"), "as": _text("a name for --set and fuzz")},
    ),
    "request": _section(
        "a request of a user",
        {
            "request": _text("METHOD service/path?query"),
            "headers": _map(_ref("header")) | {"description": "drawn for each request"},
            "expects": _map(_text("value")) | {"description": "headers without which an answer is no good"},
        },
        ("request",),
    ),
    "header": {"anyOf": [_text("the value"), _list(_text("one of the values"), least=1), _ref("numbered")]},
    "numbered": _section(
        "values user-1, user-2, ...",
        {"prefix": _text("what comes before the number"), "count": {"type": "integer", "minimum": 1}},
        ("prefix", "count"),
    ),
    "labels": _map({"anyOf": [_text("value"), _list(_text("value of one instance"), least=1)]})
    | {"description": "of the Dataplanes; a list has one value for each instance"},
    "errors": _map(_ref("percent")) | {"description": "shares that fail: a status from 400 to 599, or reset"},
    "think": _section("a pause of the user", {"think": _ref("distribution")}, ("think",)),
    "apply": _verb("apply a file of resources", {"apply": _text("a file")}, ("apply",), lasts=False),
    "scale": _verb(
        "run this many instances", {"scale": _text("a service"), "to": _map(_COUNT)}, ("scale", "to"), lasts=False
    ),
    "partition": _verb("lose everything between two sides", {"partition": _SIDES, "oneway": _FLAG}, ("partition",)),
    "kill": _verb(
        "cut the power",
        {"kill": _text("a service or instance"), "zone": _text("a zone"), "restart_after": _ref("span")},
        ("kill",),
        lasts=False,
    ),
    "slow": _verb(
        "multiply the work",
        {
            "slow": _text("a service or instance"),
            "zone": _text("a zone"),
            "factor": {"type": "number", "exclusiveMinimum": 0},
        },
        ("slow", "factor"),
    ),
    "fail": _verb(
        "answer with errors instead of working",
        {"fail": _text("a service or instance"), "zone": _text("a zone"), "errors": _ref("errors")},
        ("fail", "errors"),
    ),
    "latency": _verb(
        "change the latency between two sides",
        {"latency": _SIDES, "add": _ref("distribution"), "set": _ref("distribution")},
        ("latency",),
    ),
    "loss": _verb("lose a share of the segments", {"loss": _SIDES, "share": _ref("percent")}, ("loss", "share")),
    "control-plane": _verb("cut the control plane's power", {"control-plane": {"const": "down"}}, ("control-plane",)),
    "expectation": _section(
        "an expression that must hold",
        {
            "name": _text("in reports"),
            "expect": _text("p99(buy) < 900ms"),
            "when": _text("always, outside faults, during NAME, between 10s and 20s, at end"),
            "window": _ref("span"),
            "grace": _ref("span") | {"description": "prolongs each fault for `outside faults`"},
        },
        ("name", "expect"),
    ),
    "builtin": _section(
        "a built-in promise",
        {
            "builtin": {"enum": list(BUILTINS)},
            "name": _text("in reports"),
            "within": _ref("span"),
            "to": _text("SERVICE METHOD /path"),
        },
        ("builtin",),
    ),
    "fuzz": _section(
        "ranges for `mesh fuzz`",
        {"faults": _ref("fuzz_faults"), "vary": _map({"type": "array", "minItems": 2, "maxItems": 2})},
    ),
    "fuzz_faults": _section("which faults to add", {"max": _COUNT, "kinds": _list({"enum": list(FUZZ_KINDS)})}),
    "network": _section("links", {"default": _ref("link_model"), "links": _list(_ref("link"))}),
    "output": _section(
        "what a run leaves behind",
        {"dir": _text("a folder"), "save": _list({"enum": [*OUTPUT_FILES, *LATER_OUTPUT_FILES]})},
    ),
}
_DEFS["link"] = _section(
    "a link between two zones",
    {"between": _list(_text("zone"), least=2), **_DEFS["link_model"]["properties"]},
    ("between",),
)
_DEFS["scenario"] = _section(
    "a system, its load, what happens to it and what is promised about it",
    {
        "type": {"const": "Scenario"},
        "format": {"const": FORMAT},
        "name": _text("a name", r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"),
        "seed": {"type": "integer", "minimum": 0},
        "duration": _ref("span"),
        "warmup": _ref("span"),
        "mesh": _text("the mesh of all resources"),
        "zones": _list(_text("zone"), least=1),
        "tls": {"enum": ["modelled", "real", "none"]},
        "network": _ref("network"),
        "control_plane": _ref("control_plane"),
        "services": _map(_ref("service")),
        "workload": _map({"anyOf": [_ref("open"), _ref("closed")]}),
        "timeline": _list({"anyOf": [_ref(verb) for verb in VERBS]}),
        "checks": _list({"anyOf": [_ref("expectation"), _ref("builtin")]}),
        "policies": _list(_text("a file or glob of resources")),
        "fuzz": _ref("fuzz"),
        "output": _ref("output"),
    },
    ("type", "format", "name", "duration", "zones", "services"),
)


def keys(section: str) -> tuple[str, ...]:
    """Return the keys that a section allows."""
    return tuple(_DEFS[section]["properties"])


def required_keys(section: str) -> tuple[str, ...]:
    """Return the keys that a section must have."""
    return tuple(_DEFS[section]["required"])


def json_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of one `type: Scenario` document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Scenario of trio-mesh",
        **_ref("scenario"),
        "$defs": _DEFS,
    }
