"""A pickle read as text: what it would import and build, told without importing or building anything.

A pickle is a program for a small stack machine.  This is that machine with its hands tied: where Python's would import
a name, this one writes the name down; where Python's would call it, this one notes the call and its arguments.  So the
weights in a checkpoint, also in one that holds a whole module, can be found without running a line of it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pellucid.core.errors import BadModel
from pellucid.doors.torch.pickle_codes import COSTS, Stream, codes

OPERATIONS, NESTED = 3_200_000, 4  # 100 000 tensors need about 3 000 000; pickles within pickles


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Made:
    """What a call would give: the callee, its arguments, and what was put into the result afterwards."""

    callee: Any
    args: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Persistent:
    """A reference to something outside of the pickle; torch's checkpoints name their storages so."""

    id: Any


@dataclass(slots=True)
class Seen:
    """What was found: every name it would import, in order, and how many operations it has (`COSTS`)."""

    names: dict[Global, None] = field(default_factory=dict)
    operations: int = 0


class Cut(Exception):
    """The pickle ends or makes no sense; what was seen before that counts all the same."""


def told(file: Stream, seen: Seen, depth: int = 0) -> Any:
    """The first pickle from where the file stands, as text; the file is left behind its end.

    Everything that it would import is added to `seen`, also when it turns out to be broken, which raises `Cut`.

    >>> import pickle
    >>> seen = Seen()
    >>> told(io.BytesIO(pickle.dumps({"a": print})), seen), [str(g) for g in seen.names]
    ({'a': Global(module='builtins', name='print')}, ['builtins.print'])
    """
    machine = _Machine(seen, depth)
    try:
        for name, argument in codes(file):
            seen.operations += COSTS.get(name, 1)
            if seen.operations > OPERATIONS:
                raise BadModel(
                    "The pickle in it has more operations than one of 100 000 tensors.", "It is no ordinary checkpoint."
                )
            machine.step(name, argument)
        return machine.stack[-1] if machine.stack else None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise Cut(str(error) or type(error).__name__) from error


_ENCODE = Global("_codecs", "encode")


class _Machine:
    """The stack, the marks and the memo."""

    def __init__(self, seen: Seen, depth: int) -> None:
        self.seen, self.depth = seen, depth
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.looked: set[int] = set()

    def step(self, name: str, argument: Any) -> None:
        """One operation."""
        act = _ACTS.get(name)
        if act is not None:
            act(self, argument)
            return
        self.stack.append(argument)  # numbers, texts and bytes
        if isinstance(argument, bytes | bytearray):
            self._look_into(bytes(argument))

    def do_put(self, argument: Any) -> None:
        self.memo[int(argument)] = self.stack[-1]

    do_binput = do_long_binput = do_put

    def do_get(self, argument: Any) -> None:
        self.stack.append(self.memo[int(argument)])

    do_binget = do_long_binget = do_get

    def do_ext1(self, argument: Any) -> None:
        self._import("copyreg extension", str(argument))

    do_ext2 = do_ext4 = do_ext1

    def do_none(self, _: Any) -> None:
        self.stack.append(None)

    def do_newtrue(self, _: Any) -> None:
        self.stack.append(True)

    def do_newfalse(self, _: Any) -> None:
        self.stack.append(False)

    def do_empty_list(self, _: Any) -> None:
        self.stack.append([])

    do_empty_set = do_empty_list

    def do_empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def do_proto(self, _: Any) -> None:
        """Says nothing about the value."""

    do_frame = do_readonly_buffer = do_stop = do_proto

    def _import(self, module: str, name: str) -> None:
        found = Global(module, name)
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
        taken = self.stack[at:]
        del self.stack[at:]
        return taken

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def do_mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def do_pop(self, _: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self._pop(1)

    def do_pop_mark(self, _: Any) -> None:
        self._marked()

    def do_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def do_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._marked()))

    def do_tuple1(self, _: Any, count: int = 1) -> None:
        self.stack.append(tuple(self._pop(count)))

    do_empty_tuple, do_tuple2 = partial(do_tuple1, count=0), partial(do_tuple1, count=2)
    do_tuple3 = partial(do_tuple1, count=3)

    def do_list(self, _: Any) -> None:
        self.stack.append(self._marked())

    def do_frozenset(self, _: Any) -> None:
        self.stack.append(tuple(self._marked()))

    def do_dict(self, _: Any) -> None:
        self.stack.append(_paired(self._marked()))

    def do_append(self, _: Any) -> None:
        value = self._pop(1)
        _values(self.stack[-1]).extend(value)

    def do_appends(self, _: Any) -> None:
        values = self._marked()
        _values(self.stack[-1]).extend(values)

    do_additems = do_appends

    def do_setitem(self, _: Any) -> None:
        pair = self._pop(2)
        _items(self.stack[-1]).update(_paired(pair))

    def do_setitems(self, _: Any) -> None:
        pairs = self._marked()
        _items(self.stack[-1]).update(_paired(pairs))

    def do_global(self, argument: tuple[str, str]) -> None:
        self._import(*argument)

    def do_stack_global(self, _: Any) -> None:
        module, name = self._pop(2)
        known = isinstance(module, str) and isinstance(name, str)
        self._import(*((module, name) if known else ("a name made while it runs", "?")))

    def do_inst(self, argument: tuple[str, str]) -> None:
        args = tuple(self._marked())
        self.do_global(argument)
        self.stack.append(Made(self.stack.pop(), args))

    def do_obj(self, _: Any) -> None:
        callee, *args = self._marked()
        self.stack.append(Made(callee, tuple(args)))

    def do_reduce(self, _: Any) -> None:
        callee, args = self._pop(2)
        text = args[0] if isinstance(args, tuple) and args and callee == _ENCODE else None
        if isinstance(text, str) and text[:1] == "\x80" and id(text) not in self.looked:
            self.looked.add(id(text))  # it stays in the memo, and may be used a million times
            self._look_into(text.encode("latin-1", "replace"))  # how the older protocols write bytes
        self.stack.append(Made(callee, args if isinstance(args, tuple) else (args,)))

    do_newobj = do_reduce

    def do_newobj_ex(self, _: Any) -> None:
        callee, args, named = self._pop(3)
        self.stack.append(Made(callee, (*args, named) if isinstance(args, tuple) else (args, named)))

    def do_build(self, _: Any) -> None:
        (state,) = self._pop(1)
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def do_persid(self, argument: Any) -> None:
        self.stack.append(Persistent(argument))

    do_next_buffer = do_persid

    def do_binpersid(self, _: Any) -> None:
        self.stack.append(Persistent(*self._pop(1)))


_ACTS = {name.removeprefix("do_").upper(): act for name, act in vars(_Machine).items() if name.startswith("do_")}


def _values(owner: Any) -> list[Any]:
    return owner.values if isinstance(owner, Made) else owner if isinstance(owner, list) else []


def _items(owner: Any) -> dict[Any, Any]:
    return owner.items if isinstance(owner, Made) else owner if isinstance(owner, dict) else {}


def _paired(flat: list[Any]) -> dict[Any, Any]:
    """Keys and values in turn; a key that a dictionary cannot have is left out with its value."""
    found = {}
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        if isinstance(key, str | int | float | bool | Global | None):
            found[key] = value
    return found
