"""Photos that look the same in two splits, found by perceptual hash: such pairs make a test easier than it claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

GREY_SIDE = 32  # pixels of the grey thumbnail; with BITS_SIDE as in pHash (see `perceptual_hash`)
BITS_SIDE = 8
MIN_CONTRAST = 1.0  # grey levels (of 255, root mean square); see `perceptual_hash`
MAX_DISTANCE = 6  # bits; see `perceptual_hash` for what it finds and what it misses
ROWS_AT_ONCE = 128  # against all others: 9 MB of products for 17,000 photos


def perceptual_hash(image: Image.Image) -> int | None:
    """64 bits that stay nearly the same when a photo is compressed, resized or brightened; None if it shows nothing.

    The photo is made grey and 32 x 32 (area-averaged, whatever its shape); of its two-dimensional DCT-II the
    coefficients of 1 to 8 half-waves in both directions are kept (the first row and column, which hold brightness and
    plain gradients, are not); each bit says whether its coefficient lies above their median. This is pHash (C. Zauner,
    Implementation and Benchmarking of Perceptual Image Hash Functions, 2010). 32 bits are set, so distances are even.

    Plain colours and gradients have no such structure: their bits would be noise, or the same for all, so they have no
    hash. The contrast left in these coefficients is at least 8.5 grey levels in 1,380 real photos, 0.4 in white noise.

    Bits that differ, at most, in 100 drawn photos / 6 real group photos / 240 collages of faces / 260 portraits:

    | the same photo | drawn | group | collage | portrait | with 6 bits or fewer |
    |---|---|---|---|---|---|
    | as JPEG of quality 50 | 2 | 0 | 2 | 4 | all |
    | at half the size | 2 | 2 | 2 | 4 | all |
    | brightness x 1.3 | 6 | 2 | 8 | 10 | 98 to 100 % |
    | 1 % cut off each side | 6 | 6 | 8 | 8 | 98 to 100 % |
    | 2 % cut off each side | 10 | 10 | 14 | 14 | 60 to 91 % |
    | different photos, at least | 16 | 22 | 12 | 8 | none of 976,896 pairs |

    So 6 finds copies and misses some crops; 8 would find 85 to 98 % of the crops, and take 4 of 943,251 pairs of
    different, though alike posed, portraits for the same.

    Args:
        image: RGB, any size.
    """
    import scipy.fft  # here: builders import this module, and only some compare photos

    # reducing_gap averages whole blocks first: 0.9 ms instead of 1.6 for a megapixel, at most two bits changed
    small = image.convert("L").resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    spectrum = scipy.fft.dctn(np.asarray(small, dtype=np.float64), norm="ortho")
    low = spectrum[1 : BITS_SIDE + 1, 1 : BITS_SIDE + 1]  # (8, 8)
    if np.sqrt((low**2).sum()) / GREY_SIDE < MIN_CONTRAST:
        return None
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def near_duplicates(hashes: np.ndarray, splits: Sequence[str], max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """The pairs of photos in different splits whose hashes differ in at most `max_distance` bits.

    Every pair is compared; 17,000 photos take about a second on one core.

    Args:
        hashes: (photos,) uint64.
        splits: the split of each photo.
        max_distance: bits, 0 to 64.

    Returns:
        (pairs, 2) int64: places in `hashes`, the smaller first; sorted.

    >>> near_duplicates(np.array([0b1111, 0b1110, 0b1111], np.uint64), ["train", "test", "train"], max_distance=1)
    array([[0, 1],
           [1, 2]])
    """
    return np.concatenate([np.empty((0, 2), np.int64), *_pairs(hashes, splits, max_distance)])


def duplicate_summary(
    image_ids: Sequence[str],
    hashes: Sequence[int | None],
    splits: Sequence[str],
    max_distance: int = MAX_DISTANCE,
    examples: int = 10,
) -> dict[str, Any]:
    """How many photos look the same as one in another split.

    Args:
        image_ids: of all photos, in any order: the answer is the same.
        hashes: their hashes; photos without one (None) are like no other.
        splits: their splits.
        max_distance: bits that may differ.
        examples: at most so many pairs are named.

    Returns:
        `pairs` (int), `photos` (int: how many stand in a pair) and `examples` (list of two image_ids each: the first
        pairs in alphabetical order).
    """
    rows = sorted(row for row in zip(image_ids, hashes, splits, strict=True) if row[1] is not None)
    pairs = 0
    named: list[tuple[str, str]] = []
    paired = np.zeros(len(rows), bool)
    # chunk by chunk: a thousand copies of one photo in each of two splits are a million pairs
    for chunk in _pairs(np.array([row[1] for row in rows], np.uint64), [row[2] for row in rows], max_distance):
        pairs += len(chunk)
        paired[chunk] = True
        named += [(rows[i][0], rows[j][0]) for i, j in chunk[: examples - len(named)]]
    return {"pairs": pairs, "photos": int(paired.sum()), "examples": named}


def _pairs(hashes: np.ndarray, splits: Sequence[str], max_distance: int) -> Iterator[np.ndarray]:
    """The pairs that `near_duplicates` returns, (pairs, 2) at a time, in order."""
    if not len(hashes):
        return
    codes = np.unique(np.asarray(splits), return_inverse=True)[1]
    octets = np.ascontiguousarray(hashes, dtype=np.uint64).view(np.uint8).reshape(-1, 8)
    # as +1 and -1 the bits' scalar product is 64 - 2 * distance: exact in float32, and a matrix product is the fastest
    # way to compare all with all that every numpy has
    signs = np.unpackbits(octets, axis=1).astype(np.float32) * 2 - 1  # (photos, 64)
    for start in range(0, len(hashes), ROWS_AT_ONCE):
        products = signs[start : start + ROWS_AT_ONCE] @ signs[start:].T  # (rows, photos from start on)
        i, j = np.nonzero(products >= 64 - 2 * max_distance)
        across = (i < j) & (codes[start + i] != codes[start + j])
        yield np.stack([i[across], j[across]], axis=1) + start
