"""Photos of one size, resized and cropped: by area, as facenet-pytorch does, or by Pillow, as the original did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import pairwise, starmap
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from PIL import Image

BITS = 21  # per colour in a packed sum
LARGEST_CELL = (2**BITS - 1) // 255  # pixels whose sum of one colour fits
TABLE_PIXELS = 100_000  # of a summed-area table that are filled at a time


class Photos(Protocol):
    """Photos of one height and width. `index` says which photo each box is in."""

    height: int
    width: int

    def level(self, height: int, width: int, top: int, bottom: int) -> torch.Tensor:
        """Rows `top` to `bottom` of the photos at `height` x `width`: float32 (photos, 3, rows, width), 0 to 255."""

    def crops(self, index: torch.Tensor, boxes: torch.Tensor, side: int) -> torch.Tensor:
        """Crops `boxes` (crops, 4) long, x1 y1 x2 y2, not empty, each at `side` x `side`: float32
        (crops, 3, side, side), 0 to 255."""


class AreaPhotos:
    """Area resampling from one summed-area table per photo; boxes must lie inside the photo.

    "Area" is PyTorch's `interpolate(mode="area")`: output pixel i of n averages the input pixels from
    floor(i·size/n) to ceil((i+1)·size/n), exclusive. A summed-area table gives each average from four reads,
    whatever the cell's size.

    Red, green and blue share one 64-bit number, 21 bits each: red + 2**21 green + 2**42 blue. The table's own entries
    run over, but only differences are used, and those are exact as long as each colour's sum over a cell fits into
    its bits: cells of up to 8,224 pixels. Larger ones are summed in parts.
    """

    def __init__(self, photos: Sequence[np.ndarray], device: torch.device | str = "cpu") -> None:
        """`photos`: (height, width, 3) uint8 each."""
        self.height, self.width, _ = photos[0].shape
        self.tables = torch.zeros((len(photos), self.height + 1, self.width + 1), dtype=torch.int64, device=device)
        if self.tables.device.type == "cpu":
            rows = max(1, TABLE_PIXELS // self.width)  # at a time, so that nothing else of the table's size is made
            for table, photo in zip(self.tables, photos, strict=True):
                _sum_up(table[None], torch.from_numpy(photo)[None], rows)
        else:
            _sum_up(self.tables, _moved(photos, self.tables.device), self.height)

    def level(self, height: int, width: int, top: int, bottom: int) -> torch.Tensor:
        """As `Photos.level`: float32 (photos, 3, rows, width)."""
        device = self.tables.device
        y1, y2 = _cells(0, self.height, height, torch.arange(top, bottom, device=device))
        x1, x2 = _cells(0, self.width, width, torch.arange(width, device=device))
        means = 1.0 / (y2 - y1).float()[:, None] * (1.0 / (x2 - x1).float())[None, :]

        def part(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
            rows = self.tables.index_select(1, below) - self.tables.index_select(1, above)
            return _unpacked(_columns(rows, x2) - _columns(rows, x1), means)

        most = self.height // height + 2, self.width // width + 2
        return reduce(torch.add, starmap(part, _parts(y1, y2, x1, x2, most)))

    def crops(self, index: torch.Tensor, boxes: torch.Tensor, side: int) -> torch.Tensor:
        """As `Photos.crops`: float32 (crops, 3, side, side)."""
        flat, (_, height, stride) = self.tables.view(-1), self.tables.shape
        whole = torch.int32 if len(flat) < 2**31 else torch.int64  # the smaller, the faster
        left, top, right, bottom = boxes.to(whole)[:, :, None].unbind(1)  # (crops, 1) each
        i = torch.arange(side, dtype=whole, device=boxes.device)
        y1, y2 = _cells(top, bottom - top, side, i)  # (crops, side) each
        x1, x2 = _cells(left, right - left, side, i)
        means = (1.0 / (y2 - y1).float())[:, :, None] * (1.0 / (x2 - x1).float())[:, None, :]
        base, columns = index.to(whole)[:, None] * (height * stride), torch.cat([x1, x2], 1)[:, None, :]

        def read(y: torch.Tensor) -> torch.Tensor:
            return flat.index_select(0, ((base + y * stride)[:, :, None] + columns).view(-1))

        def part(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
            rows = read(below).sub_(read(above)).view(-1, side, 2, side)
            return _unpacked(rows[:, :, 1] - rows[:, :, 0], means)

        most = self.height // side + 2, self.width // side + 2
        return reduce(torch.add, starmap(part, _parts(y1, y2, x1, x2, most)))


class PillowPhotos:
    """Pillow's bilinear filter, on the CPU; what of a box lies outside the photo is black."""

    def __init__(self, photos: Sequence[np.ndarray], device: torch.device | str = "cpu") -> None:
        """`photos`: (height, width, 3) uint8 each."""
        self.height, self.width, _ = photos[0].shape
        self.images, self.device = [Image.fromarray(photo) for photo in photos], device
        self._resized: tuple[int, int, list[np.ndarray]] = (0, 0, [])

    def level(self, height: int, width: int, top: int, bottom: int) -> torch.Tensor:
        """As `Photos.level`: float32 (photos, 3, rows, width)."""
        if self._resized[:2] != (width, height):  # strips of one level come one after the other
            resized = [image.resize((width, height), Image.Resampling.BILINEAR) for image in self.images]
            self._resized = (width, height, [np.asarray(image) for image in resized])
        return self._tensor([image[top:bottom] for image in self._resized[2]])

    def crops(self, index: torch.Tensor, boxes: torch.Tensor, side: int) -> torch.Tensor:
        """As `Photos.crops`: float32 (crops, 3, side, side)."""
        cut = (self.images[i].crop(tuple(box)) for i, box in zip(index.tolist(), boxes.tolist(), strict=True))
        return self._tensor([np.asarray(crop.resize((side, side), Image.Resampling.BILINEAR)) for crop in cut])

    def _tensor(self, arrays: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self.device).permute(0, 3, 1, 2).float()


RESAMPLERS: Mapping[str, Callable[[Sequence[np.ndarray], torch.device | str], Photos]] = MappingProxyType(
    {"area": AreaPhotos, "bilinear": PillowPhotos}
)


def _cells(
    start: torch.Tensor | int, length: torch.Tensor | int, count: int, i: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """First and one-past-last input index of the output pixels `i` out of `count`."""
    return start + i * length // count, start + ((i + 1) * length + count - 1) // count


def _moved(photos: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """(photos, height, width, 3) uint8 on `device`; CUDA is not waited for."""
    pixels = torch.empty((len(photos), *photos[0].shape), dtype=torch.uint8, device=device)
    for place, photo in zip(pixels, photos, strict=True):
        place.copy_(torch.from_numpy(photo), non_blocking=device.type == "cuda")
    return pixels


def _sum_up(tables: torch.Tensor, pixels: torch.Tensor, rows: int) -> None:
    """Fill the summed-area tables (photos, height + 1, width + 1), zero so far, of pixels (photos, height, width, 3),
    so many rows at a time."""
    for top in range(0, pixels.shape[1], rows):
        block = tables[:, top + 1 : top + 1 + rows, 1:]
        part = pixels[:, top : top + rows]
        block.copy_(part[..., 2])
        for colour in (1, 0):
            block.bitwise_left_shift_(BITS).add_(part[..., colour])
        block.copy_(block.cumsum(2))
        block[:, 0] += tables[:, top, 1:]
        block.copy_(block.cumsum(1))


def _parts(
    y1: torch.Tensor, y2: torch.Tensor, x1: torch.Tensor, x2: torch.Tensor, most: tuple[int, int]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The rows y1 to y2 of cells, whose columns are x1 to x2, cut into parts of at most LARGEST_CELL pixels.

    Args:
        most: rows and columns that no cell has more of. Only where they are too many for one part the cells are looked
            at, for which an accelerator is waited for.
    """
    height, width = most
    if height * width > LARGEST_CELL:
        height, width = int((y2 - y1).max()), int((x2 - x1).max())
    count = -(-height // max(1, LARGEST_CELL // width))
    edges = [y1 + (y2 - y1) * part // count for part in range(count)] + [y2]
    return list(pairwise(edges))


def _columns(rows: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(photos, rows, columns) -> (photos, rows, len(x))"""
    return rows.gather(2, x.expand(*rows.shape[:2], -1))


def _unpacked(sums: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Packed sums (n, h, w) -> the three colours' sums times `factor`, float32 (n, 3, h, w)."""
    colours = torch.empty((len(sums), 3, *sums.shape[1:]), device=sums.device)
    mask = 2**BITS - 1
    colours[:, 0] = sums & mask
    colours[:, 1] = (sums >> BITS) & mask
    colours[:, 2] = sums >> 2 * BITS
    return colours.mul_(factor.unsqueeze(-3))
