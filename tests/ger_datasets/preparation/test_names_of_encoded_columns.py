"""Columns of encoders beside a dataset's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_videos import write_video

from ger_datasets.preparation.run import prepare
from ger_datasets.support.errors import UserError
from ger_models.encoders.sources import EncodedColumn


def test_an_encoders_column_replaces_none_of_the_dataset(tmp_path: Path) -> None:
    """`--dataset vgaf --features clip=...` would hide the clip of each frame."""
    for split in ("Train", "Val"):
        write_video(tmp_path / f"raw/{split}/1_1.mp4", [np.zeros((48, 64, 3), np.uint8)] * 5)
        (tmp_path / f"raw/{split}_labels.txt").write_text("Vid_name Label\n1_1 1\n")
    source = EncodedColumn("clip", "starter", True, "cpu")
    with pytest.raises(UserError, match="clip is a column of vgaf: choose another name"):
        prepare("vgaf", tmp_path / "raw", tmp_path / "out", num_proc=1, sources=[source])
