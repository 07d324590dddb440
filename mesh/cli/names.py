"""Names as options: they follow the same rules as in resources."""

import re

from mesh.model.errors import ConfigError, Violation
from mesh.resources.scalars import Text


def read_name(text: str, schema: Text, *, option: str) -> str:
    """Return a name that `schema` allows. Raises: ConfigError naming the option."""
    if not text:
        raise ConfigError([Violation(path=option, message="is empty", hint=f"write {schema.what}")])
    if len(text) > schema.size_max:
        message = f"takes at most {schema.size_max} characters, got {len(text)}"
        raise ConfigError([Violation(path=option, message=message)])
    if not re.fullmatch(schema.pattern, text):
        raise ConfigError([Violation(path=option, message=f"{text!r} is not {schema.what}")])
    return text
