"""Pickle streams of protocols 0 to 5, read without executing: a call becomes a record of it.

``pickle.Unpickler`` with a ``find_class`` of one's own would not do: it allocates what a length
claims, a memo as large as the largest index, and a hash table whose keys the stream chooses. Here
each step of a stream costs the bytes it reads and one small record; nothing is imported, called,
copied, hashed or compared.
"""

import re
from codecs import escape_decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pickletools import opcodes
from typing import Any

from handler.formats import FormatError

MAX_STEPS = 1_000_000  # a wrapper takes some hundreds, and one for each figure of its evaluations
NEWEST_PROTOCOL = 5

_DICT = "builtins.dict"
# They make an empty object of the class that is their first argument.
_MAKERS = ("copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__")
_OUTSIDE = ("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER")
# What Python 2 writes of a text: its repr. Python warns of escapes that it does not know.
_QUOTED = re.compile(rb"(?:[^\\]|\\(?:[\\'\"nrt]|x[0-9a-f]{2}))*+")


@dataclass(frozen=True, slots=True)
class Named:
    """A class or function that a stream names, and that is only a name here."""

    name: str


@dataclass(slots=True, eq=False, repr=False)
class Made:
    """What a stream would have made by a call.

    Attributes:
        name: of the class or function that would have been called.
        args: that it would have been called with.
        state: that the object would have been given; None for none.
        pairs: keys and values that it would have been given as a mapping, in their order.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    pairs: list[tuple[Any, Any]] | None = None

    def get(self, key: str) -> Any:
        """Look up a text in the pairs, the last that is equal; None if there is none."""
        for name, value in reversed(self.pairs or ()):
            if isinstance(name, str) and name == key:
                return value
        return None


Find = Callable[[str, str], Named]
Built = Callable[[Made], None]


def damaged(why: str) -> FormatError:
    """The error for a stream that no pickler wrote."""
    return FormatError(f"a damaged pickle: {why}; upload it again, or one from save_model")


def bytes_left(stream: BytesIO) -> int:
    """Count the bytes from where ``stream`` is to its end; its ``getbuffer`` would copy them."""
    at = stream.tell()
    end = stream.seek(0, SEEK_END)
    stream.seek(at)
    return end - at


def steps() -> Iterator[int]:
    """As many steps as a file may take, all its streams together."""
    return iter(range(MAX_STEPS))


def load(stream: BytesIO, find: Find, built: Built, left: Iterator[int]) -> Any:
    """Read one pickle from where ``stream`` is, up to and with its end.

    Args:
        stream: bytes in memory; a read of more than it has gives what it has.
        find: makes a ``Named`` of a module and a name, or raises for one that is not to be there.
        built: told of each object when its state is set; it may read on in the stream.
        left: the steps that it may take.

    Returns:
        Numbers, texts, bytes, None, tuples and lists as they are; a set as a list, all else as a
        ``Made``. All of it is what the stream said: it may be cyclic, and nested at any depth.

    Raises:
        FormatError: the stream is damaged, or takes too many steps.
    """
    return _Machine(stream, find, built).run(left)


class _Machine:
    """The stack machine that a pickle is a program for."""

    def __init__(self, stream: BytesIO, find: Find, built: Built) -> None:
        self._stream = stream
        self._find = find
        self._built = built
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, left: Iterator[int]) -> Any:
        stream = self._stream
        for _ in left:
            code = stream.read(1)
            if code == b".":
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                at = stream.tell()
                raise damaged(f"byte {at - 1} begins no step" if code else "it ends early")
            reader, act = step
            if reader is None:
                act(self, None)
                continue
            at = stream.tell()
            try:
                argument = reader(stream)
            except (ValueError, OverflowError):
                early = not bytes_left(stream)
                why = "it ends early" if early else f"the value at byte {at} cannot be read"
                raise damaged(why) from None
            act(self, argument)
        raise FormatError(
            f"a pickle of more than {MAX_STEPS} steps, which no model takes; "
            "save the booster with save_model"
        )

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise damaged("it takes more from the stack than there is")
        return self._stack.pop()

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _cut(self, _: object = None) -> list[Any]:
        """Take all above the last mark, and the mark."""
        if not self._marks:
            raise damaged("a mark is missing")
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def push(self, value: object) -> None:
        self._stack.append(value)

    def mark(self, _: None) -> None:
        self._marks.append(len(self._stack))

    def pop(self, _: None) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def duplicate(self, _: None) -> None:
        self.push(self._top())

    def protocol(self, number: int) -> None:
        if number > NEWEST_PROTOCOL:
            raise FormatError(
                f"a pickle of protocol {number}, newer than {NEWEST_PROTOCOL}; "
                "save the booster with save_model"
            )

    def frame(self, size: int) -> None:
        if size > bytes_left(self._stream):
            raise damaged("it ends early")

    def outside(self, _: None) -> None:
        raise FormatError(
            "a pickle that refers to what is outside of it; save the booster with save_model"
        )

    def put(self, index: int) -> None:
        if index < 0:
            raise damaged("a negative place in its memo")
        self._memo[index] = self._top()

    def memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._top()

    def get(self, index: int) -> None:
        if index not in self._memo:
            raise damaged(f"it takes place {index} of its memo, which is empty")
        self.push(self._memo[index])

    def tuple_of(self, size: int | None) -> None:
        items = self._cut() if size is None else [self._pop() for _ in range(size)][::-1]
        self.push(tuple(items))

    def list_of(self, _: None) -> None:
        self.push(self._cut())

    def dict_of(self, _: None) -> None:
        self.push(Made(_DICT, pairs=_paired(self._cut())))

    def append(self, _: None) -> None:
        self._extend([self._pop()])

    def appends(self, _: None) -> None:
        self._extend(self._cut())

    def _extend(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise damaged("it appends to what is no list")
        target.extend(items)

    def set_item(self, _: None) -> None:
        value, key = self._pop(), self._pop()
        self._set_pairs([(key, value)])

    def set_items(self, _: None) -> None:
        self._set_pairs(_paired(self._cut()))

    def _set_pairs(self, pairs: list[tuple[Any, Any]]) -> None:
        target = self._top()
        if not isinstance(target, Made):
            raise damaged("it sets items of what has none")
        if target.pairs is None:
            target.pairs = pairs
        else:
            target.pairs.extend(pairs)

    def name(self, pair: tuple[str, str]) -> None:
        self.push(self._find(*pair))

    def name_from_stack(self, _: None) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise damaged("a name in it is no text")
        self.name((module, name))

    def call(self, _: None) -> None:
        args, what = self._pop(), self._pop()
        self._make(what, args)

    def call_with_keywords(self, _: None) -> None:
        _keywords, args, what = self._pop(), self._pop(), self._pop()
        self._make(what, args)

    def call_marked(self, _: None) -> None:
        what, *args = self._cut() or [None]
        self._make(what, tuple(args))

    def call_named(self, pair: tuple[str, str]) -> None:
        self._make(self._find(*pair), tuple(self._cut()))

    def _make(self, what: object, args: object) -> None:
        if not isinstance(args, tuple):
            raise damaged("it calls with what is no tuple")
        if isinstance(what, Named) and what.name in _MAKERS:
            what, args = (args[0] if args else None), ()
        if not isinstance(what, Named):
            raise damaged("it calls what has no name")
        self.push(Made(what.name, args))

    def build(self, _: None) -> None:
        state = self._pop()
        target = self._top()
        if not isinstance(target, Made):
            raise damaged("it sets the state of what has none")
        target.state = state
        self._built(target)


def _paired(items: list[Any]) -> list[tuple[Any, Any]]:
    if len(items) % 2:
        raise damaged("a key in it has no value")
    return list(zip(items[::2], items[1::2], strict=True))


def _line(stream: BytesIO) -> bytes:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ValueError
    return line[:-1]


def _read_names(stream: BytesIO) -> tuple[str, str]:
    return _line(stream).decode(), _line(stream).decode()


def _read_quoted(stream: BytesIO) -> str:
    line = _line(stream)
    text = line[1:-1]
    if line[:1] not in (b"'", b'"') or line != line[:1] + text + line[:1]:
        raise ValueError
    if _QUOTED.fullmatch(text) is None:
        raise ValueError
    return escape_decode(text)[0].decode("latin-1")


def _steps() -> "dict[bytes, tuple[Callable[[Any], Any] | None, Callable[[_Machine, Any], Any]]]":
    """For the byte of each step, what reads its argument from the stream and what it does."""
    constants: dict[str, Callable[[_Machine, Any], Any]] = {
        "NONE": lambda machine, _: machine.push(None),
        "NEWTRUE": lambda machine, _: machine.push(True),
        "NEWFALSE": lambda machine, _: machine.push(False),
        "EMPTY_TUPLE": lambda machine, _: machine.push(()),
        "EMPTY_LIST": lambda machine, _: machine.push([]),
        "EMPTY_SET": lambda machine, _: machine.push([]),
        "EMPTY_DICT": lambda machine, _: machine.push(Made(_DICT)),
        "TUPLE1": lambda machine, _: machine.tuple_of(1),
        "TUPLE2": lambda machine, _: machine.tuple_of(2),
        "TUPLE3": lambda machine, _: machine.tuple_of(3),
    }
    acts: dict[str, Callable[[_Machine, Any], Any]] = {
        **constants,
        **dict.fromkeys(_OUTSIDE, _Machine.outside),
        **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
        **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
        "PROTO": _Machine.protocol,
        "FRAME": _Machine.frame,
        "MEMOIZE": _Machine.memoize,
        "MARK": _Machine.mark,
        "POP": _Machine.pop,
        "POP_MARK": _Machine._cut,
        "DUP": _Machine.duplicate,
        "TUPLE": _Machine.tuple_of,
        "LIST": _Machine.list_of,
        "FROZENSET": _Machine.list_of,
        "DICT": _Machine.dict_of,
        "APPEND": _Machine.append,
        "APPENDS": _Machine.appends,
        "ADDITEMS": _Machine.appends,
        "SETITEM": _Machine.set_item,
        "SETITEMS": _Machine.set_items,
        "GLOBAL": _Machine.name,
        "STACK_GLOBAL": _Machine.name_from_stack,
        "REDUCE": _Machine.call,
        "NEWOBJ": _Machine.call,
        "NEWOBJ_EX": _Machine.call_with_keywords,
        "OBJ": _Machine.call_marked,
        "INST": _Machine.call_named,
        "BUILD": _Machine.build,
    }
    readers: dict[str, Callable[[BytesIO], Any] | None] = {
        **dict.fromkeys(_OUTSIDE),
        "GLOBAL": _read_names,
        "INST": _read_names,
        "STRING": _read_quoted,
    }
    table = {}
    for opcode in opcodes:
        reader = opcode.arg.reader if opcode.arg else None
        # What is neither an act nor a constant pushes the value that follows it.
        act = acts.get(opcode.name, _Machine.push)
        table[opcode.code.encode("latin-1")] = (readers.get(opcode.name, reader), act)
    return table


_STEPS = _steps()
