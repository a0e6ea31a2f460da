"""A pickle read as text: what it would import and build, told without importing or building anything.

A pickle is a program for a small stack machine.  This is that machine with its hands tied: where Python's would import
a name, this one writes the name down; where Python's would call it, this one notes the call and its arguments.  So the
weights in a checkpoint, also in one that holds a whole module, can be found without running a line of it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

from pellucid.core.errors import BadModel
from pellucid.doors.torch.pickle_codes import CODES, Stream, digits, line, name, taken
from pellucid.doors.torch.pickle_parts import Cut, Global, Made, Persistent, Seen
from pellucid.doors.torch.pickle_values import WRITTEN, Values

OPERATIONS, NESTED = 4_000_000, 4  # 100 000 tensors of four axes need 3 810 000; pickles within pickles
AT_ONCE = 1000  # operations before their sum is looked at
KEYS = (str, int, float, Global, type(None))  # of what a dictionary can have, those that mean something here
IMPORTING = 49  # what an import counts more than other operations: a pickle imports each name once


def told(file: Stream, seen: Seen, depth: int = 0) -> Any:
    """The first pickle from where the file stands, as text; the file is left behind its end.

    Everything that it would import is added to `seen`, also when it turns out to be broken, which raises `Cut`.

    >>> import pickle
    >>> seen = Seen()
    >>> told(io.BytesIO(pickle.dumps({"a": print})), seen), [str(g) for g in seen.names]
    ({'a': Global(module='builtins', name='print')}, ['builtins.print'])
    """
    machine = _Machine(file, seen, depth)
    try:
        while machine.some():
            if seen.operations > OPERATIONS:
                raise BadModel(
                    "The pickle in it has more operations than one of 100 000 tensors.", "It is no ordinary checkpoint."
                )
        return machine.stack[-1] if machine.stack else None
    except IndexError:
        raise Cut("the stack is empty") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise Cut(str(error) or type(error).__name__) from error


_ENCODE = Global("_codecs", "encode")


class _Machine(Values):
    """The stack, the marks and the memo.  What an operation does is the method of its name: it gets the bytes of its
    argument, or of that one's length, and reads the rest itself.
    """

    def __init__(self, file: Stream, seen: Seen, depth: int) -> None:
        super().__init__(file, seen)
        self.depth = depth
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.looked: set[int] = set()

    def some(self) -> bool:
        """The next operations, at most a thousand; False when the last one is done, behind which the file is left."""
        read, acts, done = self.file.read, _ACTS, 0
        try:
            for done in range(1, AT_ONCE + 1):  # noqa: B007 (it is, at the end)
                code = read(1)
                if code == b".":
                    return False
                if code not in acts:
                    raise ValueError(f"{code!r} is no operation" if code else "it has no end")
                width, act = acts[code]
                raw = read(width) if width else b""
                if len(raw) < width:
                    raise ValueError("it ends within an operation")
                act(self, raw)
        finally:  # what breaks off counts too
            self.seen.operations += done
        return True

    def do_binbytes(self, raw: bytes) -> None:
        data = taken(self.file, int.from_bytes(raw, "little"))
        self.write(data)
        self._look_into(data)

    do_short_binbytes = do_binbytes8 = do_binbytes

    def do_bytearray8(self, raw: bytes) -> None:
        self.do_binbytes(raw)
        self.stack.append(bytearray(self.stack.pop()))

    def do_binput(self, raw: bytes) -> None:
        self.memo[raw[0]] = self.stack[-1]

    def do_long_binput(self, raw: bytes) -> None:
        self.memo[int.from_bytes(raw, "little")] = self.stack[-1]

    def do_put(self, _: bytes) -> None:
        self.seen.operations += WRITTEN
        self.memo[int(digits(self.file))] = self.stack[-1]

    def do_binget(self, raw: bytes) -> None:
        self.stack.append(self.memo[raw[0]])

    def do_long_binget(self, raw: bytes) -> None:
        self.stack.append(self.memo[int.from_bytes(raw, "little")])

    def do_get(self, _: bytes) -> None:
        self.write(self.memo[int(digits(self.file))])

    def do_ext1(self, raw: bytes) -> None:
        self._import("copyreg extension", str(int.from_bytes(raw, "little")))

    do_ext2 = do_ext4 = do_ext1

    def do_none(self, _: bytes) -> None:
        self.stack.append(None)

    def do_newtrue(self, _: bytes) -> None:
        self.stack.append(True)

    def do_newfalse(self, _: bytes) -> None:
        self.stack.append(False)

    def do_empty_list(self, _: bytes) -> None:
        self.stack.append([])

    do_empty_set = do_empty_list

    def do_empty_dict(self, _: bytes) -> None:
        self.stack.append({})

    def do_proto(self, _: bytes) -> None:
        """Says nothing about the value."""

    do_frame = do_readonly_buffer = do_stop = do_proto

    def _import(self, module: str, inner: str) -> None:
        found = Global(module, inner)
        self.seen.operations += IMPORTING
        self.seen.names[found] = None
        self.stack.append(found)

    def _look_into(self, data: bytes) -> None:
        """A pickle within the pickle would be run by whoever unpacks it: its names count too."""
        if self.depth < NESTED and data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
            try:
                told(io.BytesIO(data), self.seen, self.depth + 1)
            except Cut:
                return

    def _marked(self) -> list[Any]:
        at = self.marks.pop()
        found = self.stack[at:]
        del self.stack[at:]
        return found

    def _pop(self, count: int) -> list[Any]:
        at = len(self.stack) - count
        if at < 0:
            raise IndexError("the stack is empty")
        found = self.stack[at:]
        del self.stack[at:]
        return found

    def do_mark(self, _: bytes) -> None:
        self.marks.append(len(self.stack))

    def do_pop(self, _: bytes) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def do_pop_mark(self, _: bytes) -> None:
        self._marked()

    def do_dup(self, _: bytes) -> None:
        self.stack.append(self.stack[-1])

    def do_memoize(self, _: bytes) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_tuple(self, _: bytes) -> None:
        self.stack.append(tuple(self._marked()))

    def do_empty_tuple(self, _: bytes) -> None:
        self.stack.append(())

    def do_tuple1(self, _: bytes) -> None:
        self.stack[-1] = (self.stack[-1],)

    def do_tuple2(self, _: bytes) -> None:
        self.stack.append(tuple(self._pop(2)))

    def do_tuple3(self, _: bytes) -> None:
        self.stack.append(tuple(self._pop(3)))

    def do_list(self, _: bytes) -> None:
        self.stack.append(self._marked())

    def do_frozenset(self, _: bytes) -> None:
        self.stack.append(tuple(self._marked()))

    def do_dict(self, _: bytes) -> None:
        self.stack.append(_paired(self._marked()))

    def do_append(self, _: bytes) -> None:
        value = self.stack.pop()
        _values(self.stack[-1]).append(value)

    def do_appends(self, _: bytes) -> None:
        values = self._marked()
        _values(self.stack[-1]).extend(values)

    do_additems = do_appends

    def do_setitem(self, _: bytes) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        if isinstance(key, KEYS):
            _items(self.stack[-1])[key] = value

    def do_setitems(self, _: bytes) -> None:
        pairs = self._marked()
        _items(self.stack[-1]).update(_paired(pairs))

    def do_global(self, _: bytes) -> None:
        self._import(*name(self.file))

    def do_stack_global(self, _: bytes) -> None:
        module, inner = self._pop(2)
        known = isinstance(module, str) and isinstance(inner, str)
        self._import(*((module, inner) if known else ("a name made while it runs", "?")))

    def do_inst(self, raw: bytes) -> None:
        args = tuple(self._marked())
        self.do_global(raw)
        self.stack.append(Made(self.stack.pop(), args))

    def do_obj(self, _: bytes) -> None:
        callee, *args = self._marked()
        self.stack.append(Made(callee, tuple(args)))

    def do_reduce(self, _: bytes) -> None:
        callee, args = self._pop(2)
        text = args[0] if isinstance(args, tuple) and args and callee == _ENCODE else None
        if isinstance(text, str) and text[:1] == "\x80" and id(text) not in self.looked:
            self.looked.add(id(text))  # it stays in the memo, and may be used a million times
            self._look_into(text.encode("latin-1", "replace"))  # how the older protocols write bytes
        self.stack.append(Made(callee, args if isinstance(args, tuple) else (args,)))

    do_newobj = do_reduce

    def do_newobj_ex(self, _: bytes) -> None:
        callee, args, named = self._pop(3)
        self.stack.append(Made(callee, (*args, named) if isinstance(args, tuple) else (args, named)))

    def do_build(self, _: bytes) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def do_persid(self, _: bytes) -> None:
        self.write(Persistent(line(self.file).decode("ascii")))

    def do_next_buffer(self, _: bytes) -> None:
        self.stack.append(Persistent(None))

    def do_binpersid(self, _: bytes) -> None:
        self.stack[-1] = Persistent(self.stack[-1])


_ACTS: Mapping[bytes, tuple[int, Callable[[_Machine, bytes], None]]] = {
    code: (width, getattr(_Machine, f"do_{name.lower()}")) for code, (name, width) in CODES.items()
}


def _values(owner: Any) -> list[Any]:
    if isinstance(owner, Made):
        owner.values = [] if owner.values is None else owner.values
        return owner.values
    return owner if isinstance(owner, list) else []


def _items(owner: Any) -> dict[Any, Any]:
    if isinstance(owner, Made):
        owner.items = {} if owner.items is None else owner.items
        return owner.items
    return owner if isinstance(owner, dict) else {}


def _paired(flat: list[Any]) -> dict[Any, Any]:
    """Keys and values in turn; a key that a dictionary cannot have is left out with its value."""
    found = {}
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        if isinstance(key, KEYS):
            found[key] = value
    return found
