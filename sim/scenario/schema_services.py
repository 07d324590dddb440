"""The sections of scenario files that describe services: what they hold, what they do, what they call."""

from sim.scenario.schema_parts import COUNT, FLAG, Schema, list_of, map_of, ref, section, text

_MANY: Schema = {"type": "integer", "minimum": 1}
_BODY = text("the body of the request, as it is")
_CODE = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$"

SERVICE_SECTIONS: dict[str, Schema] = {
    "service": section(
        "a service: its instances by zone, what one instance can hold, what its endpoints do",
        {
            "kind": {"enum": ["http", "postgresql", "redis", "tcp"]},
            "instances": map_of(COUNT),
            "concurrency": _MANY | {"description": "served at once per instance"},
            "queue": COUNT | {"description": "waiting per instance; more are refused with 503"},
            "work": ref("distribution") | {"description": "time of one statement (databases)"},
            "endpoints": map_of(ref("endpoint")),
            "autoscale": ref("autoscale"),
            "labels": ref("labels"),
            "external": {"anyOf": [text("outside the mesh: the host name that callers resolve"), ref("external")]},
            "pools": map_of(_MANY) | {"description": "connections that an instance keeps at most, by database"},
            "connections": _MANY | {"description": "that an instance accepts at most (databases)"},
            "locks": FLAG | {"description": "writers of a table wait for one another and for its readers (postgresql)"},
            "contention": ref("percent") | {"description": "how much each statement slows each other (databases)"},
            "actor": text("your own code: module:Class, beside the scenario or installed", _CODE),
            "asgi": text("your own application: module:app, beside the scenario or installed", _CODE),
            "calls": list_of(text("a service that your own code calls")),
            "counts": list_of(text("an event that your own actor counts: count(service.event)")),
            "settings": {"type": "object", "description": "handed to your own code as it is"},
        },
        ("instances",),
    ),
    "external": section(
        "a service outside the mesh",
        {
            "name": text("the host name that callers resolve"),
            "ttl": ref("span") | {"description": "of its records; 30s"},
        },
        ("name",),
    ),
    "autoscale": section(
        "instances follow a share of their places: those that are busy, or (cpu) those at work",
        {
            "metric": {"enum": ["busy", "cpu"]},
            "target": ref("percent"),
            "min": COUNT,
            "max": COUNT,
            "delay": ref("span"),
            "calm": ref("span") | {"description": "before one instance less; 1m"},
            "quota": ref("quota"),
        },
        ("target", "max"),
    ),
    "quota": section(
        "how many instances can be started within any span",
        {"count": COUNT, "per": ref("span")},
        ("count", "per"),
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
    "work": section(
        "computing time",
        {
            "work": ref("distribution"),
            "lock": text("done alone: whatever has this lock in the instance waits"),
            "shared": FLAG | {"description": "done together with others that share the lock"},
        },
        ("work",),
    ),
    "call": section(
        "a request to another service",
        {
            "call": text("SERVICE METHOD /path, DATABASE SELECT table or CACHE GET"),
            "timeout": ref("span") | {"description": "of one try"},
            "headers": map_of(ref("header")),
            "body": _BODY,
            "optional": FLAG | {"description": "its failure does not fail the caller"},
            "retries": {"anyOf": [_MANY, ref("retries")]},
            "cached": ref("cached"),
        },
        ("call",),
    ),
    "cached": section(
        "its answer may be in a cache, full at the beginning and empty after a restart",
        {
            "keys": _MANY | {"description": "different things asked for, equally often"},
            "hit": ref("percent") | {"description": "requests that a full cache answers; 100%"},
            "in": text("a redis service; without it each instance has its own cache"),
        },
        ("keys",),
    ),
    "retries": section(
        "what the client tries again by itself, besides the mesh",
        {
            "count": _MANY | {"description": "tries after the first"},
            "when": list_of({"anyOf": [{"enum": ["5xx", "reset", "timeout"]}, COUNT, text("a status")]}, least=1),
            "backoff": {"anyOf": [ref("span"), ref("backoff")]},
        },
        ("count",),
    ),
    "backoff": section(
        "pauses that double from base to max (10 times base), drawn between 0 and that unless jitter is false",
        {"base": ref("span"), "max": ref("span"), "jitter": FLAG},
        ("base",),
    ),
    "errors": map_of(ref("percent")) | {"description": "shares that fail: a status from 400 to 599, or reset"},
}
