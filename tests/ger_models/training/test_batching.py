"""Batches: their order and augmentation are functions of the seed, the epoch and the row, whoever makes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from torch.utils.data import DataLoader

from ger_datasets.loading.splits import load_splits
from ger_datasets.support.errors import UserError
from ger_models import GerProcessor
from ger_models.training.loading import batching
from ger_models.training.loading.batching import Collator, make_loader, set_epoch
from ger_models.training.loading.sampling_orders import ORDERS

Batch = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def faces(drawn_dataset: Path) -> Dataset:
    return load_splits(str(drawn_dataset), ["image", "aligned_faces"], ["train"])["train"]


def small(*columns: str) -> GerProcessor:
    return GerProcessor(columns=columns, resize_shorter=36, crop_size=32)


def loader_of(split: Dataset, columns: Sequence[str] = ("image", "aligned_faces"), **options: object) -> DataLoader:
    options = {"batch_size": 4, "seed": 3, **options}
    return make_loader(split, Collator(small(*columns), train_seed=options["seed"]), **options)


def equal(one: Batch, other: Batch) -> bool:
    if one.keys() != other.keys() or one.get("image_ids") != other.get("image_ids"):
        return False
    return all(torch.equal(one[name], other[name]) for name in one if name != "image_ids")


def same(some: Iterable[Batch], others: Iterable[Batch]) -> bool:
    return all(equal(one, other) for one, other in zip(some, others, strict=True))


def numbered(count: int) -> Dataset:
    """Rows whose face feature is their number; the labels are 0, 0, 1, 0, 0, 1, ..."""
    features = [[[float(i)] * 256] for i in range(count)]
    ids = [f"row {i}" for i in range(count)]
    return Dataset.from_dict(
        {"image_id": ids, "label": [int(i % 3 == 2) for i in range(count)], "face_features": features}
    )


def order(loader: Iterable[Batch]) -> list[list[int]]:
    return [batch["face_features"][:, 0, 0].int().tolist() for batch in loader]


def flat(found: list[list[int]]) -> list[int]:
    return [row for batch in found for row in batch]


def test_the_number_of_workers_changes_nothing(faces: Dataset) -> None:
    """Two epochs with workers that outlive the first, and the order and the augmentation of each are their own."""
    loaders = [loader_of(faces, num_workers=workers) for workers in (0, 1, 2)]
    epochs = []
    for epoch in (1, 2):
        for loader in loaders:
            set_epoch(loader, epoch)
        epochs.append(list(loaders[0]))
        for loader in loaders[1:]:
            assert same(loader, epochs[-1])
    assert [len(batch["labels"]) for batch in epochs[0]] == [4, 4, 4, 4, 2]
    assert not any(equal(*pair) for pair in zip(*epochs, strict=True))


def test_batches_hold_what_the_processor_makes_of_the_decoded_rows(drawn_dataset: Path) -> None:
    columns = ["image", "aligned_faces", "face_features", "sampled_patches", "skeleton", "scene_feature"]
    split = load_splits(str(drawn_dataset), columns, ["train"])["train"].select([5, 2, 11, 7])
    processor = small(*columns[:5])
    (batch,) = make_loader(split, Collator(processor), 4)
    expected = processor(list(split))
    assert {*batch} == {*expected, "labels"}
    assert equal({name: batch[name] for name in expected}, dict(expected))
    assert batch["labels"].tolist() == split["label"]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
def test_what_is_finished_where_it_arrives_is_the_same(faces: Dataset, workers: int) -> None:
    collator = Collator(small("image", "aligned_faces"), 3, torch.device("cuda"))
    loader = make_loader(faces, collator, 4, workers, seed=3)
    assert loader.pin_memory
    for batch in (waiting := list(loader)):
        assert batch.batch["pixel_values"].dtype == batch.batch["face_pixels"].dtype == torch.uint8
    assert same((batch.to("cpu") for batch in waiting), loader_of(faces))
    assert same(Accelerator(cpu=True).prepare(loader), loader_of(faces))
    assert not loader_of(faces).pin_memory


def test_lists_of_numbers_come_as_arrays() -> None:
    features = datasets.Features(
        {"face_features": datasets.List(datasets.List(datasets.Value("float32"), length=2)),
         "scene_feature": datasets.List(datasets.Value("float32")), "people": [{"age": datasets.Value("int32")}]}
    )  # fmt: skip
    rows = [
        {"face_features": [[1, 2], [3, 4]], "scene_feature": None, "people": [{"age": 3}]},
        {"face_features": [], "scene_feature": [5.0], "people": []},
        {"face_features": None, "scene_feature": [], "people": None},
    ]
    found = batching.Rows(Dataset.from_list(rows, features=features)).__getitems__([0, 1, 2])
    assert found[0]["face_features"].tolist() == [[1, 2], [3, 4]]
    assert found[1]["face_features"].shape == (0, 2)
    assert found[2]["face_features"] is found[0]["scene_feature"] is None
    assert found[1]["scene_feature"].tolist() == [5]
    assert [row["people"] for row in found] == [[{"age": 3}], [], None]


def test_the_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    rows = numbered(50)
    torch.manual_seed(1)
    first = order(loader_of(rows, ["face_features"]))
    state = torch.get_rng_state()
    assert sorted(flat(first)) == list(range(50))
    again = loader_of(rows, ["face_features"], num_workers=1)
    assert order(again) == first != sorted(first)
    assert torch.equal(torch.get_rng_state(), state), "the model's dropout is not disturbed"
    set_epoch(again, 1)
    assert order(again) != first
    assert order(loader_of(rows, ["face_features"], seed=4)) != first
    plain = make_loader(rows, Collator(small("face_features")), 16)
    assert flat(order(plain)) == list(range(50))


@pytest.mark.parametrize("sampling", ORDERS)
@pytest.mark.parametrize("processes", [1, 2])
def test_an_epoch_continues_in_its_middle_through_accelerate(
    sampling: str, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is skipped is not even read, and a second epoch differs from the first."""
    rows, read = numbered(41), []
    fetch = batching.Rows.__getitems__
    monkeypatch.setattr(batching.Rows, "__getitems__", lambda self, keys: read.extend(keys) or fetch(self, keys))
    together = []
    for process in range(processes):
        loader = loader_of(rows, ["face_features"], sampling=sampling)
        loader = prepare_data_loader(loader, num_processes=processes, process_index=process)
        set_epoch(loader, 5)
        whole = order(loader)
        read.clear()
        resumed = Accelerator().skip_first_batches(loader, 3)
        assert order(resumed) == whole[3:]
        assert len(read) == sum(map(len, whole[3:]))
        assert order(loader) == whole
        set_epoch(loader, 6)
        assert order(loader) != whole
        together.append(whole)
    assert len({len(whole) for whole in together}) == 1, "no process waits for another at the end"
    seen = {row for whole in together for batch in whole for row in batch}
    assert sampling == "balanced" or seen == set(range(41))


def test_balanced_draws_every_class_equally_often() -> None:
    rows = numbered(31)  # 10 of class 1
    counts = []
    for epoch in range(4):
        keys = ORDERS["balanced"](np.random.default_rng(epoch), rows=31, batch_size=4, labels=rows["label"])
        assert len(set(keys)) == len(keys) == 31, "a row that comes again has another key, and other random numbers"
        labels = np.asarray(rows["label"])[keys % 31]
        counts.append(np.bincount(labels).tolist())
        ones = np.bincount(keys[labels == 1] % 31, minlength=31)[2::3]
        assert set(ones) <= {1, 2}, "no row is drawn again before all have been"
    assert {tuple(sorted(count)) for count in counts} == {(15, 16)}


def test_a_row_that_comes_twice_is_augmented_in_two_ways(faces: Dataset) -> None:
    collator = Collator(small("image"), train_seed=0)
    rows = batching.Rows(faces)
    once, again = collator(rows.__getitems__([2, 2 + len(faces)]))["pixel_values"]
    assert not torch.equal(once, again)
    assert torch.equal(collator([rows[2]])["pixel_values"][0], once)


def test_lengths_even_out_the_faces_of_the_batches() -> None:
    lengths = np.random.default_rng(0).poisson(6.8, 500).clip(0, 15)

    def faces_of(sampling: str, epoch: int) -> tuple[np.ndarray, list[int]]:
        rng = np.random.default_rng(epoch)
        keys = ORDERS[sampling](rng, rows=500, batch_size=16, lengths=lengths)
        assert sorted(keys) == list(range(500))
        return lengths[keys[:496]].reshape(31, 16).sum(1), keys.tolist()

    even, plain = faces_of("lengths", 1)[0], faces_of("shuffle", 1)[0]
    assert even.std() < plain.std() / 4
    assert abs(even.mean() - lengths.mean() * 16) < 2
    assert faces_of("lengths", 2)[1] != faces_of("lengths", 1)[1] == faces_of("lengths", 1)[1]


def test_face_counts_are_read_without_the_faces(faces: Dataset) -> None:
    processor = GerProcessor(columns=["aligned_faces"], max_faces=3)
    chosen = faces.select([5, 1, 7])
    assert batching.face_counts(chosen, processor).tolist() == [min(len(f), 3) for f in chosen["aligned_faces"]]


def test_refused_samplings(faces: Dataset) -> None:
    with pytest.raises(UserError, match="unknown sampling 'odd': there are shuffle, balanced, lengths"):
        loader_of(faces, sampling="odd")
    with pytest.raises(UserError, match="this model reads none"):
        loader_of(faces, ["image"], sampling="lengths")
