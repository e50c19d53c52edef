"""Pixels of batches in memory that worker processes share with the main process."""

from __future__ import annotations

import pickle

import pytest
import torch

from ger_models.processing_ger import GerProcessor
from ger_models.training.loading.batching import Travelling
from ger_models.training.loading.shared_slots import SharedSlots


def images(seed: int, count: int = 2, channels: int = 3, height: int = 4, width: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, height, width), generator=generator, dtype=torch.uint8)


def test_what_is_filled_in_is_viewed() -> None:
    slots = SharedSlots(2, 1000)
    given = [{"a": images(0), "b": images(1, 0)}, {"c": images(2, 3, 1, 7, 2)}]
    filled = [slots.fill(tensors) for tensors in given]
    for tensors, (slot, shapes) in zip(given, filled, strict=True):
        seen = slots.view(slot, shapes)
        assert seen.keys() == tensors.keys()
        assert all(torch.equal(seen[name], tensors[name]) for name in tensors)
    assert slots.fill({"d": images(3)}) is None, "both are in use"
    slots.free(0)
    assert slots.fill({"d": images(3, 9, 3, 9, 9)}) is None, "larger than a slot"
    assert slots.fill({"d": images(3)})[0] == 0


@pytest.mark.parametrize("slots", [None, SharedSlots(1, 10), SharedSlots(1, 10_000)], ids=["none", "small", "fitting"])
@pytest.mark.parametrize("for_gpu", [False, True])
def test_batches_arrive_the_same_with_and_without(slots: SharedSlots | None, for_gpu: bool) -> None:
    processor = GerProcessor()
    for seed in range(3):
        batch = {"pixel_values": images(seed), "labels": torch.tensor([1, 2]), "image_ids": ["x", "y"]}
        sent = pickle.dumps(Travelling(batch, processor, for_gpu, slots))
        arrived = pickle.loads(sent)  # noqa: S301 - made here
        if for_gpu:
            assert torch.equal(arrived.batch["pixel_values"], batch["pixel_values"])
            if slots is not None:
                slots.pixels.zero_()  # the next batch
            arrived = arrived.to("cpu")
        assert list(arrived) == list(batch)
        assert torch.equal(arrived["pixel_values"], processor.finish(batch)["pixel_values"])
        assert torch.equal(arrived["labels"], batch["labels"])
        assert arrived["image_ids"] == batch["image_ids"]
        assert (len(sent) < 2000 + batch["pixel_values"].numel()) or slots is None
        if slots is not None:
            assert not slots.busy.any(), "a slot is free once its batch has arrived"
