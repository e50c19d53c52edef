"""Sampled patches: four fixed pieces of a photo that stand in for faces where none is found."""

from __future__ import annotations

from PIL import Image

# The original cut 112 x 96 pixels about the quarter points of frames of 1920 x 1080.
PATCH_WIDTH, PATCH_HEIGHT = 112, 96
FRAME_WIDTH, FRAME_HEIGHT = 1920, 1080


def sample_patches(image: Image.Image) -> list[Image.Image]:
    """Four patches, 112 wide x 96 high, about the points (1/4, 1/4), (3/4, 1/4), (1/4, 3/4), (3/4, 3/4) of `image`.

    What a patch covers keeps the original's share of the frame, 112/1920 of the width by 96/1080 of the height, so
    that photos of any size and shape are sampled alike.
    """
    half_width = image.width * PATCH_WIDTH / FRAME_WIDTH / 2
    half_height = image.height * PATCH_HEIGHT / FRAME_HEIGHT / 2
    patches = []
    for y in (image.height / 4, image.height * 3 / 4):
        for x in (image.width / 4, image.width * 3 / 4):
            box = (x - half_width, y - half_height, x + half_width, y + half_height)
            patches.append(image.resize((PATCH_WIDTH, PATCH_HEIGHT), Image.Resampling.BILINEAR, box=box))
    return patches
