"""Fields of a request's body that are no resource: read one by one, everything wrong said at once."""

from typing import Any

import attrs

from mesh.control.api.problems import InvalidParameter, Problem
from mesh.model.durations import parse_duration
from mesh.resources.documents import wrap
from mesh.resources.scalars import Text
from mesh.resources.schema import check

TEXT_MAX = 253
ITEMS_MAX = 100


@attrs.define(eq=False)
class Body:
    """A body being read. Unknown fields are passed over, as by Kuma."""

    values: dict[str, Any]
    title: str
    invalid: list[InvalidParameter] = attrs.Factory(list)

    def refuse(self, field: str, reason: str) -> None:
        """Note that a field is wrong."""
        self.invalid.append(InvalidParameter(field=field, reason=reason))

    def check(self) -> None:
        """Go on only if nothing was wrong. Raises: Problem 400."""
        if self.invalid:
            raise Problem(400, self.title, "The request is not valid", invalid=self.invalid)

    def text(self, field: str, *, default: str = "", required: bool = False, schema: Text | None = None) -> str:
        """Read text; empty counts as absent."""
        value = self.values.get(field)
        if value is None or value == "":
            if required:
                self.refuse(field, "cannot be empty")
            return default
        if not isinstance(value, str) or len(value) > TEXT_MAX or not value.isprintable():
            self.refuse(field, f"expects printable text of at most {TEXT_MAX} characters")
            return default
        if schema is not None:
            found = check(wrap(value, file=""), (), schema)[1]
            for violation in found:
                self.refuse(field, violation.message)
        return value

    def texts(self, field: str) -> tuple[str, ...]:
        """Read a list of texts."""
        value = self.values.get(field) or []
        if not _is_texts(value):
            self.refuse(field, f"expects a list of at most {ITEMS_MAX} texts")
            return ()
        return tuple(value)

    def text_lists(self, field: str) -> dict[str, tuple[str, ...]]:
        """Read a mapping from text to lists of texts."""
        value = self.values.get(field) or {}
        if not isinstance(value, dict) or len(value) > ITEMS_MAX or not all(map(_is_texts, value.values())):
            self.refuse(field, "expects a mapping whose values are lists of texts")
            return {}
        return {key: tuple(items) for key, items in value.items()}

    def span(self, field: str, *, least_s: float, most_s: float) -> float:
        """Read a duration, in seconds."""
        value = self.values.get(field)
        if not isinstance(value, str) or not value:
            self.refuse(field, "cannot be empty; write a duration such as 24h")
            return least_s
        try:
            span_s = parse_duration(value)
        except ValueError as error:
            self.refuse(field, str(error))
            return least_s
        if not least_s <= span_s <= most_s:
            self.refuse(field, f"must be from {least_s:.0f} s to {most_s / 3600:.0f} h")
        return span_s

    def flag(self, field: str) -> bool:
        """Read true or false; absent is false."""
        value = self.values.get(field, False)
        if not isinstance(value, bool):
            self.refuse(field, "expects true or false")
        return value is True

    def records(self, field: str, *, most: int) -> list[dict[str, Any]]:
        """Read a list of mappings."""
        value = self.values.get(field)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > most:
            self.refuse(field, f"expects a list of at most {most} items")
            return []
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                self.refuse(f"{field}[{index}]", "expects a mapping")
        return [item for item in value if isinstance(item, dict)]


def _is_texts(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > ITEMS_MAX:
        return False
    return all(isinstance(item, str) and len(item) <= TEXT_MAX and item.isprintable() for item in value)
