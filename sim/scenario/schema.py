"""The JSON Schema of scenario files, for editors, and the one list of the keys that each section allows.

`sim.scenario.*_reader` take their allowed keys from here, so that an editor and the loader cannot disagree about them.
What a schema cannot say (references, units in context) only the loader checks.
"""

from sim.scenario.promises import BUILTINS
from sim.scenario.schema_parts import COUNT, FLAG, Schema, list_of, map_of, ref, section, text

FORMAT = 1
OUTPUT_FILES = ("result.json", "events.jsonl", "junit.xml")
LATER_OUTPUT_FILES = ("report.html", "traces.otlp.jsonl")
POSTGRESQL_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
REDIS_VERBS = ("GET", "SET", "DEL", "INCR")

_DEFS: dict[str, Schema] = {
    "span": text("a span with a unit: 250us, 15ms, 2s, 1m30s", r"^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$|^0$"),
    "rate": text("a rate: 60/s", r"^\d+(\.\d+)?/(ms|s|m|h)$"),
    "percent": text("a share: 0.2%", r"^\d+(\.\d+)?%$"),
    "size": text("bytes: 512B, 4KiB", r"^\d+(B|KiB|MiB|kB|MB)$"),
    "distribution": {"anyOf": [ref("span"), ref("drawn")]},
    "drawn": section(
        "spans drawn by chance: {mean} exponential, {p50, p99} log-normal, {histogram} by the weights of a file",
        {"mean": ref("span"), "p50": ref("span"), "p99": ref("span"), "histogram": text("a CSV file: span,weight")},
    ),
    "link_model": section(
        "how bytes travel",
        {
            "latency": ref("distribution"),
            "bandwidth": text("bits per second: 1Gbit", r"^\d+(\.\d+)?(bit|kbit|Mbit|Gbit)(/s)?$"),
            "loss": ref("percent"),
        },
    ),
    "control_plane": section(
        "where the control plane runs and how long its messages take besides the network",
        {"zone": text("a zone"), "push_delay": ref("distribution")},
        ("zone",),
    ),
    "service": section(
        "a service: its instances by zone, what one instance can hold, what its endpoints do",
        {
            "kind": {"enum": ["http", "postgresql", "redis"]},
            "instances": map_of(COUNT),
            "concurrency": {"type": "integer", "minimum": 1, "description": "served at once per instance"},
            "queue": COUNT | {"description": "waiting per instance; more are refused with 503"},
            "work": ref("distribution") | {"description": "time of one statement (databases)"},
            "endpoints": map_of(ref("endpoint")),
            "autoscale": ref("autoscale"),
            "labels": ref("labels"),
        },
        ("instances",),
    ),
    "autoscale": section(
        "instances follow the share of busy places",
        {
            "metric": {"enum": ["busy"]},
            "target": ref("percent"),
            "min": COUNT,
            "max": COUNT,
            "delay": ref("span"),
        },
        ("target", "max"),
    ),
    "endpoint": section(
        "one operation of an HTTP service",
        {
            "steps": list_of(ref("step")),
            "idempotent": FLAG | {"description": "may be repeated; by default what the method promises"},
            "errors": ref("errors"),
            "headers": map_of(text("value")) | {"description": "go with each answer, also with failures"},
            "requires": map_of(text("value")) | {"description": "headers without which a request is answered 400"},
            "counts": text("the event one successful execution adds to: count(service.event)"),
            "request": ref("size"),
            "response": ref("size"),
        },
    ),
    "step": {"anyOf": [ref("work"), ref("call"), list_of(ref("step"))]},
    "work": section("computing time", {"work": ref("distribution")}, ("work",)),
    "call": section(
        "a request to another service",
        {
            "call": text("SERVICE METHOD /path, DATABASE SELECT table or CACHE GET"),
            "timeout": ref("span"),
            "headers": map_of(ref("header")),
            "optional": FLAG | {"description": "its failure does not fail the caller"},
        },
        ("call",),
    ),
    "open": section(
        "users who arrive at a rate",
        {
            "model": {"const": "open"},
            "arrivals": {"anyOf": [{"enum": ["poisson", "constant"]}, ref("arrivals_trace")]},
            "rate": {"anyOf": [ref("rate"), list_of(ref("rate_stage"), least=1)]},
            "mix": map_of({"type": "number", "minimum": 0}),
            "journeys": map_of(
                list_of({"anyOf": [text("METHOD service/path"), ref("request"), ref("think")]}, least=1)
            ),
            "headers": map_of(ref("header")) | {"description": "of a user, on all requests of a journey"},
            "labels": ref("labels"),
            "timeout": ref("span"),
            "zones": map_of({"type": "number", "minimum": 0}),
        },
        ("journeys",),
    ),
    "closed": section(
        "a fixed number of users",
        {
            "model": {"const": "closed"},
            "users": {"type": "integer", "minimum": 1},
            "think": ref("distribution"),
            "mix": map_of({"type": "number", "minimum": 0}),
            "journeys": map_of(
                list_of({"anyOf": [text("METHOD service/path"), ref("request"), ref("think")]}, least=1)
            ),
            "headers": map_of(ref("header")) | {"description": "of a user, on all requests of a journey"},
            "labels": ref("labels"),
            "timeout": ref("span"),
            "zones": map_of({"type": "number", "minimum": 0}),
        },
        ("model", "users", "journeys"),
    ),
    "arrivals_trace": section("starts from a file", {"trace": text("a file: one span per line")}, ("trace",)),
    "rate_stage": section(
        "a part of the curve: go linearly to a rate, or hold the one before",
        {"to": ref("rate"), "over": ref("span"), "hold": ref("span"), "as": text("a name for --set and fuzz")},
    ),
    "request": section(
        "a request of a user",
        {
            "request": text("METHOD service/path?query"),
            "headers": map_of(ref("header")) | {"description": "drawn for each request"},
            "expects": map_of(text("value")) | {"description": "headers without which an answer is no good"},
        },
        ("request",),
    ),
    "header": {"anyOf": [text("the value"), list_of(text("one of the values"), least=1), ref("numbered")]},
    "numbered": section(
        "values user-1, user-2, ...",
        {"prefix": text("what comes before the number"), "count": {"type": "integer", "minimum": 1}},
        ("prefix", "count"),
    ),
    "labels": map_of({"anyOf": [text("value"), list_of(text("value of one instance"), least=1)]})
    | {"description": "of the Dataplanes; a list has one value for each instance"},
    "errors": map_of(ref("percent")) | {"description": "shares that fail: a status from 400 to 599, or reset"},
    "think": section("a pause of the user", {"think": ref("distribution")}, ("think",)),
    "expectation": section(
        "an expression that must hold",
        {
            "name": text("in reports"),
            "expect": text("p99(buy) < 900ms"),
            "when": text("always, outside faults, during NAME, between 10s and 20s, at end"),
            "window": ref("span"),
            "grace": ref("span") | {"description": "prolongs each fault for `outside faults`"},
        },
        ("name", "expect"),
    ),
    "builtin": section(
        "a built-in promise",
        {
            "builtin": {"enum": list(BUILTINS)},
            "name": text("in reports"),
            "within": ref("span"),
            "to": text("SERVICE METHOD /path"),
        },
        ("builtin",),
    ),
    "fuzz": section(
        "ranges for `mesh fuzz`",
        {"faults": ref("fuzz_faults"), "vary": map_of({"type": "array", "minItems": 2, "maxItems": 2})},
    ),
    "fuzz_faults": section("which faults to add", {"max": COUNT, "kinds": list_of(text("a verb of the timeline"))}),
    "network": section("links", {"default": ref("link_model"), "links": list_of(ref("link"))}),
    "output": section(
        "what a run leaves behind",
        {"dir": text("a folder"), "save": list_of({"enum": [*OUTPUT_FILES, *LATER_OUTPUT_FILES]})},
    ),
}
_DEFS["link"] = section(
    "a link between two zones",
    {"between": list_of(text("zone"), least=2), **_DEFS["link_model"]["properties"]},
    ("between",),
)
_DEFS["scenario"] = section(
    "a system, its load, what happens to it and what is promised about it",
    {
        "type": {"const": "Scenario"},
        "format": {"const": FORMAT},
        "name": text("a name", r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"),
        "seed": {"type": "integer", "minimum": 0},
        "duration": ref("span"),
        "warmup": ref("span"),
        "mesh": text("the mesh of all resources"),
        "zones": list_of(text("zone"), least=1),
        "tls": {"enum": ["modelled", "real", "none"]},
        "network": ref("network"),
        "control_plane": ref("control_plane"),
        "services": map_of(ref("service")),
        "workload": map_of({"anyOf": [ref("open"), ref("closed")]}),
        "timeline": list_of({"type": "object"}),
        "checks": list_of({"anyOf": [ref("expectation"), ref("builtin")]}),
        "policies": list_of(text("a file or glob of resources")),
        "fuzz": ref("fuzz"),
        "output": ref("output"),
    },
    ("type", "format", "name", "duration", "zones", "services"),
)


def keys(section: str) -> tuple[str, ...]:
    """Return the keys that a section allows."""
    return tuple(_DEFS[section]["properties"])


def required_keys(section: str) -> tuple[str, ...]:
    """Return the keys that a section must have."""
    return tuple(_DEFS[section]["required"])


def definitions() -> dict[str, Schema]:
    """Return the schema of every section but those of the timeline's verbs."""
    return _DEFS
