"""Columns of a prepared dataset that an encoder fills: a vector for each photo, or for each face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from .encoders import make_encoder


class EncodedColumn:
    """A batch source of `ger_datasets.preparation.column_sources`.

    The encoder is opened here, so that a wrong one is refused before any work, and again in each process that the
    source is pickled into.

    Args:
        column: the column that it fills.
        encoder: its name, as `make_encoder` takes it.
        of_faces: a vector for each face instead of one for the photo.
        device: where the encoder runs.

    Raises:
        UserError: no such encoder, or an encoder of faces alone for a column of photos.
    """

    def __init__(self, column: str, encoder: str, of_faces: bool = False, device: str = "cpu") -> None:
        self.column, self.of_faces, self.device = column, of_faces, device
        self.encoder_name = str(Path(encoder).resolve()) if Path(encoder).is_dir() else encoder
        self._open()
        self.settings: dict[str, Any] = dict(self.encoder.settings)
        if not of_faces:
            self.encoder.encode([])  # an encoder of faces alone says so

    @property
    def name(self) -> str:
        """Its name in `SOURCES` where there is one; a column of the user's own has none there."""
        return self.column

    def _open(self) -> None:
        self.encoder = make_encoder(self.encoder_name, self.device)

    def batch_columns(
        self, images: Sequence[Image.Image], face_boxes: Sequence[Sequence[Any]]
    ) -> dict[str, list[list[Any]]]:
        """{column: the vector of each photo, or the vectors of each photo's faces}."""
        if self.of_faces:
            return {self.column: [vectors.tolist() for vectors in self.encoder.encode_faces(images, face_boxes)]}
        return {self.column: self.encoder.encode(images).tolist()}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "encoder"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


def scene_source(encoder: str, source_root: Path, device: str = "cpu") -> EncodedColumn:
    """The source that `--scene_model ENCODER` names; `source_root` does not matter."""
    return EncodedColumn("scene_feature", encoder, device=device)
