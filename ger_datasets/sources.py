"""Where columns come from when they are not computed from the photo: skeletons, scene features, older intermediates.

`prepare` gives each source the record and the upright photo and takes what it returns into the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from PIL import Image

from .records import Record


class ColumnSource(Protocol):
    """Fills some columns of a row.

    A source is made in the parent process and pickled into each worker, so it opens files and loads models on first
    use, not when it is made.
    """

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its columns depend on, as JSON values without paths of this machine; stands in the manifest."""
        ...

    def columns(self, record: Record, image: Image.Image) -> Mapping[str, Any]:
        """The columns of one photo, images as PIL images; columns it leaves out are computed or stay empty.

        Args:
            record: the photo's record.
            image: the photo, upright, RGB.

        Raises:
            BadPhoto: what the source holds for this photo contradicts itself; the photo goes into quarantine with
                the message, which holds no path.
        """
        ...
