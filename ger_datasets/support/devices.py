"""The value of `--device` -> the device of this process."""

from __future__ import annotations

import torch
from accelerate import PartialState

from .errors import UserError


def choose_device(text: str, state: PartialState) -> str:
    """`auto` and `cuda` -> the device of this process: the processes of one machine are distributed over its GPUs.

    Raises:
        UserError: there is no such device, or no GPU on this machine.
    """
    gpus = torch.cuda.device_count()
    if text == "auto":
        text = "cuda" if gpus else "cpu"
    if text.startswith("cuda") and not gpus:
        raise UserError(f"--device {text}: this machine has no GPU that PyTorch can use; leave the option out")
    try:
        device = torch.device("cuda", state.local_process_index % gpus) if text == "cuda" else torch.device(text)
    except RuntimeError as error:
        raise UserError(f"--device must be auto, cpu, cuda or cuda:N, not {text!r}") from error
    if device.type == "cuda" and device.index >= gpus:
        raise UserError(f"--device {text}: this machine has the GPUs cuda:0 to cuda:{gpus - 1}")
    return str(device)
