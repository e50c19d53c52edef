"""Pickles read opcode by opcode: their values are rebuilt, and nothing is imported, called or unpickled.

This is the only interpreter of pickles, and `pickle` is not used. It knows the opcodes of plain data. The caller
defines what names, calls and states stand for; any other opcode refuses the whole pickle.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

_VALUES = (
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "STRING", "BINUNICODE8",
)  # fmt: skip


@dataclass
class Machine:
    """The state of the interpreter.

    Attributes:
        stack: the values so far.
        marks: positions of MARKs on the stack.
        memo: values that are used again; a dict, so that a large index takes no memory.
    """

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def popped(self, count: int) -> list[Any]:
        """Remove the last `count` values from the stack and return them.

        Raises:
            ValueError: there are fewer.
        """
        start = len(self.stack) - count
        if not 0 <= start <= len(self.stack):
            raise ValueError("the stack holds too few values")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def marked(self) -> list[Any]:
        """Remove the values since the last mark from the stack and return them."""
        return self.popped(len(self.stack) - self.marks.pop())


Step = Callable[[Machine, Any], None]  # executes an opcode with its argument


@dataclass(frozen=True)
class Meaning:
    """What a pickle may hold.

    Attributes:
        named: (module, name) -> what stands for this class or function; raises for a name that is not allowed.
        called: (what `named` returned, arguments) -> what stands for the result of the call.
        built: (what `called` returned, state) sets its state.
        refused: the error for an unknown opcode, by its name; for the name "", the error for too many opcodes.
        most_instructions: maximum number of opcodes; each adds at most one value.
        steps: opcodes that are executed differently, or in addition. One that adds many values limits them itself.
    """

    named: Callable[[Any, Any], Any]
    called: Callable[[Any, Any], Any]
    built: Callable[[Any, Any], None]
    refused: Callable[[str], Exception]
    most_instructions: int
    steps: Mapping[str, Step] = field(default_factory=dict)


def interpret(stream: BinaryIO, meaning: Meaning) -> Any:
    """The value of the pickle at the stream's position; the stream is then at the pickle's end.

    Raises:
        ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError: the pickle is damaged.
        Exception: what `meaning` raises.
    """
    machine, most = Machine(), meaning.most_instructions
    steps = _steps(machine, meaning)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if count > most:
            raise meaning.refused("")
        step = steps.get(opcode.name)
        if step is None:
            raise meaning.refused(opcode.name)
        step(argument)
    if len(machine.stack) != 1 or machine.marks:
        raise ValueError("a whole pickle leaves one value")
    return machine.stack[0]


def _steps(machine: Machine, meaning: Meaning) -> dict[str, Callable[[Any], None]]:
    stack, memo, popped, marked = machine.stack, machine.memo, machine.popped, machine.marked
    push = stack.append

    def append(items: list[Any]) -> None:
        if type(stack[-1]) is not list:
            raise ValueError("APPEND to something other than a list")
        stack[-1].extend(items)

    def put(index: int | None) -> None:
        memo[len(memo) if index is None else index] = stack[-1]

    def build(_: Any) -> None:
        (state,) = popped(1)
        meaning.built(stack[-1], state)

    return {
        **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda _: None),
        **dict.fromkeys(_VALUES, push),
        "NONE": lambda _: push(None),
        "NEWTRUE": lambda _: push(True),
        "NEWFALSE": lambda _: push(False),
        **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), put),
        **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda index: push(memo[index])),
        "MARK": lambda _: machine.marks.append(len(stack)),
        "TUPLE": lambda _: push(tuple(marked())),
        "EMPTY_TUPLE": lambda _: push(()),
        "TUPLE1": lambda _: push(tuple(popped(1))),
        "TUPLE2": lambda _: push(tuple(popped(2))),
        "TUPLE3": lambda _: push(tuple(popped(3))),
        "EMPTY_LIST": lambda _: push([]),
        "LIST": lambda _: push(marked()),
        "APPEND": lambda _: append(popped(1)),
        "APPENDS": lambda _: append(marked()),
        "GLOBAL": lambda both: push(meaning.named(*both.split(" "))),
        "STACK_GLOBAL": lambda _: push(meaning.named(*popped(2))),
        "REDUCE": lambda _: push(meaning.called(*popped(2))),
        "BUILD": build,
        **{name: partial(step, machine) for name, step in meaning.steps.items()},
    }
