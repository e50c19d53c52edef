"""What FaceExtractor does on GPUs only, as far as it can be tried on a CPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ger_datasets.faces import resampling, suppression
from ger_datasets.faces.precision import exact_float32
from ger_datasets.faces.resampling import AreaPhotos

CUDA = torch.device("cuda")


def switches() -> tuple[bool, str]:
    return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()


@pytest.fixture
def restored() -> Iterator[None]:
    before = switches()
    yield
    torch.backends.cudnn.allow_tf32 = before[0]
    torch.set_float32_matmul_precision(before[1])


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("convolutions", "products"), [(True, "highest"), (True, "medium"), (False, "high")])
def test_float32_is_exact_within_the_block_only(convolutions: bool, products: str) -> None:
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision(products)
    with exact_float32(CUDA):
        assert switches() == (False, "highest")
    assert switches() == (convolutions, products)
    with exact_float32(torch.device("cpu")):
        assert switches() == (convolutions, products)


@pytest.mark.usefixtures("restored")
def test_blocks_that_overlap_leave_the_switches_as_they_were() -> None:
    torch.backends.cudnn.allow_tf32 = True
    one, other = exact_float32(CUDA), exact_float32(CUDA)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert switches()[0] is False
    other.__exit__(None, None, None)
    assert switches()[0] is True


@pytest.mark.usefixtures("restored")
@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="PyTorch before 2.9")
def test_float32_is_exact_where_only_the_new_switches_can_be_read() -> None:
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"  # the old switch says otherwise
    try:
        with pytest.raises(RuntimeError):
            switches()
        convolutions.fp32_precision, torch.backends.cudnn.rnn.fp32_precision = "tf32", "ieee"
        with exact_float32(CUDA):
            assert convolutions.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert convolutions.fp32_precision == "tf32"
    finally:
        convolutions.fp32_precision, torch.backends.cudnn.rnn.fp32_precision = before, before


@pytest.mark.parametrize("together", [suppression.TOGETHER, 10])
def test_photos_side_by_side_are_suppressed_as_each_alone(
    together: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression, "TOGETHER", together)
    corners = rng.integers(0, 300, (900, 2))
    boxes = torch.from_numpy(np.hstack([corners, corners + rng.integers(1, 200, (900, 2))])).float()
    scores = torch.from_numpy(rng.integers(1, 50, 900) / 50).float()  # with ties
    index = torch.from_numpy(rng.integers(0, 5, 900))
    index[index == 3] = 4  # a photo without any
    each = suppression.suppressed(boxes, scores, index, 6, 0.5)
    assert 100 < len(each) < 900
    assert (index[each].diff() >= 0).all()
    assert torch.equal(suppression.suppressed_together(boxes, scores, index, 6, 300, 0.5), each)


def test_tables_are_the_same_in_one_go(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = list(rng.integers(0, 256, (3, 40, 30, 3), dtype=np.uint8))
    monkeypatch.setattr(resampling, "TABLE_PIXELS", 200)
    in_blocks = AreaPhotos(photos).tables
    in_one_go = torch.zeros_like(in_blocks)
    resampling._sum_up(in_one_go, resampling._moved(photos, torch.device("cpu")), 40)
    assert torch.equal(in_one_go, in_blocks)
    assert in_blocks.any()
