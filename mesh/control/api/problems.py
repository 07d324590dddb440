"""Problems: what the API answers when it cannot do what was asked, in the shape of Kuma's errors.

Source: Kuma's error schema; `details` and `causes` repeat the rest under the names that older clients read.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mesh.model.errors import MeshError, Violation

TYPE = "/std-errors"
INVALID_MAX = 100  # parameters in one answer
REASON_CHARACTERS_MAX = 1000
FIELD_CHARACTERS_MAX = 500


@attrs.frozen(kw_only=True)
class InvalidParameter:
    """One thing wrong with a request: `source` is body, query, header or path; `resource` names one of several."""

    field: str
    reason: str
    source: str = "body"
    resource: Mapping[str, Any] | None = None

    def shortened(self) -> "InvalidParameter":
        """Return it without what is too long to be read."""
        field, reason = _cut(self.field, FIELD_CHARACTERS_MAX), _cut(self.reason, REASON_CHARACTERS_MAX)
        named = self.resource
        if named is not None:
            named = {key: _cut(str(value), FIELD_CHARACTERS_MAX) for key, value in named.items()}
        return attrs.evolve(self, field=field, reason=reason, resource=named)

    def as_json(self) -> dict[str, Any]:
        named = {"resource": dict(self.resource)} if self.resource is not None else {}
        return {"field": self.field, "reason": self.reason, "source": self.source, **named}


class Problem(MeshError):
    """The client's, or the server's from 500 on: the answer to a request. Nothing was changed, unless `detail` says so."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        invalid: Iterable[InvalidParameter] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.invalid = _first(list(invalid))
        self.headers = dict(headers or {})

    def as_json(self) -> dict[str, Any]:
        """Return the body of the answer."""
        body: dict[str, Any] = {
            "type": TYPE,
            "status": self.status,
            "title": self.title,
            "detail": self.detail,
            "details": self.detail,
        }
        if self.invalid:
            body["invalid_parameters"] = [parameter.as_json() for parameter in self.invalid]
            body["causes"] = [{"field": one.field, "message": one.reason} for one in self.invalid]
        return body


def _first(invalid: list[InvalidParameter]) -> tuple[InvalidParameter, ...]:
    """Return as many as anybody reads: each quotes some of the request, whose size is its sender's choice."""
    shown = [one.shortened() for one in invalid[:INVALID_MAX]]
    if len(invalid) > INVALID_MAX:
        source = invalid[INVALID_MAX].source
        shown.append(InvalidParameter(field="", reason=f"and {len(invalid) - INVALID_MAX} more", source=source))
    return tuple(shown)


def _cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else f"{text[:characters_max]}..."


def not_found(title: str, detail: str = "Not found") -> Problem:
    """Return the answer where there is nothing. Clients show that something is absent only when there is a title."""
    return Problem(404, title, detail)


def bad_query(name: str, reason: str) -> Problem:
    """Return the answer to a query parameter that cannot be used."""
    return Problem(400, "Bad request", reason, invalid=[InvalidParameter(field=name, reason=reason, source="query")])


def bad_body(reason: str, *, field: str = "") -> Problem:
    """Return the answer to a body that cannot be read."""
    invalid = [InvalidParameter(field=field, reason=reason)] if field else []
    return Problem(400, "Bad request", reason, invalid=invalid)


def invalid_resource(parameters: Iterable[InvalidParameter]) -> Problem:
    """Return the answer to a resource with something wrong in it."""
    return Problem(400, "Could not process a resource", "Resource is not valid", invalid=parameters)


def parameter_of(
    violation: Violation, *, prefix: str = "", resource: Mapping[str, Any] | None = None
) -> InvalidParameter:
    """Turn what a schema found into a parameter; `prefix` is where the resource stands in the body."""
    reason = f"{violation.message} ({violation.hint})" if violation.hint else violation.message
    field = ".".join(part for part in (prefix, violation.path) if part)
    return InvalidParameter(field=field, reason=reason, resource=resource)
