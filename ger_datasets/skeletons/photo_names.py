"""Which skeleton belongs to which photo, by the photo's path or, where nothing else has it, its name."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from ..photos.reading import SUFFIXES

logger = logging.getLogger(__name__)

Thing = TypeVar("Thing")


class PhotoNames(Generic[Thing]):
    """Finds the skeleton of a photo.

    Args:
        index: (folder relative to the raw folder, in lower case; the photo's name without suffix) -> skeleton.
        source_root: the raw folder.
        place: where the skeletons lie; photos in there are not counted.
    """

    def __init__(self, index: Mapping[tuple[str, str], Thing], source_root: Path, place: Path) -> None:
        self.index, self.source_root, self.place = index, source_root, place
        self._warned = False

    def find(self, photo: Path) -> Thing | None:
        """The skeleton of the photo at `photo`."""
        relative = os.path.relpath(photo, self.source_root)
        found = self.index.get((os.path.dirname(relative).lower(), photo.stem))
        if found is None and photo.stem in self._names:
            if self._names[photo.stem] is not None and self.photos[photo.stem] <= 1:
                found = self._names[photo.stem]
            elif not self._warned:
                self._warned = True
                logger.warning(
                    "%d names in %s stand for several photos or skeletons and are not used by name alone: "
                    "lay the skeletons out as the photos are, such as train/Negative/neg_1_keypoints.json",
                    sum(thing is None or self.photos[stem] > 1 for stem, thing in self._names.items()),
                    self.place,
                )
        return found

    @cached_property
    def _names(self) -> dict[str, Thing | None]:
        """Name -> its skeleton, or None where several have it."""
        names: dict[str, Thing | None] = {}
        for (_, stem), thing in self.index.items():
            names[stem] = None if stem in names else thing
        return names

    @cached_property
    def photos(self) -> Counter[str]:
        """Name -> how many photos of the raw folder have it; skeletons kept inside the raw folder do not count."""
        inside = os.path.join(os.path.relpath(self.place, self.source_root), "")
        return Counter(
            Path(name).stem
            for place, name in walk(self.source_root)
            if Path(name).suffix.lower() in SUFFIXES and not os.path.join(place, "").startswith(inside)
        )


def walk(folder: Path) -> Iterator[tuple[str, str]]:
    """(folder relative to `folder`, file name) of every file below it, sorted; links are followed, but not in circles.

    Hidden files and the folder that macOS adds to archives are left out. The relative folder of `folder` is empty.
    """
    visited = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(place))
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and name != "__MACOSX" and os.path.realpath(os.path.join(place, name)) not in visited
        )
        relative = os.path.relpath(place, folder)
        for name in sorted(names):
            if not name.startswith("."):
                yield "" if relative == "." else relative, name
