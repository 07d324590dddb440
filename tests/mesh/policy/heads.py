"""Heads of messages for tests of policies: a status and fields, without a protocol."""

import attrs


@attrs.frozen
class Head:
    """A request's head, or with a status a response's. Names in lower case."""

    status: int = 0
    fields: dict[bytes, bytes] = attrs.field(factory=dict)

    def header(self, name_lower: bytes) -> bytes | None:
        return self.fields.get(name_lower)


def request(**fields: str) -> Head:
    """Make a request's head: `request(x_retry="1")`."""
    return Head(fields=_encoded(fields))


def response(status: int, **fields: str) -> Head:
    """Make a response's head: `response(503, retry_after="2")`."""
    return Head(status, _encoded(fields))


def _encoded(fields: dict[str, str]) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in fields.items()}
