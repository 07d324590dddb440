"""Rows of one kind in one piece of memory: what a run keeps of every request, at a tenth of what tuples of objects take.

A sequence that is appended to and read, as a list of named tuples is. Texts are kept once each and stand in rows by number.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import Struct
from typing import Any, Generic, NamedTuple, TypeVar, overload

Row = TypeVar("Row", bound=NamedTuple)


class _Numbers(dict[str, int]):
    """Texts in the order in which they were first asked for, by number."""

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number


class PackedRows(Sequence[Row], Generic[Row]):
    """Rows of one named tuple. `layout`: a struct format of its fields in order, `I` for a text, `33p` for at most 32 bytes."""

    __slots__ = ("_data", "_make", "_number_by_text", "_struct", "_texts")

    def __init__(self, make: Callable[..., Row], layout: str, *, texts: int = 0) -> None:
        """`make` is the named tuple's class, of which the first `texts` fields are str."""
        self._make = make
        self._struct = Struct("<" + layout)
        self._texts = texts
        self._number_by_text = _Numbers()
        self._data = bytearray()

    def append(self, row: Row) -> None:
        """Keep a row."""
        texts, fields = self._texts, tuple(row)
        numbers = map(self._number_by_text.__getitem__, fields[:texts])
        self._data += self._struct.pack(*numbers, *fields[texts:])

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
            return self._rows(self._struct.iter_unpack(packed))
        number = range(len(self))[place]
        return self._rows([self._struct.unpack_from(self._data, number * size)])[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as a list's: it changes

    def __repr__(self) -> str:
        return f"PackedRows({self[:]})"

    def _rows(self, unpacked: Iterable[tuple[Any, ...]]) -> list[Row]:
        make, count, texts = self._make, self._texts, tuple(self._number_by_text)
        return [make(*map(texts.__getitem__, fields[:count]), *fields[count:]) for fields in unpacked]
