"""Area resampling of a photo and of many crops of it, from one summed-area table.

"Area" is PyTorch's `interpolate(mode="area")`: output pixel i of n averages the input pixels from floor(i·size/n) to
ceil((i+1)·size/n), exclusive. A summed-area table gives each average from four reads, whatever the crop's size.
"""

from __future__ import annotations

import numpy as np
import torch


def _cells(start: torch.Tensor, length: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First and one-past-last input index of each of `count` output pixels; (crops,) -> two (crops, count)."""
    i = torch.arange(count, device=start.device)
    first = start[:, None] + i * length[:, None] // count
    last = start[:, None] + ((i + 1) * length[:, None] + count - 1) // count
    return first, last


class SummedAreaTable:
    """The summed-area table of one photo.

    Sums are int32 and may wrap around: only differences are ever used, and those of one output pixel stay far below
    2**31 for every photo of fewer than 100 million pixels that is resampled to 12 pixels or more per side.
    """

    def __init__(self, pixels: np.ndarray, device: torch.device | str = "cpu") -> None:
        """`pixels`: (height, width, 3) uint8."""
        self.height, self.width, channels = pixels.shape
        table = np.zeros((self.height + 1, self.width + 1, channels), np.int32)
        np.cumsum(pixels, axis=0, dtype=np.int32, out=table[1:, 1:])
        np.cumsum(table[1:, 1:], axis=1, dtype=np.int32, out=table[1:, 1:])
        self.table = torch.from_numpy(table).to(device)

    def resize(self, height: int, width: int) -> torch.Tensor:
        """The whole photo at `height` x `width`: float32 (1, 3, height, width), 0 to 255, channels last in memory."""
        zero = torch.zeros(1, dtype=torch.long, device=self.table.device)
        top, bottom = (edge[0] for edge in _cells(zero, zero + self.height, height))
        left, right = (edge[0] for edge in _cells(zero, zero + self.width, width))
        rows = self.table[bottom] - self.table[top]
        sums = (rows[:, right] - rows[:, left]).float()  # (height, width, 3)
        sums *= (1.0 / (bottom - top).float())[:, None, None] * (1.0 / (right - left).float())[None, :, None]
        return sums.permute(2, 0, 1)[None]

    def crops(self, boxes: torch.Tensor, side: int) -> torch.Tensor:
        """Crops `boxes` (crops, 4) long, x1 y1 x2 y2 inside the photo and not empty, each at `side` x `side`.

        Returns float32 (crops, 3, side, side), 0 to 255, channels last in memory.
        """
        left, top, right, bottom = boxes.unbind(1)
        y1, y2 = _cells(top, bottom - top, side)
        x1, x2 = _cells(left, right - left, side)
        flat, stride = self.table.view(-1, self.table.shape[2]), self.table.shape[1]

        def corner(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return flat.index_select(0, (y[:, :, None] * stride + x[:, None, :]).reshape(-1))

        sums = (corner(y2, x2) - corner(y1, x2) - corner(y2, x1) + corner(y1, x1)).float()
        sums = sums.view(len(boxes), side, side, -1)
        sums *= (1.0 / ((y2 - y1).float()[:, :, None] * (x2 - x1).float()[:, None, :]))[..., None]
        return sums.permute(0, 3, 1, 2)
