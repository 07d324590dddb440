"""The resources of an operator's files, with their places: so that what a control plane refuses is found again.

Variables are kumactl's Mustache: `{{ name }}`, filled in where `-v name=value` was given. Kuma's own templates
(`{{ .Mesh }}`) begin with a dot or are calls, and stay.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mesh.cli.api_client import InvalidParameter, RequestRefused
from mesh.cli.files import gather_texts
from mesh.cli.inputs import Inputs
from mesh.cli.output import warn
from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import Document, parse_documents, suggest
from mesh.resources.documents import Path as FieldPath
from mesh.resources.loading import load_resources
from mesh.resources.resource import Resource

_NAME = r"\s*([A-Za-z0-9_][A-Za-z0-9_.-]*)\s*"
# Three braces only as a pair of threes: in `{port: {{ port }}}` the last one ends the mapping.
_VARIABLE = re.compile(rf"\{{\{{\{{{_NAME}\}}\}}\}}|\{{\{{{_NAME}\}}\}}")
_INDEX = re.compile(r"resources(?:\[(\d+)\]|\.(\d+))\.?")
_STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")


@attrs.frozen(kw_only=True)
class ResourceFiles:
    """What files hold, checked as far as that is possible without the control plane."""

    text_by_file: Mapping[str, str]
    resources: tuple[Resource, ...]

    def documents(self) -> list[dict[str, Any]]:
        """Return the resources as JSON, in their order, each with its mesh."""
        return [_document(resource) for resource in self.resources]

    def warn(self) -> None:
        """Tell what was rewritten, or is not acted on."""
        for resource in self.resources:
            for violation in resource.warnings:
                warn(str(violation))

    def locate(self, refused: RequestRefused) -> ConfigError | None:
        """Turn what a control plane found wrong in `documents()` into places in the files; nothing if it found nothing."""
        if not refused.invalid:
            return None
        sources: dict[str, list[Document]] = {}
        return ConfigError([self._violation(parameter, sources) for parameter in refused.invalid])

    def _violation(self, parameter: InvalidParameter, sources: dict[str, list[Document]]) -> Violation:
        resource, field = self._find(parameter)
        if resource is None:
            return Violation(path=field, message=parameter.reason)
        source = resource.source
        line, column = source.line, source.column
        if source.file not in sources:
            sources[source.file] = parse_documents(self.text_by_file.get(source.file, ""), file=source.file)[0]
        for document in sources[source.file]:
            if document.position(()) == (source.line, source.column):
                line, column = document.position(_steps(field, document.data))
        return Violation(file=source.file, line=line, column=column, path=field, message=parameter.reason)

    def _find(self, parameter: InvalidParameter) -> tuple[Resource | None, str]:
        """Return the resource that is meant, and the field within it: named by its place in the request, or by its key."""
        match = _INDEX.match(parameter.field)
        field = parameter.field[match.end() :] if match else parameter.field
        if match and int(match[1] or match[2]) < len(self.resources):
            return self.resources[int(match[1] or match[2])], field
        named = parameter.resource
        key = (named.get("type", ""), named.get("mesh") or "", named.get("name", ""))
        return next((resource for resource in self.resources if resource.key == key), None), field


def read_resource_files(paths: Sequence[Path], variables: Sequence[str] = ()) -> ResourceFiles:
    """Read files, folders and standard input. Raises: ConfigError with everything that is wrong."""
    inputs = Inputs()
    values = inputs.read(_read_variables, variables)
    texts = gather_texts(inputs, paths)
    unfilled: dict[str, list[Violation]] = {}
    if values.is_right:
        unfilled = {file: found for file, text in texts.items() if (found := _without_value(text, file, values.value))}
    if variables and values.is_right:
        # What is wrong in a file with holes is not worth telling: most of it is wrong because of the holes.
        inputs.refuse(violation for found in unfilled.values() for violation in found)
        texts = {file: _fill_in(text, values.value) for file, text in texts.items() if file not in unfilled}
    resources = inputs.read(load_resources, texts)
    if not variables:
        # Nobody asked for variables, so braces may be text; where the file cannot be read, they are why.
        wrong = {violation.file for violation in inputs.violations}
        inputs.refuse(violation for file, found in unfilled.items() if file in wrong for violation in found)
    inputs.check()
    return ResourceFiles(text_by_file=texts, resources=tuple(resources.value))


def _document(resource: Resource) -> dict[str, Any]:
    own = {"mesh": resource.mesh} if resource.mesh else {}
    return {"type": resource.kind, **own, "name": resource.name, **resource.written}


def _read_variables(variables: Iterable[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    violations = []
    for variable in variables:
        name, equals, value = variable.partition("=")
        if not equals or not name:
            violations.append(Violation(path="--var", message=f"{variable!r} has no name", hint="write NAME=VALUE"))
        values[name.strip()] = value
    if violations:
        raise ConfigError(violations)
    return values


def _without_value(text: str, file: str, values: Mapping[str, str]) -> list[Violation]:
    """Return the variables of a file that nobody gave."""
    violations = []
    for match in _VARIABLE.finditer(text):
        if (name := match[1] or match[2]) in values:
            continue
        line = text.count("\n", 0, match.start()) + 1
        column = match.start() - text.rfind("\n", 0, match.start())
        hint = f"{suggest(name, values)} give it with -v {name}=VALUE".strip()
        violations.append(Violation(file=file, line=line, column=column, message=f"no value for {match[0]}", hint=hint))
    return violations


def _fill_in(text: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: values[match[1] or match[2]], text)


def _steps(field: str, data: Any) -> FieldPath:
    """Read `spec.to[0].default` as a path into `data`; numbers are places in lists, text in mappings."""
    steps: list[str | int] = []
    for bracketed, plain in _STEP.findall(field):
        word = bracketed or plain
        step = int(word) if isinstance(data, list) and word.isdecimal() else word
        steps.append(step)
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            data = None
    return tuple(steps)
