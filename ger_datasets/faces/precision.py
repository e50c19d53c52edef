"""Exact float32 on GPUs, whose convolutions and matrix products otherwise round to TF32's ten bits."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

_lock = threading.Lock()
_inside = 0  # threads that are within a block; the first one sets the switches, the last one puts them back
_switches = contextlib.ExitStack()


@contextlib.contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Within the block a CUDA device computes float32 as float32; afterwards PyTorch's switches are what they were.

    With TF32, which is PyTorch's default in convolutions, scores differ by a thousandth between devices and batch
    sizes, and faces of nearly equal scores change places. On a CPU this does nothing.
    """
    global _inside
    if device.type != "cuda":
        yield
        return
    with _lock:
        if not _inside:
            _switches.enter_context(_exact())
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _switches.close()


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    convolutions = torch.backends.cudnn
    try:
        before = convolutions.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:  # they cannot be read once fp32_precision, which PyTorch 2.9 brought, was set
        with _exact_by_fp32_precision():
            yield
        return
    try:
        convolutions.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        yield
    finally:
        convolutions.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


@contextlib.contextmanager
def _exact_by_fp32_precision() -> Iterator[None]:
    places: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
