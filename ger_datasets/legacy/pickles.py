"""Pickles read opcode by opcode: what they hold is put together, and nothing is imported, called or built.

`pickle` is not used. The opcodes that data is made of are interpreted here, of protocols 2 to 4; what names, calls and
states stand for, the caller says, and whatever else stands there refuses the whole.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

_VALUES = (
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING",
)  # fmt: skip


@dataclass
class Machine:
    """What the opcodes work on.

    Attributes:
        stack: the values so far.
        marks: where on the stack a MARK was.
        memo: values that are used again; a dict, so that a large index takes no memory.
    """

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def popped(self, count: int) -> list[Any]:
        """The last `count` values, taken off the stack.

        Raises:
            ValueError: there are less.
        """
        start = len(self.stack) - count
        if not 0 <= start <= len(self.stack):
            raise ValueError("the stack holds less than is taken from it")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def marked(self) -> list[Any]:
        """The values since the last mark, taken off the stack."""
        return self.popped(len(self.stack) - self.marks.pop())


Step = Callable[[Machine, Any], None]  # does an opcode with its argument


@dataclass(frozen=True)
class Meaning:
    """What a pickle may hold.

    Attributes:
        named: what the class or function of a module (first) and a name (second) stands for; refuses all others.
        called: what a call of what is `named` with these arguments stands for.
        built: gives what `called` returned its state.
        refused: the error for an opcode that is not known, by its name, or, for "", for a pickle that is too large.
        most_instructions: so many are read; each adds one value at the most.
        steps: opcodes that are done otherwise than here, or in addition. One that adds many values bounds them itself.
    """

    named: Callable[[Any, Any], Any]
    called: Callable[[Any, Any], Any]
    built: Callable[[Any, Any], None]
    refused: Callable[[str], Exception]
    most_instructions: int
    steps: Mapping[str, Step] = field(default_factory=dict)


def interpret(stream: BinaryIO, meaning: Meaning) -> Any:
    """What the pickle at the stream's position leaves; the stream is left behind its end.

    Raises:
        ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError: it is damaged.
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
        raise ValueError("one value is left by a whole pickle")
    return machine.stack[0]


def _steps(machine: Machine, meaning: Meaning) -> dict[str, Callable[[Any], None]]:
    stack, memo, popped, marked = machine.stack, machine.memo, machine.popped, machine.marked
    push = stack.append

    def append(items: list[Any]) -> None:
        if type(stack[-1]) is not list:
            raise ValueError("APPEND to a value that is not a list")
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
        **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), put),
        **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda index: push(memo[index])),
        "MARK": lambda _: machine.marks.append(len(stack)),
        "TUPLE": lambda _: push(tuple(marked())),
        "EMPTY_TUPLE": lambda _: push(()),
        "TUPLE1": lambda _: push(tuple(popped(1))),
        "TUPLE2": lambda _: push(tuple(popped(2))),
        "TUPLE3": lambda _: push(tuple(popped(3))),
        "EMPTY_LIST": lambda _: push([]),
        "APPEND": lambda _: append(popped(1)),
        "APPENDS": lambda _: append(marked()),
        "GLOBAL": lambda both: push(meaning.named(*both.split(" "))),
        "STACK_GLOBAL": lambda _: push(meaning.named(*popped(2))),
        "REDUCE": lambda _: push(meaning.called(*popped(2))),
        "BUILD": build,
        **{name: partial(step, machine) for name, step in meaning.steps.items()},
    }
