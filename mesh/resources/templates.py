"""Templates such as `/workload/{{ .Workload }}`: variables and `label "KEY"`, which is what Kuma uses of Go's templates."""

import re
from collections.abc import Mapping

from mesh.resources.scalars import Scalar

_EXPRESSION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_LABEL = re.compile(r'label "([^"]+)"\Z')


def template(variables: tuple[str, ...], *, example: str) -> Scalar:
    """Return the schema of a template that may name `variables` (`.Mesh`), and labels."""

    def parse(text: str | int | float) -> str:
        if not isinstance(text, str) or not text:
            raise ValueError
        for expression in _EXPRESSION.findall(text):
            if expression not in variables and not _LABEL.match(expression):
                allowed = ", ".join([*variables, 'label "KEY"'])
                raise ValueError(f"unknown {{{{ {expression} }}}} in a template; allowed: {allowed}")
        rest = _EXPRESSION.sub("", text)
        if "{{" in rest or "}}" in rest:
            raise ValueError(f"a template's {{{{ is not closed in {text!r}")
        return text

    return Scalar(f"text, possibly with templates such as {example}", parse, json={"type": "string", "minLength": 1})


def fill(text: str, values: Mapping[str, str], labels: Mapping[str, str], *, label_of: Mapping[str, str]) -> str:
    """Fill a template with `values` by variable. Raises: ValueError naming what is missing or empty.

    `label_of` names the label behind a variable, for the message.
    """

    def value(match: re.Match[str]) -> str:
        label = _LABEL.match(match[1])
        found = labels.get(label[1], "") if label else values[match[1]]
        if not found:
            missing = label[1] if label else label_of.get(match[1], match[1])
            raise ValueError(f"it has no label {missing}, which {text!r} needs")
        return found

    return _EXPRESSION.sub(value, text)
