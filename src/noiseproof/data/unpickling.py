"""Plain values and arrays of numbers read from a pickle without unpickling: nothing in it is ever called.

Python's unpickler can be made to run code and, however few names it may look up, to crash or to take all
memory: by a deep tuple as a key, a vast memo index, an array of a size that is only claimed. Here every
opcode is read as data, and what comes of it is about as large as the file.
"""

from __future__ import annotations

import pickletools
import re
import struct
from pickle import UnpicklingError
from typing import Any, Final

import numpy as np

MOST_OPCODES = 500_000
"""Of a file: a batch of 10,000 images has 50,000."""

LONGEST_SHOWN = 80
"""Characters of a fault, which may quote the file."""

_NAMES: Final = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "class",
    "numpy dtype": "dtype",
    "_codecs encode": "bytes",
}
"""What a pickle may name, and what that is taken for."""

_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: Final = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_LITERAL: Final = re.compile(
    r"INT|BININT[12]?|LONG[14]?|(BIN)?FLOAT|((SHORT_)?BIN)?(STRING|UNICODE8?|BYTES8?)"
)
_NUMBERS: Final = re.compile(r"[<>|]?[biuf][1248]")


class _Name(str):
    """Something that a pickle names, which is none of its texts."""


class _Unbuilt:
    """An array, or the type of one's numbers, of which the rest is still to come."""

    def __init__(self, dtype: np.dtype[Any] | None = None) -> None:
        self.dtype = dtype
        self.places: list[int] = []
        """Of the memo, that what is built will take."""


def unpickle_arrays(raw: bytes) -> Any:
    """Read a pickle of lists, tuples, numbers, texts, numpy arrays of numbers, and dictionaries by text.

    Byte strings of Python 2 are read as Latin-1. The arrays are read-only. Raises `pickle.UnpicklingError`
    for anything else.

    >>> import pickle
    >>> unpickle_arrays(pickle.dumps({"labels": [3, 5], "data": np.eye(2)}, protocol=2))["data"]
    array([[1., 0.],
           [0., 1.]])
    >>> unpickle_arrays(pickle.dumps(print))
    Traceback (most recent call last):
    _pickle.UnpicklingError: builtins.print is not allowed in a data file
    """
    reader = _Reader(len(raw))
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(raw)):
            if count == MOST_OPCODES:
                raise UnpicklingError(f"it has more than {MOST_OPCODES} opcodes")
            reader.follow(opcode.name, argument)
        (value,) = reader.stack
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, struct.error) as error:
        raise UnpicklingError(f"no well-formed pickle: {str(error)[:LONGEST_SHOWN]}") from None
    return value


class _Reader:
    """The stack, the marks in it and the memo, as a pickle's opcodes change them."""

    def __init__(self, size: int) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._bytes_left = size

    def follow(self, opcode: str, argument: Any) -> None:
        """Do what an opcode says."""
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                return
            case "MARK":
                self._marks.append(len(self.stack))
                return
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                self._remember(len(self._memo) if opcode == "MEMOIZE" else argument)
                return
            case "GET" | "BINGET" | "LONG_BINGET":
                result = self._memo[argument]
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                result = _CONSTANTS[opcode]
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                result = _EMPTY[opcode]()
            case "LIST":
                result = self._since_mark()
            case "TUPLE":
                result = tuple(self._since_mark())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                result = tuple(self._popped(int(opcode[-1])))
            case "DICT":
                result = _dictionary({}, self._since_mark())
            case "SETITEM" | "SETITEMS":
                items = self._popped(2) if opcode == "SETITEM" else self._since_mark()
                result = _dictionary(self.stack.pop(), items)
            case "APPEND" | "APPENDS":
                values = self._popped(1) if opcode == "APPEND" else self._since_mark()
                result = _list(self.stack.pop(), values)
            case "GLOBAL" | "INST":
                result = _name(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                result = _name(*self._popped(2))
            case "REDUCE":
                result = self._called(*self._popped(2))
            case "BUILD":
                result = self._built(*self._popped(2))
            case _ if _LITERAL.fullmatch(opcode):
                result = argument
            case _:
                raise UnpicklingError(f"opcode {opcode} is not allowed in a data file")
        self.stack.append(result)

    def _popped(self, number: int) -> list[Any]:
        values = self.stack[-number:]
        if len(values) < number:
            raise UnpicklingError("no well-formed pickle: values are missing")
        del self.stack[-number:]
        return values

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def _remember(self, place: int) -> None:
        self._memo[place] = self.stack[-1]
        if isinstance(self.stack[-1], _Unbuilt):
            self.stack[-1].places.append(place)

    def _called(self, name: Any, arguments: Any) -> _Unbuilt | bytes:
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise UnpicklingError("calls are not allowed in a data file")
        match (name, *arguments):
            case "array", _, _, _:
                return _Unbuilt()
            case "dtype", str(text), *_ if _NUMBERS.fullmatch(text):
                return _Unbuilt(np.dtype(text))
            case "bytes", str(text), "latin1":
                return self._encoded(text)
        raise UnpicklingError(f"such a call for {name} is not allowed in a data file")

    def _built(self, unbuilt: Any, state: Any) -> Any:
        if not isinstance(unbuilt, _Unbuilt):
            raise UnpicklingError("objects are not allowed in a data file")
        built: Any
        if unbuilt.dtype is not None:
            _, byte_order, *_ = state
            built = unbuilt.dtype.newbyteorder(byte_order)
        else:
            _, shape, dtype, is_fortran, content = state
            if not isinstance(dtype, np.dtype):
                raise UnpicklingError("an array of no numbers is not allowed in a data file")
            raw = self._encoded(content) if isinstance(content, str) else content
            built = np.frombuffer(raw, dtype).reshape(shape, order="F" if is_fortran else "C")
        for place in unbuilt.places:
            self._memo[place] = built
        return built

    def _encoded(self, text: str) -> bytes:
        self._bytes_left -= len(text)
        if self._bytes_left < 0:  # one text, again and again
            raise UnpicklingError("its arrays are larger than the file")
        return text.encode("latin1")


def _name(module: Any, name: Any) -> _Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise UnpicklingError("no well-formed pickle: a name is no text")
    if f"{module} {name}" not in _NAMES:
        raise UnpicklingError(f"{f'{module}.{name}'[:LONGEST_SHOWN]} is not allowed in a data file")
    return _Name(_NAMES[f"{module} {name}"])


def _dictionary(into: Any, items: list[Any]) -> dict[str, Any]:
    keys, values = items[::2], items[1::2]
    # of other keys some crash: a tuple's hash goes as deep as the tuple
    if type(into) is not dict or not all(isinstance(key, str) for key in keys):
        raise UnpicklingError("a dictionary's keys must be texts in a data file")
    into.update(zip(keys, values, strict=True))
    return into


def _list(into: Any, values: list[Any]) -> list[Any]:
    if type(into) is not list:
        raise UnpicklingError("no well-formed pickle: a list is missing")
    into.extend(values)
    return into
