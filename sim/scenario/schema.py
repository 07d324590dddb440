"""The JSON Schema of scenario files, for editors, and the one list of the keys that each section allows.

`sim.scenario.*_reader` take their allowed keys from here, so that an editor and the loader cannot disagree about them.
What a schema cannot say (references, units in context) only the loader checks.
"""

from sim.scenario.promises import BUILTINS
from sim.scenario.schema_load import LOAD_SECTIONS
from sim.scenario.schema_parts import COUNT, FLAG, Schema, list_of, map_of, ref, section, text
from sim.scenario.schema_services import SERVICE_SECTIONS

FORMAT = 1
OUTPUT_FILES = ("result.json", "events.jsonl", "edges.json", "junit.xml", "traces.otlp.jsonl", "report.html")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Source: RFC 9110, 9.2.2.
IDEMPOTENT_METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")
POSTGRESQL_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
REDIS_VERBS = ("GET", "SET", "DEL", "INCR")

_DEFS: dict[str, Schema] = {
    "span": text("a span with a unit: 250us, 15ms, 2s, 1m30s", r"^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$|^0$"),
    "rate": text("a rate: 60/s", r"^\d+(\.\d+)?/(ms|s|m|h)$"),
    "percent": text("a share: 0.2%", r"^\d+(\.\d+)?%$"),
    "signedSpan": text("a span, with a sign where it is behind: 90s, -2h", r"^-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$"),
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
        {
            "zone": {"anyOf": [text("a zone"), list_of(text("a zone of some of the replicas"), least=1)]},
            "push_delay": ref("distribution"),
            "replicas": {"type": "integer", "minimum": 1, "description": "control planes, which share one database"},
            "config_limit": ref("size") | {"description": "a proxy's whole configuration; what is larger is not sent"},
        },
        ("zone",),
    ),
    **SERVICE_SECTIONS,
    **LOAD_SECTIONS,
    "expectation": section(
        "an expression that must hold",
        {
            "name": text("in reports"),
            "expect": text("p99(buy) < 900ms"),
            "when": text("always, outside faults, during NAME, after NAME, between 10s and 20s, at end"),
            "window": ref("span"),
            "grace": ref("span") | {"description": "prolongs each fault for `outside faults` and `after NAME`"},
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
    "phases": section(
        "after the faults a core is healed and must recover, before everything is healed",
        {
            "heal": ref("span") | {"description": "when, from the start of the run; no fault begins after it"},
            "core": {"anyOf": [{"enum": ["all", "random"]}, list_of(text("zone, service or instance"), least=1)]},
            "within": ref("span") | {"description": "how long the core may take"},
        },
        ("heal",),
    ),
    "variant": section(
        "what one variant has otherwise",
        {
            "about": text("one line about it"),
            "set": {"type": "object", "description": "{path: value}, as --set; may add what is not there"},
            "without": list_of(text("KIND/NAME of a resource that it does not have")),
            "policies": list_of({"anyOf": [text("a file or glob of resources"), {"type": "object"}]}),
            "timeline": list_of({"type": "object"}) | {"description": "instead of the scenario's"},
            "breaks": list_of(text("a check that must fail")),
        },
    ),
    "network": section("links", {"default": ref("link_model"), "links": list_of(ref("link"))}),
    "replay": section(
        "what this file reproduces, for `mesh replay`; written by those who find failures",
        {
            "of": text("the scenario it was found in"),
            "found_by": text("who found it, and how"),
            "seed": COUNT,
            "violates": text("the check that it breaks"),
            "at": ref("span"),
            "event_hash": text("the hash of its events, or its beginning"),
            "tool": text("the version that found it"),
        },
    ),
    "output": section(
        "what a run leaves behind",
        {"dir": text("a folder"), "save": list_of({"enum": [*OUTPUT_FILES]})},
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
        "buggify": {
            "anyOf": [FLAG, ref("percent")],
            "description": "rare legal behaviour everywhere, all the time: true, or the share (true: 10%)",
        },
        "control_plane": ref("control_plane"),
        "services": map_of(ref("service")),
        "workload": map_of({"anyOf": [ref("open"), ref("closed")]}),
        "timeline": list_of({"type": "object"}),
        "checks": list_of({"anyOf": [ref("expectation"), ref("builtin")]}),
        "policies": list_of(text("a file or glob of resources")),
        "phases": ref("phases"),
        "variants": map_of(ref("variant")) | {"description": "the same told in several ways; the first is the default"},
        "fuzz": ref("fuzz"),
        "output": ref("output"),
        "replay": ref("replay"),
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
