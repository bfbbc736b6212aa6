"""Reads pickles without running anything that they name, in bounded memory and time.

A pickle is a program for a machine with a stack. This machine has its data operations
only: it imports and calls nothing, hashes no keys but texts and numbers (the hash of a
nested tuple can take for ever), and counts what it does.
"""

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, cast

# The pickle of a net has some ten thousand bytes and operations per thousand tensors.
MOST_BYTES = 32 * 2**20
MOST_OPERATIONS = 2_000_000
# No function of torch takes more; a file may pass one long tuple a million times.
MOST_ARGUMENTS = 16

_VALUES = frozenset(
    (
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1"),
        *("BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING"),
    )
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,  # nobody reads sets
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset(("PROTO", "FRAME"))
_KEYS = (str, int, float, bool, type(None), bytes)


class Named(str):
    """The name of a class or function, such as 'collections.OrderedDict'."""


class Inert:
    """Replaces an object that nobody reads."""


class ArrayObject(Inert):
    """Replaces an array of NumPy, whose own unpickling runs more than torch's."""


class PickleError(Exception):
    """It is damaged, or too large; the text says which."""


class Bounded:
    """A file of which no more than `most` bytes are read, in reads of any length."""

    def __init__(self, file: BinaryIO, most: int = MOST_BYTES):
        self.file = file
        self.left = most

    def read(self, count: int) -> bytes:
        if count > self.left:
            raise PickleError(f"its pickle has more than {MOST_BYTES:,} bytes")
        return self._taken(self.file.read(count))

    def readline(self) -> bytes:
        return self._taken(self.file.readline(self.left))

    def tell(self) -> int:
        return self.file.tell()

    def _taken(self, data: bytes) -> bytes:
        self.left -= len(data)
        return data


def read_pickle(
    file: BinaryIO,
    build: Callable[[Named, tuple], Any],
    persistent: Callable[[tuple], Any],
    check: Callable[[Named], None],
) -> Any:
    """Reads one pickle from where a file stands, and stops behind it.

    Args:
      file: open for reading.
      build: (name of a class or function, its arguments) -> what stands for the result.
      persistent: what stands for an object that the pickle refers to.
      check: raises for a name that is not allowed.

    Returns:
      Dictionaries, lists, tuples, texts, bytes, numbers and what the functions gave. A
      set is a list.

    Raises:
      PickleError: damaged, too large, or with one key twice in a dictionary.
      Exception: whatever the functions raise; others where it is damaged.
    """
    machine = _Machine(build, persistent, check)
    operations = pickletools.genops(cast(BinaryIO, Bounded(file)))
    for count, (operation, argument, _) in enumerate(operations):
        if count >= MOST_OPERATIONS:
            raise PickleError(f"its pickle has more than {MOST_OPERATIONS:,} steps")
        if operation.name == "STOP":
            return machine.stack.pop()
        machine.do(operation.name, argument)
    raise PickleError("its pickle has no end")


def put(target: dict, key: Any, value: Any) -> None:
    """Adds an entry; one whose key nobody reads is left out.

    Raises:
      PickleError: the key is there already.
    """
    if type(key) not in _KEYS:
        return
    if key in target:
        raise PickleError(f"its pickle has {str(key)[:80]!r} twice in one dictionary")
    target[key] = value


class _Machine:
    """The stack, the marks in it, and the memo of one pickle."""

    def __init__(self, build, persistent, check):
        self.build, self.persistent, self.check = build, persistent, check
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(_CONSTANTS.get(name, argument))
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            self.stack[-count:] = [tuple(self._last(count))]
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name not in _IGNORED:
            work = getattr(self, f"_{name.lower()}", None)
            if work is None:
                raise PickleError(f"its pickle has the operation {name}")
            work(argument)

    def _last(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise PickleError("its pickle takes more from its stack than is there")
        return self.stack[-count:]

    def _items(self) -> list[Any]:
        """What was pushed since the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    # One method for each other operation, under its name in `pickletools`.

    def _memoize(self, _) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _mark(self, _) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _pop(self, _) -> None:
        self.stack.pop()

    def _pop_mark(self, _) -> None:
        self._items()

    def _tuple(self, _) -> None:
        items = tuple(self._items())
        self.stack.append(items)

    def _list(self, _) -> None:
        items = self._items()
        self.stack.append(items)

    def _dict(self, _) -> None:
        items = self._items()
        target: dict = {}
        self._set_all(target, items)
        self.stack.append(target)

    def _frozenset(self, _) -> None:
        self._list(_)

    def _append(self, _) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _) -> None:
        self._extend(self._items())

    def _additems(self, _) -> None:
        self._extend(self._items())

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _setitem(self, _) -> None:
        items = self._last(2)
        del self.stack[-2:]
        self._set_all(self.stack[-1], items)

    def _setitems(self, _) -> None:
        items = self._items()
        self._set_all(self.stack[-1], items)

    def _set_all(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                put(target, key, value)

    def _global(self, names: str) -> None:
        self._push_name(*names.split(" ", 1))

    def _stack_global(self, _) -> None:
        module, name = self._last(2)
        del self.stack[-2:]
        self._push_name(module, name)

    def _push_name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleError("a name that is no text")
        if module == "__builtin__":  # of Python 2
            module, name = "builtins", "int" if name == "long" else name
        full = Named(f"{module:.200}.{name:.200}")
        self.check(full)
        self.stack.append(full)

    def _reduce(self, _) -> None:
        self._call(self.stack.pop())

    def _newobj(self, _) -> None:
        self._call(self.stack.pop())

    def _newobj_ex(self, _) -> None:
        self.stack.pop()
        self._call(self.stack.pop())

    def _call(self, arguments: Any) -> None:
        called = self.stack.pop()
        if isinstance(called, Named) and _are_few(arguments):
            self.stack.append(self.build(called, arguments))
        else:
            self.stack.append(Inert())

    def _build(self, _) -> None:
        self.stack.pop()  # the attributes of an object

    def _binpersid(self, _) -> None:
        said = self.stack.pop()
        if not _are_few(said):
            raise PickleError("it refers to something that is no storage")
        self.stack.append(self.persistent(said))


def _are_few(arguments: Any) -> bool:
    return isinstance(arguments, tuple) and len(arguments) <= MOST_ARGUMENTS
