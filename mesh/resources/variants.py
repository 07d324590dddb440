"""Records of one of several types: `type` names it, and a key of its own holds what that type needs.

Kuma writes so wherever there is a choice: `{type: File, file: {path: /x}}`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from mesh.resources.scalars import OneOf
from mesh.resources.schema import Check, Field, Problem, Record, Schema


@attrs.frozen
class Variant:
    """What one type has in its own key. `optional`: the key may be left out."""

    key: str
    schema: Schema | Field
    optional: bool = attrs.field(default=False, kw_only=True)


def by_type(
    variants: Mapping[str, Variant],
    *,
    also: Mapping[str, Schema | Field] | None = None,
    unsupported: Mapping[str, str] | None = None,
    dormant: Mapping[str, str] | None = None,
    check: Check | None = None,
    build: Callable[[dict[str, Any]], Any] | None = None,
    confidential: bool = False,
    what: str = "a mapping with 'type'",
) -> Record:
    """Return the schema of `{type: T, KEY OF T: ...}`; `also` are keys that every type may have."""

    def fits(record: dict[str, Any]) -> Iterable[Problem]:
        chosen = variants[record["type"]]
        for variant in variants.values():
            if variant.key in record and variant.key != chosen.key:
                yield Problem((variant.key,), f"'{variant.key}' cannot stand with type: {record['type']}")
        if chosen.key not in record and not chosen.optional:
            yield Problem((), f"'{chosen.key}' is missing", f"type: {record['type']} needs it")
        yield from check(record) if check else ()

    fields: dict[str, Schema | Field] = {
        "type": Field(OneOf(tuple(variants), unsupported=unsupported or {}, dormant=dormant or {}), required=True),
        **{variant.key: variant.schema for variant in variants.values()},
        **(also or {}),
    }
    return Record(fields, check=fits, build=build, confidential=confidential, what=what)
