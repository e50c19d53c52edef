"""A checkpoint file of `torch.save` or safetensors -> its weights by name, without executing anything."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load

from ger_datasets.support.errors import UserError, listing, one_line

from .old_pickles import NOTHING_RAN, Storage, StoredModule, StoredTensor, flattened, read_pickle

MAX_BYTES = 4 << 30  # of a file; EfficientNet-B6 has 0.17 GB
MAX_PICKLE_BYTES = 64 << 20  # of the part without the weights; before torch 1.6 with the source code of modules
MAX_NAME = 300  # characters

# torch.save before 1.6: a pickled magic number, a pickled version, the machine, the content, the storages' keys
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_BIG_ENDIAN = "it was saved on a big-endian machine: load and save it on a little-endian one"
_STATE_DICTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")


@dataclass
class OldCheckpoint:
    """The weights of a file.

    Attributes:
        form: how they were stored, such as "a whole DataParallel".
        tensors: name -> weight, as in `state_dict()`.
        others: names of what the file holds besides weights, such as `epoch`.
    """

    form: str
    tensors: dict[str, torch.Tensor]
    others: list[str] = field(default_factory=list)


def read_checkpoint(path: str | Path) -> OldCheckpoint:
    """The weights in `path`: safetensors, or a file of `torch.save`, in its zip format or the one before torch 1.6.

    A file of `torch.save` may hold a state dict, alone or in a dict, or a whole model. It is not unpickled but
    interpreted by `old_pickles`, which refuses a file that names anything but known layers and tensors.

    Raises:
        UserError: no file, another format, damaged, too large, or with names that are not on the list.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise UserError("there is no such file")
        with open(path, "rb") as file:
            return _reader(file, path)(file, path.stat().st_size)
    except UserError as error:
        raise UserError(f"{path} cannot be converted: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {one_line(error)}") from error
    except Exception as error:  # zipfile and safetensors raise a dozen kinds on damaged bytes
        raise UserError(f"{path} cannot be read: damaged or cut short ({one_line(error)})") from error


def _reader(file: BinaryIO, path: Path) -> Callable[[BinaryIO, int], OldCheckpoint]:
    """The function that reads this format; the file stays at its beginning."""
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise UserError(f"it has {size:,} bytes; checkpoints of 1 to {MAX_BYTES:,} bytes are read")
    start = file.read(2)
    file.seek(0)
    if path.suffix == ".safetensors":
        return _read_safetensors
    if start == b"PK":
        return _read_zip
    if start[:1] == b"\x80":
        return _read_legacy
    raise UserError(
        "it is neither a .safetensors file nor one of torch.save (tar files of torch's first versions are not read)"
    )


def _read_safetensors(file: BinaryIO, size: int) -> OldCheckpoint:
    tensors = load(file.read())
    for name in tensors:
        _check_name(name)
    return OldCheckpoint("safetensors", tensors)


def _read_zip(file: BinaryIO, size: int) -> OldCheckpoint:
    with zipfile.ZipFile(file) as archive:
        found = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(found) != 1:
            raise UserError(
                f"it is a zip file with {listing(map(_shown, archive.namelist()), 3)}; torch.save writes a data.pkl"
            )
        folder = found[0].removesuffix("data.pkl")
        left = size  # no member is compressed or read twice, so together they cannot be larger than the file

        def member(name: str) -> bytes:
            nonlocal left
            info = archive.getinfo(folder + name)
            left -= info.file_size
            if info.compress_type != zipfile.ZIP_STORED or left < 0:
                raise UserError(f"its member '{_shown(name)}' is compressed or larger than the file: damaged")
            return archive.read(info)

        if f"{folder}byteorder" in archive.namelist() and member("byteorder") != b"little":
            raise UserError(_BIG_ENDIAN)
        if archive.getinfo(found[0]).file_size > MAX_PICKLE_BYTES:
            raise UserError(f"its pickle has more than {MAX_PICKLE_BYTES:,} bytes: not a model")
        content = read_pickle(io.BytesIO(member("data.pkl")))
        return _weights(content, lambda storage: member(f"data/{storage.key}"))


def _read_legacy(file: BinaryIO, size: int) -> OldCheckpoint:
    head = io.BytesIO(file.read(min(size, MAX_PICKLE_BYTES)))
    if read_pickle(head) != _LEGACY_MAGIC or read_pickle(head) != _LEGACY_VERSION:
        raise UserError(f"it is a pickle, but not one of torch.save's, and {NOTHING_RAN}")
    machine = read_pickle(head)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise UserError(_BIG_ENDIAN)
    storages: dict[str, Storage] = {}
    content, keys = read_pickle(head, storages), read_pickle(head)
    sizes = {key: storage.dtype.itemsize for key, storage in storages.items()}
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in sizes for key in keys):
        raise UserError("it lists storages that its tensors do not use: damaged")
    position, places = head.tell(), {}
    for key in keys:  # of each storage the count of its elements, then the elements
        file.seek(position)
        length = int.from_bytes(file.read(8), "little") * sizes[key]
        places[key] = (position + 8, length)
        position += 8 + length
        if position > size:
            raise UserError("it is cut short: its storages reach beyond its end")

    def content_of(storage: Storage) -> bytes:
        start, length = places[storage.key]
        file.seek(start)
        return file.read(length)

    return _weights(content, content_of)


def _found(content: Any) -> tuple[str, Mapping[Any, Any], list[str]]:
    """How the weights are stored, name -> weight, and the names of what the file holds besides."""
    if isinstance(content, StoredModule):
        return f"a whole {content.name.rpartition('.')[2]}", flattened(content), []
    if isinstance(content, dict):
        for key in _STATE_DICTS:
            if isinstance(content.get(key), (dict, StoredModule)):
                form, tensors, others = _found(content[key])
                others = [*others, *(_shown(name) for name in content if name != key)]
                return f"{form} under {key!r}", tensors, others
        tensors = {name: value for name, value in content.items() if isinstance(value, StoredTensor)}
        if tensors and all(isinstance(name, str) for name in tensors):
            return "a state dict", tensors, [_shown(name) for name in content if name not in tensors]
    held = f"a dict with {listing(map(_shown, content), 5)}" if isinstance(content, dict) else "something else"
    raise UserError(f"it holds no weights: neither a model nor a dict of tensors, but {held}")


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME or not name.isprintable():
        raise UserError(f"a weight in it is called '{_shown(name)}': damaged")


def _shown(name: object) -> str:
    return ascii(str(name)[:60])[1:-1]


def _weights(content: Any, read: Callable[[Storage], bytes]) -> OldCheckpoint:
    """The tensors that `content` describes; `read` gives the bytes of a whole storage."""
    form, stored, others = _found(content)
    contents: dict[str, torch.Tensor] = {}  # key of a storage -> its bytes
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in stored.items():
        _check_name(name)
        storage = tensor.storage
        if storage.key not in contents:
            contents[storage.key] = torch.frombuffer(bytearray(read(storage)) or bytearray(1), dtype=torch.uint8)
        start, length = storage.start * storage.dtype.itemsize, storage.numel * storage.dtype.itemsize
        raw = contents[storage.key][start : start + length]
        if storage.numel == 0:
            tensors[name] = torch.empty(tensor.size, dtype=storage.dtype)
            continue
        if len(raw) != length:
            raise UserError(f"{name!r} has {len(raw):,} bytes instead of {length:,}: damaged")
        offset = storage.start + tensor.offset  # as_strided counts from the beginning of the storage, not of the slice
        tensors[name] = raw.view(storage.dtype).as_strided(tensor.size, tensor.stride, offset)
    return OldCheckpoint(form, tensors, others)
