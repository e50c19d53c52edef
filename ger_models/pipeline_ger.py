"""Photos from outside -> rows as a prepared dataset has them, faces and all."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ger_datasets.errors import BadPhoto
from ger_datasets.photos import printable, read_photo
from ger_datasets.schema import NO_LABEL

logger = logging.getLogger(__name__)


def photo_rows(photos: Sequence[Path], quarantined: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """A row for each photo file, as a prepared dataset has it, with its faces; unlabelled.

    Args:
        photos: the files.
        quarantined: gets the name of each file that cannot be used, and the reason; the others go on.
    """
    from ger_datasets.columns import photo_columns
    from ger_datasets.faces import FaceExtractor

    extractor = FaceExtractor()
    taken: dict[str, int] = {}
    for path in photos:
        name = printable(path.name)
        try:
            image = read_photo(path).image
        except BadPhoto as reason:
            quarantined.append({"file": name, "reason": str(reason)})
            logger.warning("%s cannot be used: %s", name, reason)
            continue
        taken[name] = taken.get(name, 0) + 1
        image_id = name if taken[name] == 1 else f"{name}-{taken[name]}"
        (faces,) = extractor.extract([image])
        yield {"image_id": image_id, "label": NO_LABEL, "group": image_id, **photo_columns(image, faces)}
