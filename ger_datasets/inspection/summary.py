"""What the page on a prepared dataset says: the counts and the pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..prepared import PreparedDataset
from .contact_sheet import Picture

UNLABELLED = "unlabelled"


@dataclass
class Inspection:
    """The content of the page.

    Attributes:
        dataset: the dataset.
        labels: the number of photos, by split and class name; `unlabelled` is the last class, if there are any.
        faces_per_photo: the number of photos, by the number of faces found.
        face_sides: the number of faces, by the side of the square as large as the box, whole pixels.
        skeletons: the photos that have a skeleton image.
        quarantined: what `quarantine.jsonl` holds: image_id, file, reason.
        sheet: pictures by class name.
    """

    dataset: PreparedDataset
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    faces_per_photo: Counter[int] = field(default_factory=Counter)
    face_sides: Counter[int] = field(default_factory=Counter)
    skeletons: int = 0
    quarantined: list[dict[str, str]] = field(default_factory=list)
    sheet: dict[str, list[Picture]] = field(default_factory=dict)

    @property
    def photos(self) -> int:
        """How many rows the dataset has."""
        return self.faces_per_photo.total()

    @property
    def faces(self) -> int:
        """How many faces were found in them."""
        return self.face_sides.total()

    @property
    def classes(self) -> dict[str, int]:
        """The photos of each class over all splits."""
        total = sum(self.labels.values(), Counter())
        names = [*self.dataset.class_names, *([UNLABELLED] if total[UNLABELLED] else [])]
        return {name: total[name] for name in names}
