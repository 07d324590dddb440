"""YAML and JSON as operators write them: documents of plain values, each with its place in the file.

libyaml splits the stream into events; values are made here, so that only true, false, null, decimal numbers and text
exist (`mesh.resources.yaml_scalars`). Keys are always text: a number as a key (`503: 0.2%`) becomes its digits.
Tags, merge keys (`<<`) and duplicate keys are refused; nesting and what aliases repeat are bounded.
It does not know what a document means: that is `mesh.resources.schema` and the families of kinds.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from mesh.model.errors import ConfigError, Violation
from mesh.resources.yaml_scalars import ScalarTrap, resolve_plain
from mesh.resources.yaml_stream import Node, NodeKind, StreamError, read_nodes

Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | float | bool | None"
Path: TypeAlias = tuple[str | int, ...]

_DEPTH_MAX = 128  # A document nests at most half as deep as written; aliases may add the rest.
_ALIASED_VALUES_MAX = 10_000  # Values that aliases may repeat in one document: a "billion laughs" ends here.
_WORD = re.compile(r"[\w-]+\Z")


@attrs.frozen(eq=False)
class Document:
    """One document of a stream. `positions` maps paths to (line, column), from 1; of the key for entries of a mapping.

    `origins` maps paths of a document that was rewritten to where the same thing stands in what was written; what is
    not there, and is not below what is there, did not move. `()` stands for all that is nowhere else in it.
    """

    file: str
    data: Value
    positions: Mapping[Path, tuple[int, int]]
    origins: Mapping[Path, Path] = attrs.field(factory=dict)

    def at(self, path: Path) -> Value:
        """Return the value at `path`, which must exist."""
        value: Any = self.data
        for part in path:
            value = value[part]
        return value  # type: ignore[no-any-return]  # What stands below plain values are plain values.

    def original(self, path: Path) -> Path:
        """Return where in what was written the thing at `path` stands."""
        if self.origins:
            for size in range(len(path), -1, -1):
                origin = self.origins.get(path[:size])
                if origin is not None:
                    return (*origin, *path[size:]) if size else origin
        return path

    def position(self, path: Path) -> tuple[int, int]:
        """Return where `path` stands, or the nearest thing around it that was written."""
        path = self.original(path)
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, (0, 0))

    def violation(self, path: Path, message: str, hint: str = "") -> Violation:
        """Say what is wrong at `path`, with its place in the file."""
        line, column = self.position(path)
        shown = format_path(self.original(path))
        return Violation(message=message, path=shown, file=self.file, line=line, column=column, hint=hint)


def load_documents(text: str, *, file: str) -> list[Document]:
    """Read a stream of YAML or JSON documents; empty ones are left out.

    Raises: ConfigError with every violation of the stream: a syntax error ends only its own document.
    """
    documents, violations = parse_documents(text, file=file)
    if violations:
        raise ConfigError(violations)
    return documents


def parse_documents(text: str, *, file: str) -> tuple[list[Document], list[Violation]]:
    """Like `load_documents`, but hand back what could be read beside the violations, so that callers can find more."""
    documents: list[Document] = []
    violations: list[Violation] = []
    for item in read_nodes(text):
        if isinstance(item, StreamError):
            violations.append(
                Violation(message=item.message, file=file, line=item.line, column=item.column, hint=item.hint)
            )
            continue
        builder = _Builder(file=file)
        data = builder.build(item, (), 0)
        violations.extend(builder.violations)
        if data is not None:
            documents.append(Document(file, data, builder.positions))
    return documents, violations


def wrap(data: Value, *, file: str) -> Document:
    """Wrap values that were not read from text (a store's, an API's): violations name paths, without lines."""
    return Document(file, data, {})


def format_path(path: Path) -> str:
    """Write a path as operators read it: `spec.to[0].default`, `labels[kuma.io/zone]`."""
    text = ""
    for part in path:
        if isinstance(part, str) and _WORD.match(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part}]"
    return text


def suggest(word: str, allowed: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the nearest allowed word, or nothing."""
    by_folded = {choice.casefold(): choice for choice in allowed}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"did you mean '{by_folded[near[0]]}'?" if near else ""


@attrs.define(eq=False)
class _Builder:
    """Turns the nodes of one document into plain values; collects places and violations on the way."""

    file: str
    positions: dict[Path, tuple[int, int]] = attrs.Factory(dict)
    violations: list[Violation] = attrs.Factory(list)
    _aliased: int = 0  # values built inside aliases so far
    _in_alias: bool = False

    def build(self, node: Node, path: Path, depth: int) -> Value:
        self.positions.setdefault(path, node.position)
        if depth > _DEPTH_MAX:
            self._refuse(node, path, f"nested more than {_DEPTH_MAX} deep")
            return None
        if node.tag:
            self._refuse(node, path, f"the tag {node.tag} is not supported", 'leave it out; quote what is text: "1"')
        if self._in_alias:
            self._aliased += 1
        match node.kind:
            case NodeKind.SCALAR:
                return self._scalar(node, path)
            case NodeKind.SEQUENCE:
                return [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.items)]
            case NodeKind.MAPPING:
                return self._mapping(node, path, depth)
            case NodeKind.ALIAS:
                return self._alias(node, path, depth)

    def _scalar(self, node: Node, path: Path) -> Value:
        if node.quoted:
            return node.text
        try:
            return resolve_plain(node.text)
        except ScalarTrap as trap:
            self._refuse(node, path, str(trap), trap.hint)
            return node.text

    def _mapping(self, node: Node, path: Path, depth: int) -> Value:
        entries: dict[str, Value] = {}
        for key_node, value_node in zip(node.items[::2], node.items[1::2], strict=True):
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in entries:
                line, _ = self.positions[(*path, key)]
                self._refuse(key_node, (*path, key), f"duplicate key '{key}'", f"first written in line {line}")
                continue
            self.positions[(*path, key)] = key_node.position
            entries[key] = self.build(value_node, (*path, key), depth + 1)
        return entries

    def _key(self, node: Node, path: Path) -> str | None:
        if node.kind is not NodeKind.SCALAR or node.tag:
            self._refuse(node, path, "a key must be plain text")
            return None
        if node.quoted:
            return node.text
        if node.text == "<<":
            self._refuse(node, path, "merge keys (<<) are not supported", "write the keys out")
            return None
        try:
            value = resolve_plain(node.text)
        except ScalarTrap as trap:
            self._refuse(node, (*path, node.text), f"key {trap}", f'quote it: "{node.text}"')
            return node.text
        if isinstance(value, bool | float | None):
            self._refuse(node, (*path, node.text), f"key '{node.text}' is not text", f'quote it: "{node.text}"')
            return node.text
        return str(value)

    def _alias(self, node: Node, path: Path, depth: int) -> Value:
        if not node.items:
            self._refuse(node, path, f"alias *{node.text} names no anchor before it")
            return None
        if self._aliased > _ALIASED_VALUES_MAX:
            return None  # Said once already, where the limit was passed.
        outer, self._in_alias = self._in_alias, True
        value = self.build(node.items[0], path, depth + 1)
        self._in_alias = outer
        if self._aliased > _ALIASED_VALUES_MAX and not outer:
            self._refuse(node, path, f"aliases repeat more than {_ALIASED_VALUES_MAX:,} values", "write the values out")
        return value

    def _refuse(self, node: Node, path: Path, message: str, hint: str = "") -> None:
        line, column = node.position
        self.violations.append(
            Violation(message=message, path=format_path(path), file=self.file, line=line, column=column, hint=hint)
        )
