"""The sections of scenario files that describe load: who sends which requests, and how often."""

from sim.scenario.schema_parts import Schema, list_of, map_of, ref, section, text

_SHARED = {
    "mix": map_of({"type": "number", "minimum": 0}),
    "journeys": map_of(list_of({"anyOf": [text("METHOD service/path"), ref("request"), ref("think")]}, least=1)),
    "headers": map_of(ref("header")) | {"description": "of a user, on all requests of a journey"},
    "labels": ref("labels"),
    "timeout": ref("span") | {"description": "the user's patience with one try of a request"},
    "retries": {"anyOf": [{"type": "integer", "minimum": 1}, ref("retries")]},
    "zones": map_of({"type": "number", "minimum": 0}),
}

LOAD_SECTIONS: dict[str, Schema] = {
    "open": section(
        "users who arrive at a rate",
        {
            "model": {"const": "open"},
            "arrivals": {"anyOf": [{"enum": ["poisson", "constant"]}, ref("arrivals_trace")]},
            "rate": {"anyOf": [ref("rate"), list_of(ref("rate_stage"), least=1)]},
            **_SHARED,
        },
        ("journeys",),
    ),
    "closed": section(
        "a fixed number of users",
        {
            "model": {"const": "closed"},
            "users": {"type": "integer", "minimum": 1},
            "think": ref("distribution"),
            **_SHARED,
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
            "body": text("the body of the request, as it is"),
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
    "think": section("a pause of the user", {"think": ref("distribution")}, ("think",)),
}
