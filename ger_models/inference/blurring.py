"""Faces -> unrecognisable, in pictures that are shown to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image, ImageFilter

from .answers import Answer

CELLS = 6  # a face is reduced to as many squares along its longer side; nothing can restore what they average
MARGIN = 0.15  # of the box's width and height, on each side: hair, ears and chin


def blur_faces(
    image: Image.Image, boxes_xyxy: Sequence[Sequence[float]], scores: Sequence[float], min_face_score: float = 0.0
) -> Image.Image:
    """A copy of the photo in which the faces are pixelated and then blurred; the original cannot be restored from it.

    Args:
        image: the photo, RGB.
        boxes_xyxy: x1 y1 x2 y2 of each face, pixels.
        scores: of each face, how sure the detector is.
        min_face_score: faces of a lower score are left as they are. Default: all are blurred, because the detector is
            unsure of many small faces.
    """
    blurred = image.copy()
    for (left, top, right, bottom), score in zip(boxes_xyxy, scores, strict=True):
        if score < min_face_score:
            continue
        across, down = MARGIN * (right - left), MARGIN * (bottom - top)
        place = (
            max(0, int(left - across)),
            max(0, int(top - down)),
            min(image.width, int(right + across) + 1),
            min(image.height, int(bottom + down) + 1),
        )
        if place[0] < place[2] and place[1] < place[3]:
            blurred.paste(_unrecognisable(blurred.crop(place)), place)
    return blurred


def _unrecognisable(face: Image.Image) -> Image.Image:
    cell = max(face.size) / CELLS
    cells = max(1, round(face.width / cell)), max(1, round(face.height / cell))
    squares = face.resize(cells, Image.Resampling.BOX).resize(face.size, Image.Resampling.NEAREST)
    return squares.filter(ImageFilter.GaussianBlur(cell / 3))


def without_faces(answer: Answer) -> Answer:
    """The answer with all faces in its photo blurred."""
    if answer.image is None:
        return answer
    faces = answer.result["faces"]
    image = blur_faces(answer.image, [face["box"] for face in faces], [face["score"] for face in faces])
    return replace(answer, image=image)
