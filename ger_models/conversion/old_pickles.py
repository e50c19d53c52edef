"""The pickles in PyTorch's checkpoints, interpreted opcode by opcode without unpickling."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

import torch
from torch import nn

from ger_datasets.legacy.pickles import Machine, Meaning, Step, interpret
from ger_datasets.support.errors import UserError

MAX_INSTRUCTIONS = 3_000_000  # DenseNet-161 takes about 70,000
MAX_NAMES = 20_000  # of modules and weights in one model; EfficientNet-B6 has about 2,000
MAX_PREFIX = 300  # characters of a module's full name
MAX_AXES = 8

NOTHING_RAN = "nothing in it was executed"


@dataclass
class Storage:
    """`numel` consecutive elements of `dtype` in the file, starting at element `start` of the storage `key`."""

    key: str
    dtype: torch.dtype
    numel: int
    start: int = 0


@dataclass
class StoredTensor:
    """A view of a storage. `offset` and `stride` count elements, not bytes, and stay inside it."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass
class StoredModule:
    """The content of a pickled `nn.Module`; its class is only a name and is never instantiated."""

    name: str
    state: dict[Any, Any] = field(default_factory=dict)


class _Ignored:
    """Stands for a value that is not a weight, such as a device or the coefficients of a margin."""


class _Call(enum.Enum):
    TENSOR = enum.auto()
    PARAMETER = enum.auto()
    DICT = enum.auto()
    SET = enum.auto()
    IGNORED = enum.auto()


@dataclass(frozen=True)
class _ModuleClass:
    name: str


# Every name in checkpoints, except the classes of modules and storages. Any other name refuses the file.
_CALLS = {
    "torch._utils._rebuild_tensor": _Call.TENSOR,
    "torch._utils._rebuild_tensor_v2": _Call.TENSOR,
    "torch._utils._rebuild_parameter": _Call.PARAMETER,
    "torch._utils._rebuild_parameter_with_state": _Call.PARAMETER,
    "collections.OrderedDict": _Call.DICT,
    "builtins.dict": _Call.DICT,
    "builtins.set": _Call.SET,
    "builtins.range": _Call.IGNORED,
    "builtins.bytearray": _Call.IGNORED,
    "_codecs.encode": _Call.IGNORED,  # bytes, as protocol 2 writes them
    "numpy.core.multiarray._reconstruct": _Call.IGNORED,
    "numpy._core.multiarray._reconstruct": _Call.IGNORED,
    "numpy.core.multiarray.scalar": _Call.IGNORED,
    "numpy._core.multiarray.scalar": _Call.IGNORED,
    "numpy.ndarray": _Call.IGNORED,
    "numpy.dtype": _Call.IGNORED,
    "torch.Size": _Call.IGNORED,
    "torch.device": _Call.IGNORED,
    "torch.nn.backends.thnn._get_thnn_function_backend": _Call.IGNORED,  # held by every module before torch 1.2
    "efficientnet_pytorch.utils.GlobalParams": _Call.IGNORED,
    "efficientnet_pytorch.utils.BlockArgs": _Call.IGNORED,
}
_CALLS |= {f"__builtin__.{old}": _CALLS[f"builtins.{new}"] for old, new in (("set", "set"), ("xrange", "range"))}
_CALLS |= {f"torch.{name}": _Call.IGNORED for name in ("float32", "float16", "bfloat16", "float64", "int64")}

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_TORCH_MODULES = {name for name, made in vars(nn).items() if isinstance(made, type) and issubclass(made, nn.Module)}
_MODULES = {
    "torch.nn.parallel.data_parallel": {"DataParallel"},
    "torch.nn.parallel.distributed": {"DistributedDataParallel"},
    "torchvision.models.densenet": {"DenseNet", "_DenseBlock", "_DenseLayer", "_Transition"},
    "torchvision.models.resnet": {"ResNet", "BasicBlock", "Bottleneck"},
    "efficientnet_pytorch.model": {"EfficientNet", "MBConvBlock"},
    "efficientnet_pytorch.utils": {
        "Conv2dDynamicSamePadding",
        "Conv2dStaticSamePadding",
        "Identity",
        "MemoryEfficientSwish",
        "Swish",
    },
    # the original's scripts defined these themselves
    "__main__": {"sphere20a", "AngleLinear", "LSoftmaxLinear", "FaceAttention"},
    "net_sphere": {"sphere20a", "AngleLinear"},
}


def read_pickle(stream: BinaryIO, storages: dict[str, Storage] | None = None) -> Any:
    """The value of the pickle at the stream's position; the stream is then at the pickle's end.

    `pickle` is not used. The opcodes are interpreted (`ger_datasets/legacy/pickles.py`), and names are compared with a
    list: nothing is imported or called. Protocols 2 to 4 are read.

    Args:
        storages: every storage found is added here under its key.

    Returns:
        numbers, strings, lists, tuples and dicts, including StoredTensor, StoredModule and Storage; other allowed
        names become objects without content.

    Raises:
        UserError: a name that is not on the list, an instruction that checkpoints do not use, or damage. The message
            does not name the file.
    """
    persistent = partial(_add_persistent, {} if storages is None else storages)
    meaning = Meaning(
        _named,
        _called,
        _build,
        _refused,
        MAX_INSTRUCTIONS,
        {**_STEPS, "BINPERSID": persistent},
    )
    try:
        return interpret(stream, meaning)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"its pickle is damaged or cut short, and {NOTHING_RAN}") from error


def _refused(instruction: str) -> UserError:
    if not instruction:
        return UserError(f"its pickle has more than {MAX_INSTRUCTIONS:,} instructions, and {NOTHING_RAN}")
    return UserError(f"its pickle holds the instruction {instruction}, which no checkpoint uses, and {NOTHING_RAN}")


def _kind(value: Any, kind: type) -> Any:
    """`value`; TypeError if its type is another one, be it a subclass."""
    if type(value) is not kind:
        raise TypeError(f"no {kind.__name__}")
    return value


def _set_items(filled: Any, items: Iterator[tuple[Any, Any]]) -> None:
    for key, value in items:
        if isinstance(filled, _Ignored):
            continue
        if not isinstance(key, (str, int)):
            raise TypeError("keys are names or numbers")  # hashing a deep tuple would overflow the C stack
        _kind(filled, dict)[key] = value


def _fill(machine: Machine, items: list[Any]) -> None:
    _set_items(machine.stack[-1], zip(items[::2], items[1::2], strict=True))


def _add_items(machine: Machine, _: Any) -> None:
    items = machine.marked()
    _kind(machine.stack[-1], list).extend(items)


def _add_persistent(storages: dict[str, Storage], machine: Machine, _: Any) -> None:
    found = _persistent(*machine.popped(1))
    machine.stack.append(found)
    if isinstance(found, Storage):
        storages[found.key] = found


def _new_object(machine: Machine, _: Any) -> None:
    function, arguments = machine.popped(2)
    machine.stack.append(_made(function, arguments, new=True))


def _called(function: Any, arguments: Any) -> Any:
    return _made(function, arguments, new=False)


# opcodes of checkpoints that `pickles.py` does not know; a set of names becomes a list, which is only searched
_STEPS: dict[str, Step] = {
    "EMPTY_SET": lambda machine, _: machine.stack.append([]),
    "ADDITEMS": _add_items,
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "SETITEM": lambda machine, _: _fill(machine, machine.popped(2)),
    "SETITEMS": lambda machine, _: _fill(machine, machine.marked()),
    "NEWOBJ": _new_object,
}


def _named(module: Any, name: Any) -> Any:
    """What the class or function `module.name` stands for."""
    module, name = _kind(module, str), _kind(name, str)
    full = f"{module}.{name}"
    if full in _CALLS:
        return _CALLS[full]
    if module in ("torch", "torch.cuda") and name in _STORAGES:
        return _STORAGES[name]
    if name in _MODULES.get(module, ()) or (module.startswith("torch.nn.modules.") and name in _TORCH_MODULES):
        return _ModuleClass(full)
    shown = full[:80].encode("ascii", "backslashreplace").decode()
    raise UserError(
        f"it asks for {shown!r}, which is not on the list of what checkpoints are made of, and {NOTHING_RAN}; if you "
        "trust the file, load it where it was made, save model.state_dict() and convert that"
    )


def _made(function: Any, arguments: Any, new: bool) -> Any:
    """What stands for `function(*arguments)` or for a new object of the class `function`."""
    arguments = _kind(arguments, tuple)
    if isinstance(function, _ModuleClass) and new and not arguments:
        return StoredModule(function.name)
    if function is _Call.TENSOR and not new:
        return _tensor(*arguments[:4])
    if function is _Call.PARAMETER and not new:
        return _kind(arguments[0], StoredTensor)
    if function is _Call.DICT and len(arguments) <= 1:
        made: dict[Any, Any] = {}
        pairs = _kind(arguments[0], list) if arguments else []  # Python 2 lists them
        _set_items(made, ((key, value) for key, value in pairs))
        pairs.clear()  # so that no list is copied twice
        return made
    if function is _Call.SET and len(arguments) <= 1:
        return _kind(arguments[0], list) if arguments else []
    if function is _Call.IGNORED:
        return _Ignored()
    raise ValueError("an unknown call")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> StoredTensor:
    """A view, which must lie inside its storage and have no more elements than it."""
    storage, size, stride = _kind(storage, Storage), _kind(size, tuple), _kind(stride, tuple)
    counts = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > MAX_AXES or any(not _is_count(n) for n in counts):
        raise ValueError("an invalid shape")
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if math.prod(size) > storage.numel or (math.prod(size) and last >= storage.numel):
        raise UserError(f"a tensor of {size} reaches beyond its {storage.numel:,} elements: the file is damaged")
    return StoredTensor(storage, offset, size, stride)


def _is_count(n: Any) -> bool:
    return type(n) is int and 0 <= n < 2**40


def _persistent(identity: Any) -> Any:
    """A storage, or, before torch 1.6, a module's class with its source code, which is ignored."""
    kind, *rest = _kind(identity, tuple)
    if kind == "module" and len(rest) == 3 and isinstance(rest[0], _ModuleClass):
        return rest[0]
    if kind != "storage" or len(rest) not in (4, 5):
        raise ValueError("neither a storage nor a module")
    dtype, key, _, numel = rest[:4]
    view = rest[4] if len(rest) == 5 else None
    start, count = (0, numel) if view is None else (view[1], view[2])
    if any(not _is_count(n) for n in (numel, start, count)) or start + count > numel:
        raise ValueError("an invalid storage size")
    return Storage(_kind(key, str), _kind(dtype, torch.dtype), count, start)


def _build(built: Any, state: Any) -> None:
    """Set the state of a module; the states of other objects hold no weights."""
    if isinstance(built, StoredModule):
        built.state = _kind(state, dict)
    elif not isinstance(built, (_Ignored, dict)):
        raise ValueError("a state for an object without state")


def flattened(module: StoredModule) -> dict[str, StoredTensor]:
    """The parameters and persistent buffers of a module, named as its `state_dict()` names them.

    Raises:
        UserError: there are too many modules, as when one contains itself, or a module's content is invalid.
    """
    tensors: dict[str, StoredTensor] = {}
    waiting, seen = [("", module)], 0
    try:
        while waiting:
            prefix, stored = waiting.pop()
            seen += 1
            if seen + len(waiting) + len(tensors) > MAX_NAMES or len(prefix) > MAX_PREFIX:
                raise UserError(
                    f"it has more than {MAX_NAMES:,} modules and weights, or a module that contains itself: damaged"
                )
            state = _kind(stored, StoredModule).state
            non_persistent = state.get("_non_persistent_buffers_set") or ()
            for kind in ("_parameters", "_buffers"):
                for name, tensor in (state.get(kind) or {}).items():
                    if tensor is not None and not (kind == "_buffers" and name in non_persistent[:MAX_PREFIX]):
                        tensors[prefix + _kind(name, str)] = _kind(tensor, StoredTensor)
            children = (state.get("_modules") or {}).items()
            waiting += [(f"{prefix}{_kind(name, str)}.", child) for name, child in children if child is not None]
    except (AttributeError, TypeError) as error:
        raise UserError(f"a pickled {module.name} has invalid content: damaged, and {NOTHING_RAN}") from error
    return tensors
