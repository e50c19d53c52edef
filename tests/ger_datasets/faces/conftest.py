"""The detector, and facenet-pytorch's MTCNN, whose faces it must find."""

from __future__ import annotations

import pytest
from facenet_pytorch import MTCNN

from ger_datasets.faces import FaceExtractor


@pytest.fixture(scope="module")
def extractor() -> FaceExtractor:
    return FaceExtractor()


@pytest.fixture(scope="module")
def reference() -> MTCNN:
    return MTCNN(keep_all=True)
