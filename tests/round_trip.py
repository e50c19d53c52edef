"""Prepare a raw folder, and check every column of the rows, loaded and streamed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset

from ger_datasets import schema
from ger_datasets.builders import make_builder
from ger_datasets.preparation.run import prepare
from ger_datasets.prepared import read_prepared

FACES = ("face_boxes", "face_scores", "face_landmarks", "face_features", "face_crops", "aligned_faces")


def round_trip(dataset: str, raw: Path, output: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """The rows of the prepared dataset by image_id, after a check of them against the builder's records."""
    report = prepare(dataset, raw, output, num_proc=1, options=options)
    builder = make_builder(dataset, raw, output / "frames", options)
    records = {record.image_id: record for record in builder.records()}
    assert (report["rows"], report["quarantined"]) == (len(records), 0)
    expected = schema.features(builder.class_names, builder.extra_features)
    rows: dict[str, dict[str, Any]] = {}
    for split, data in load_dataset(str(output)).items():
        assert data.features == expected
        streamed = load_dataset(str(output), split=split, streaming=True)
        for row, same in zip(data, streamed, strict=True):
            assert {name: _plain(value) for name, value in row.items()} == {
                name: _plain(value) for name, value in same.items()
            }
            record = records[row["image_id"]]
            assert (record.split, record.label, record.group) == (split, row["label"], row["group"])
            np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(record.photo().image))
            assert len({len(row[name]) for name in FACES}) == 1
            assert len(row["sampled_patches"]) == (0 if row["face_boxes"] else 4)
            for name in ("skeleton", "scene_feature", "face_expressions", "region_boxes", "region_features"):
                assert row[name] is None
            assert {name: row[name] for name in builder.extra_features} == _float32(record.extras)
            rows[row["image_id"]] = row
    assert rows.keys() == records.keys()
    prepared = read_prepared(output)
    assert prepared.terms, "the card states the terms"
    assert str(raw) not in prepared.text
    for remark in builder.remarks():
        assert remark in prepared.text
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value.tobytes() if hasattr(value, "tobytes") else value


def _float32(values: Any) -> dict[str, Any]:
    return {name: float(np.float32(value)) if isinstance(value, float) and name != "seconds" else value
            for name, value in values.items()}  # fmt: skip
