"""A YAML stream as small trees of nodes, one a document, with places; libyaml's events, nothing resolved yet.

Events are read one by one, since PyYAML's composer recurses in C and dies on deep nesting. A syntax error ends only
its own document: reading goes on at the next line that starts with `---`, which ends any document in YAML.
"""

import enum
import re
from collections.abc import Iterator
from typing import Any

import attrs
import yaml

_DEPTH_MAX = 64  # Nesting as written; a scenario needs a dozen.
_DOCUMENT_START = re.compile(r"---(\s|\Z)")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
# What YAML lets stand in a stream. Source: YAML 1.2.2, production [1] c-printable.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class NodeKind(enum.Enum):
    """What a node is."""

    SCALAR = enum.auto()
    SEQUENCE = enum.auto()
    MAPPING = enum.auto()
    ALIAS = enum.auto()


@attrs.define(eq=False)
class Node:
    """One value as written. `items` holds a sequence's items, a mapping's keys and values in turn, an alias's target."""

    kind: NodeKind
    position: tuple[int, int]  # line and column, from 1
    text: str = ""  # of a scalar or the name of an alias
    quoted: bool = False
    tag: str = ""
    anchor: str = ""
    items: list["Node"] = attrs.Factory(list)


@attrs.frozen
class StreamError:
    """A document that could not be read, from `line` on."""

    message: str
    line: int
    column: int
    hint: str = ""


def read_nodes(text: str) -> Iterator[Node | StreamError]:
    """Yield the root node of each document, and an error for each that could not be read."""
    unprintable = _UNPRINTABLE.search(text, 1 if text.startswith("\ufeff") else 0)
    if unprintable:
        line_starts = _line_starts(text[: unprintable.start()])
        message = f"character U+{ord(unprintable[0]):04X} cannot stand in YAML"
        yield StreamError(message, len(line_starts), unprintable.start() - line_starts[-1] + 1, "remove it")
        return
    line_starts = _line_starts(text)
    first_line = 0
    while first_line < len(line_starts):
        reader = _Reader(text=text[line_starts[first_line] :], first_line=first_line)
        yield from reader.read()
        if reader.failed_line is None:
            return
        first_line = reader.failed_line
        while first_line < len(line_starts) and not _DOCUMENT_START.match(text, line_starts[first_line]):
            first_line += 1


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in _LINE_BREAK.finditer(text))]


@attrs.define(eq=False, kw_only=True)
class _Reader:
    """Reads documents until the end of `text` or the first error; then `failed_line` is where to look for the next."""

    text: str
    first_line: int  # of `text` in the whole stream, from 0
    failed_line: int | None = None
    _document_line: int = attrs.field(init=False)
    _anchors: dict[str, Node] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        self._document_line = self.first_line

    def read(self) -> Iterator[Node | StreamError]:
        loader = yaml.CSafeLoader(self.text)
        try:
            while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
                if isinstance(event, yaml.DocumentStartEvent):
                    self._document_line = self.first_line + getattr(event.start_mark, "line", 0)
                    self._anchors.clear()
                    yield self._tree(loader)
        except _TooDeep as error:
            yield self._error(f"nested more than {_DEPTH_MAX} deep", error.mark, "")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            message, hint = _explain(error, self.text, mark)
            yield self._error(message, mark, hint)
        finally:
            loader.dispose()

    def _error(self, message: str, mark: Any, hint: str) -> StreamError:
        line = self.first_line + (mark.line if mark else 0)
        # The document that failed may end on the very line where that was noticed.
        self.failed_line = max(line, self._document_line + 1)
        return StreamError(message, line + 1, (mark.column if mark else 0) + 1, hint)

    def _tree(self, loader: Any) -> Node:
        """Read one document's events, up to its end, into a tree."""
        root = Node(NodeKind.SEQUENCE, (1, 1))
        open_nodes = [root]
        items = root.items
        next_event = loader.get_event
        while True:
            event = next_event()
            # Most events are scalars: they come first.
            if type(event) is yaml.ScalarEvent:
                node = self._node(event)
                items.append(node)
                if node.anchor:
                    self._anchors[node.anchor] = node
            elif isinstance(event, yaml.CollectionEndEvent):
                self._remember(open_nodes.pop())
                items = open_nodes[-1].items
            elif isinstance(event, yaml.CollectionStartEvent):
                if len(open_nodes) > _DEPTH_MAX:
                    raise _TooDeep(event.start_mark)
                node = self._node(event)
                items.append(node)
                open_nodes.append(node)
                items = node.items
            elif isinstance(event, yaml.DocumentEndEvent):
                return root.items[0]
            else:
                items.append(self._node(event))

    def _remember(self, node: Node) -> None:
        # Only now that the node is complete: an alias cannot stand inside its own anchor.
        if node.anchor:
            self._anchors[node.anchor] = node

    def _node(self, event: Any) -> Node:
        mark = event.start_mark
        position = (self.first_line + mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.AliasEvent):
            name = str(event.anchor)
            target = self._anchors.get(name)
            return Node(NodeKind.ALIAS, position, text=name, items=[target] if target else [])
        tag = event.tag.replace("tag:yaml.org,2002:", "!!") if event.tag else ""
        anchor = event.anchor or ""
        if isinstance(event, yaml.ScalarEvent):
            return Node(NodeKind.SCALAR, position, event.value, event.style not in (None, ""), tag, anchor)
        kind = NodeKind.MAPPING if isinstance(event, yaml.MappingStartEvent) else NodeKind.SEQUENCE
        return Node(kind, position, tag=tag, anchor=anchor)


class _TooDeep(Exception):
    def __init__(self, mark: Any) -> None:
        self.mark = mark


def _explain(error: yaml.MarkedYAMLError, text: str, mark: Any) -> tuple[str, str]:
    """Return what libyaml found, in words for an operator, and what to do."""
    problem = error.problem or "not readable as YAML"
    if mark is not None and text[mark.index : mark.index + 1] == "\t":
        return "a tab where YAML wants spaces", "indent with spaces"
    if mark is not None and "start any token" in problem:
        return f"text cannot start with {text[mark.index : mark.index + 1]}", "quote it"
    hint = "quote text that contains ': '" if "mapping values are not allowed" in problem else ""
    return f"{error.context}, {problem}" if error.context else problem, hint
