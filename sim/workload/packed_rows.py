"""Rows of one kind in one piece of memory: what a run keeps of every request, at a tenth of what tuples of objects take.

A sequence that is appended to and read, as a list of named tuples is. Texts are kept once each and stand in rows by number.
"""

from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import Any, Generic, NamedTuple, TypeVar, overload

Row = TypeVar("Row", bound=NamedTuple)


class PackedRows(Sequence[Row], Generic[Row]):
    """Rows of one named tuple. `layout`: a struct format of its fields in order, with `I` for a text, `33p` for short bytes."""

    __slots__ = ("_data", "_make", "_number_by_text", "_struct", "_text_places", "_texts")

    def __init__(self, make: Callable[..., Row], layout: str, *, texts: Sequence[int] = ()) -> None:
        """`make` is the named tuple's class, `texts` the places of its fields that are str."""
        self._make = make
        self._struct = Struct("<" + layout)
        self._text_places = tuple(texts)
        self._texts: list[str] = []
        self._number_by_text: dict[str, int] = {}
        self._data = bytearray()

    def append(self, row: Row) -> None:
        """Keep a row."""
        if self._text_places:
            values: list[Any] = list(row)
            for place in self._text_places:
                number = self._number_by_text.get(values[place])
                values[place] = self._number_of(values[place]) if number is None else number
            self._data += self._struct.pack(*values)
        else:
            self._data += self._struct.pack(*row)

    def sort(self, *, key: Callable[[Row], Any]) -> None:
        """Put the rows in order; rows of equal keys stay as they are."""
        rows = sorted(self, key=key)
        self._data.clear()
        for row in rows:
            self.append(row)

    def __len__(self) -> int:
        return len(self._data) // self._struct.size

    def __iter__(self) -> Iterator[Row]:
        return iter(self[:])

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        size = self._struct.size
        if isinstance(place, slice):
            begin, end, step = place.indices(len(self))
            if step != 1:
                return [self[number] for number in range(begin, end, step)]
            packed = bytes(memoryview(self._data)[begin * size : max(begin, end) * size])
            return list(map(self._row, self._struct.iter_unpack(packed)))
        number = range(len(self))[place]
        return self._row(self._struct.unpack_from(self._data, number * size))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as a list's: it changes

    def __repr__(self) -> str:
        return f"PackedRows({self[:]})"

    def _row(self, values: tuple[Any, ...]) -> Row:
        if not self._text_places:
            return self._make(*values)
        fields = list(values)
        for place in self._text_places:
            fields[place] = self._texts[fields[place]]
        return self._make(*fields)

    def _number_of(self, text: str) -> int:
        number = self._number_by_text[text] = len(self._texts)
        self._texts.append(text)
        return number
