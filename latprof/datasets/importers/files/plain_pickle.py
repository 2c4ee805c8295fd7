"""A reader of pickles that hold plain data only.

Python's own unpickler calls what a file tells it to call. This one calls nothing: it knows the
operations that lists, dictionaries, text, numbers, NumPy's numbers and arrays of one dimension are
written with (protocols 0 to 5), and refuses any other. NumPy's numbers come out as Python's, arrays
as lists. What a file can make it use is bounded by the number of operations and containers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, ClassVar

from latprof.datasets.importers.files.pickle_values import (
    GLOBALS,
    TENSOR_MODULES,
    Dtype,
    Maker,
    Refused,
    Role,
)
from latprof.errors import DataSetError

_MAX_OPERATIONS = 6_000_000
_MAX_CONTAINERS = 2_000_000
_MAX_MEMO = 1 << 24
_MAX_INTEGER_BYTES = 9

_MARK = object()


def read_pickle(source: str, data: bytes) -> Any:
    """Read one pickle of plain data.

    Parameters
    ----------
    source : str
        What the messages call the file.
    data : bytes

    Returns
    -------
    object
        Lists, tuples, dictionaries (keys are text or numbers), text, bytes, numbers and None.
        Objects may be shared, and lists may hold themselves: check what you walk through.

    Raises
    ------
    DataSetError
        For anything else, with the place in the file.
    """
    reader = _Reader(data)
    try:
        return reader.run()
    except Refused as error:
        problem = str(error)
    except (IndexError, struct.error):
        problem = "it ends in the middle, or is damaged"
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError):
        problem = "it is damaged"
    raise DataSetError(
        f"{source} cannot be read at byte {reader.at}: {problem}",
        expected="a pickle of lists, dictionaries, text and numbers",
    )


class _Reader:
    """One pass over a pickle: a stack of values, and the memo of those met before."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.containers = 0
        self.maker = Maker()

    def run(self) -> Any:
        operations, data, size = self.operations, self.data, len(self.data)
        for _ in range(_MAX_OPERATIONS):
            if self.at >= size:
                raise Refused("it ends in the middle")
            code = data[self.at]
            self.at += 1
            if code == 0x2E:  # STOP
                return self.result()
            operation = operations.get(code)
            if operation is None:
                raise Refused(f"operation {bytes([code])!r} is not one of plain data")
            operation(self)
        raise Refused("it holds too much")

    def result(self) -> Any:
        if len(self.stack) != 1:
            raise Refused("it is damaged")
        return self.plain(self.stack[0])

    # Bytes -----------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise Refused("it ends in the middle")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def number(self, form: struct.Struct) -> Any:
        (value,) = form.unpack_from(self.data, self.at)
        self.at += form.size
        return value

    def line(self) -> str:
        end = self.data.index(b"\n", self.at, self.at + 4096)
        line = self.data[self.at : end]
        self.at = end + 1
        return line.decode("utf-8")

    # Values ----------------------------------------------------------------------------------

    def push_container(self, value: Any) -> None:
        self.containers += 1
        if self.containers > _MAX_CONTAINERS:
            raise Refused("it holds too many lists, tuples or dictionaries")
        self.stack.append(value)

    def pop_mark(self) -> list[Any]:
        stack = self.stack
        for start in range(len(stack) - 1, -1, -1):
            if stack[start] is _MARK:
                values = stack[start + 1 :]
                del stack[start:]
                return values
        raise Refused("it is damaged")

    @staticmethod
    def plain(value: Any) -> Any:
        if value is _MARK or isinstance(value, Role | Dtype):
            raise Refused("a type or a function stands where a value should")
        return value

    def fill(self, target: Any, values: list[Any]) -> None:
        """Put keys and values into a dictionary."""
        if type(target) is not dict or len(values) % 2:
            raise Refused("it is damaged")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # A tuple as key is not read: one that holds itself many times takes for ever to hash.
            if type(key) not in {str, int, float, bool}:
                raise Refused("a key of a dictionary is neither text nor a number")
            target[key] = self.plain(value)

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise Refused("it is damaged")
        for value in values:
            if value is _MARK or type(value) in {Role, Dtype}:
                self.plain(value)
        target.extend(values)

    def remember(self, index: int) -> None:
        if not 0 <= index < _MAX_MEMO:
            raise Refused("it is damaged")
        if self.stack[-1] is _MARK:
            raise Refused("it is damaged")
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.stack.append(self.memo[index])

    # Names and what they make ----------------------------------------------------------------

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("it is damaged")
        if module in TENSOR_MODULES:
            raise Refused("it holds tensors, which are not supported here")
        role = GLOBALS.get((module, name))
        if role is None:
            raise Refused(f"it names {f'{module}.{name}'[:80]!r}, which is not plain data")
        self.stack.append(Role(role))

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Role or type(arguments) is not tuple:
            raise Refused("it is damaged")
        self.push_container(self.maker.make(function.role, arguments))

    def build(self) -> None:
        state = self.stack.pop()
        self.maker.build(self.stack[-1], state)

    def persistent(self) -> None:
        raise Refused("it holds tensors, which are not supported here")

    # Operations of the format, by their byte ---------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def integer(self, size: int) -> None:
        if size > _MAX_INTEGER_BYTES:
            raise Refused("it holds a number that is too large")
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    def integer_line(self) -> None:
        line = self.line().removesuffix("L")
        if len(line) > 20:
            raise Refused("it holds a number that is too large")
        self.stack.append({"00": False, "01": True}.get(line, int(line)))

    def text(self, size: int) -> None:
        self.stack.append(self.take(size).decode("utf-8", "surrogatepass"))

    def quoted(self) -> None:
        line = self.line()
        if len(line) < 2 or line[0] != line[-1] or line[0] not in "'\"" or "\\" in line:
            raise Refused("it holds text of an old form")
        self.stack.append(line[1:-1])

    def tuple(self, count: int) -> None:
        values = tuple(self.stack[len(self.stack) - count :]) if count else ()
        if len(values) < count or any(value is _MARK for value in values):
            raise Refused("it is damaged")
        if count:
            del self.stack[-count:]
        self.push_container(values)

    def append(self) -> None:
        value = self.stack.pop()
        self.extend([value])

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.fill(self.stack[-1], [key, value])

    def set_items(self) -> None:
        values = self.pop_mark()
        self.fill(self.stack[-1], values)

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def marked_dict(self) -> None:
        made: dict[Any, Any] = {}
        self.fill(made, self.pop_mark())
        self.push_container(made)

    u1: ClassVar = struct.Struct("<B")
    u2: ClassVar = struct.Struct("<H")
    i4: ClassVar = struct.Struct("<i")
    u4: ClassVar = struct.Struct("<I")
    u8: ClassVar = struct.Struct("<Q")
    f8: ClassVar = struct.Struct(">d")

    operations: ClassVar[dict[int, Callable[[_Reader], None]]] = {
        0x80: lambda r: r.protocol(),
        0x95: lambda r: _ignore(r.number(r.u8)),  # FRAME
        ord("("): lambda r: r.push(_MARK),
        ord("0"): lambda r: _ignore(r.stack.pop()),
        ord("1"): lambda r: _ignore(r.pop_mark()),
        ord("N"): lambda r: r.push(None),
        0x88: lambda r: r.push(True),
        0x89: lambda r: r.push(False),
        ord("I"): lambda r: r.integer_line(),
        ord("L"): lambda r: r.integer_line(),
        ord("J"): lambda r: r.push(r.number(r.i4)),
        ord("K"): lambda r: r.push(r.number(r.u1)),
        ord("M"): lambda r: r.push(r.number(r.u2)),
        0x8A: lambda r: r.integer(r.number(r.u1)),
        0x8B: lambda r: r.integer(r.number(r.u4)),
        ord("F"): lambda r: r.push(float(r.line())),
        ord("G"): lambda r: r.push(r.number(r.f8)),
        ord("S"): lambda r: r.quoted(),
        ord("U"): lambda r: r.push(r.take(r.number(r.u1)).decode("latin-1")),
        ord("T"): lambda r: r.push(r.take(r.number(r.u4)).decode("latin-1")),
        ord("B"): lambda r: r.push(r.take(r.number(r.u4))),
        ord("C"): lambda r: r.push(r.take(r.number(r.u1))),
        0x8E: lambda r: r.push(r.take(r.number(r.u8))),
        ord("V"): lambda r: r.push(r.line()),
        ord("X"): lambda r: r.text(r.number(r.u4)),
        0x8C: lambda r: r.text(r.number(r.u1)),
        0x8D: lambda r: r.text(r.number(r.u8)),
        ord("]"): lambda r: r.push_container([]),
        ord("}"): lambda r: r.push_container({}),
        ord(")"): lambda r: r.push_container(()),
        ord("t"): lambda r: r.push_container(tuple(r.pop_mark())),
        ord("l"): lambda r: r.push_container(r.pop_mark()),
        ord("d"): lambda r: r.marked_dict(),
        0x85: lambda r: r.tuple(1),
        0x86: lambda r: r.tuple(2),
        0x87: lambda r: r.tuple(3),
        ord("a"): lambda r: r.append(),
        ord("e"): lambda r: r.extend(r.pop_mark()),
        ord("s"): lambda r: r.set_item(),
        ord("u"): lambda r: r.set_items(),
        ord("p"): lambda r: r.remember(int(r.line())),
        ord("q"): lambda r: r.remember(r.number(r.u1)),
        ord("r"): lambda r: r.remember(r.number(r.u4)),
        0x94: lambda r: r.remember(len(r.memo)),
        ord("g"): lambda r: r.recall(int(r.line())),
        ord("h"): lambda r: r.recall(r.number(r.u1)),
        ord("j"): lambda r: r.recall(r.number(r.u4)),
        ord("c"): lambda r: r.name(r.line(), r.line()),
        0x93: lambda r: r.stack_global(),
        ord("R"): lambda r: r.reduce(),
        ord("b"): lambda r: r.build(),
        ord("Q"): lambda r: r.persistent(),
        ord("P"): lambda r: r.persistent(),
    }

    def protocol(self) -> None:
        version = self.number(self.u1)
        if version > 5:
            raise Refused(f"protocol {version} is not known")


def _ignore(_value: object) -> None:
    """Take a value off the stream, or the stack, that nothing needs."""
