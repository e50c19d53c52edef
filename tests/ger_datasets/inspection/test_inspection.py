"""The page on a prepared dataset: what it counts, which photos it shows, and that names from the data stay text."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Value, load_dataset
from PIL import Image

from ger_datasets import schema
from ger_datasets.inspection.contact_sheet import PICTURE_SIDE, draw_findings, draw_pictures
from ger_datasets.inspection.page import SIDE_BINS
from ger_datasets.inspection.run import inspect_dataset, read_inspection
from ger_datasets.photos.reading import encode_jpeg
from ger_datasets.prepared import read_prepared
from ger_datasets.schema import FACE_COUNT_BINS
from ger_datasets.support.errors import UserError

EVIL = '<script>alert("1")</script>'


class Page(html.parser.HTMLParser):
    """What a page holds: its tags, their attributes and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def pictures(self) -> list[str]:
        return [value for name, value in self.attributes if name == "src"]


def photo(**changes: Any) -> dict[str, Any]:
    """A row without faces."""
    image = {"bytes": encode_jpeg(Image.new("RGB", (64, 48), (90, 90, 90))), "path": None}
    row = dict.fromkeys(schema.features())
    lists = {name: [] for name in schema.features() if name.startswith(("face_", "aligned", "sampled"))}
    return {**row, **lists, "image_id": "train/a/1", "image": image, "label": 0, "group": "1", **changes}


def write_dataset(
    folder: Path,
    splits: dict[str, list[dict[str, Any]]],
    class_names: Sequence[str] = schema.CLASS_NAMES,
    extra: dict[str, Any] | None = None,
    shard_rows: int = 100,
    prose: str = "",
) -> Path:
    """A prepared dataset of these rows, without prepare."""
    (folder / "data").mkdir(parents=True)
    columns = schema.features(class_names, extra).arrow_schema
    for split, rows in splits.items():
        parts = [rows[i : i + shard_rows] for i in range(0, len(rows), shard_rows)]
        for i, part in enumerate(parts):
            path = folder / "data" / f"{split}-{i:05d}-of-{len(parts):05d}.parquet"
            pq.write_table(pa.Table.from_pylist(part, schema=columns), path, row_group_size=3)
    told = {"dataset_info": {"splits": [{"name": name, "num_examples": len(rows)} for name, rows in splits.items()]}}
    (folder / "README.md").write_text(f"---\n{json.dumps(told)}\n---\n\n{prose}")
    return folder


def test_the_drawn_dataset(drawn_dataset: Path, tmp_path: Path, run_script: Any) -> None:
    output = tmp_path / "new" / "dataset.html"
    code, figures, log = run_script("inspect_dataset", "--dataset", drawn_dataset, "--output", output)
    assert code == 0, log
    rows = [row for split in load_dataset(str(drawn_dataset)).values() for row in split.remove_columns("image")]
    faces = sum(len(row["face_boxes"]) for row in rows)
    classes = {"Negative": 10, "Neutral": 10, "Positive": 10}
    assert figures == {"photos": 30, "faces": faces, "classes": classes, "quarantined": 0, "output": str(output)}
    page = Page(output)
    assert len(page.pictures) == 30
    for source in page.pictures:
        image = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
        assert max(image.size) == PICTURE_SIDE
    assert "drawn test pattern" in page.text[: page.text.index("Prepared dataset")]
    assert "Every photo could be used." in page.text
    assert output.stat().st_size < 2_000_000
    again = tmp_path / "again.html"
    inspect_dataset(drawn_dataset, again)
    assert again.read_bytes() == output.read_bytes()


def test_the_page_fetches_nothing_and_names_no_place(drawn_dataset: Path, tmp_path: Path) -> None:
    inspect_dataset(drawn_dataset, tmp_path / "page.html")
    page = re.sub(r"base64,[\w+/=]+", "", (tmp_path / "page.html").read_text())
    assert not re.search(r"https?:|//|url\(|@import|<script", page)
    assert "default-src 'none'" in page
    assert str(drawn_dataset.parent) not in page


def test_counts(tmp_path: Path) -> None:
    def faces(*sides: float) -> dict[str, Any]:
        boxes = [[10.0, 10.0, 10 + 2 * side, 10 + side / 2] for side in sides]
        return {"face_boxes": boxes, "face_landmarks": [[10.0] * 10] * len(sides)}

    rows = [
        photo(image_id="1", label=0, **faces(25.5, 20)),
        photo(image_id="2", label=2, **faces(300)),
        photo(image_id="3", label=2, skeleton=photo()["image"]),
        photo(image_id="4", label=-1),
    ]
    folder = write_dataset(tmp_path / "data", {"train": rows, "odd split": rows[:2]})
    found = read_inspection(read_prepared(folder))
    assert found.labels == {
        "train": {"Negative": 1, "Positive": 2, "unlabelled": 1},
        "odd split": {"Negative": 1, "Positive": 1},
    }
    assert found.classes == {"Negative": 2, "Neutral": 0, "Positive": 3, "unlabelled": 1}
    assert found.faces_per_photo == {0: 2, 1: 2, 2: 2}
    assert found.face_sides == {25: 2, 20: 2, 300: 2}
    assert (found.photos, found.faces, found.skeletons) == (6, 6, 1)
    assert {name: len(pictures) for name, pictures in found.sheet.items()} == {
        "Negative": 2,
        "Positive": 3,
        "unlabelled": 1,
    }


@pytest.mark.parametrize("bins", [FACE_COUNT_BINS, SIDE_BINS])
def test_every_number_is_in_one_bin(bins: Sequence[tuple[int, int | None]]) -> None:
    for value in range(1000):
        assert sum(low <= value and (high is None or value <= high) for low, high in bins) == 1


def test_the_choice_is_spread_and_does_not_depend_on_order_or_shards(tmp_path: Path) -> None:
    rows = [photo(image_id=f"train/{i}", label=i % 2) for i in range(40)]
    few = [photo(image_id=f"test/{i}", label=0) for i in range(2)]
    one = write_dataset(tmp_path / "one", {"train": rows, "test": few}, ("a", "b"))
    other = write_dataset(tmp_path / "other", {"train": rows[::-1], "test": few}, ("a", "b"), shard_rows=7)
    chosen = [read_inspection(read_prepared(folder), photos_per_class=8).sheet for folder in (one, other)]
    assert chosen[0] == chosen[1]
    assert [picture.split for picture in chosen[0]["a"]] == ["train"] * 6 + ["test"] * 2
    assert [picture.split for picture in chosen[0]["b"]] == ["train"] * 8
    assert len({picture.image_id for pictures in chosen[0].values() for picture in pictures}) == 16


def test_image_bytes_are_read_for_the_sheet_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [photo(image_id=f"{i}") for i in range(30)]
    folder = write_dataset(tmp_path / "data", {"train": rows})
    read: list[tuple[str, ...]] = []
    real = pq.ParquetFile.read_row_group

    def spy(self: pq.ParquetFile, number: int, columns: Sequence[str]) -> pa.Table:
        read.append(tuple(columns))
        return real(self, number, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spy)
    read_inspection(read_prepared(folder), photos_per_class=2)
    assert len(read) <= 10 + 2
    assert sum("image" in columns for columns in read) <= 2
    assert not any("face_crops" in columns or "aligned_faces" in columns for columns in read)


def test_names_from_the_data_are_text(tmp_path: Path) -> None:
    rows = [photo(image_id=f"{EVIL}{i}", label=i % 2) for i in range(4)]
    quirks = f"## Known quirks of this copy\n\n- A `{EVIL}`\n  remark.\n- More.\n\n## Next\n\n- no"
    prose = f"**Terms.** Not to be {EVIL}.\n\n{quirks}"
    names = (EVIL, "b & 'c' \" onload=x")
    folder = write_dataset(
        tmp_path / EVIL.replace("/", ""), {"tr<b>ain": rows}, names, {"m<i>": Value("string")}, prose=prose
    )
    lines = [{"image_id": EVIL, "file": f"{EVIL}\udcff.jpg", "reason": EVIL}] * 20
    (folder / "quarantine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    inspect_dataset(folder, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert not {"script", "iframe", "link", "object", "i"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "Additional columns: m<i>." in page.text
    assert "20 photos could not be used" in page.text
    assert "remark." in page.text
    assert f"Not to be {EVIL}." in page.text
    assert page.text.count(EVIL) > 60


def test_a_photo_that_cannot_be_decoded_is_shown_as_such(tmp_path: Path) -> None:
    rows = [
        photo(image_id="1", image={"bytes": b"no photo", "path": None}),
        photo(image_id="2", image=None),
        photo(image_id="3"),
    ]
    folder = write_dataset(tmp_path / "data", {"train": rows})
    inspect_dataset(folder, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert len(page.pictures) == 1
    assert page.text.count("cannot be shown: ") == 2


def test_findings_are_drawn_where_they_are() -> None:
    photo = Image.new("RGB", (2 * PICTURE_SIDE, PICTURE_SIDE))
    skeleton = Image.new("RGB", (20, 10))
    skeleton.paste("#FF0000", (10, 0, 20, 10))
    plain, drawn = (
        np.asarray(draw_findings(photo, boxes, points, limbs)).astype(int)
        for boxes, points, limbs in (([], [], None), ([[80.0, 40.0, 160.0, 140.0]], [[120.0, 80.0] * 5], skeleton))
    )
    assert plain.shape == (PICTURE_SIDE // 2, PICTURE_SIDE, 3)
    assert not plain.any()
    assert drawn[50, 40].tolist() == drawn[20, 60].tolist() == [255] * 3  # the box's left and upper edges
    assert drawn[40, 60].tolist() == [240, 228, 66]  # the landmarks
    assert drawn[100, 300].tolist() == [255, 0, 0]  # the skeleton
    assert not drawn[100, 100].any()


def test_only_our_page_is_replaced(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data", {"train": [photo()]})
    page = tmp_path / "dataset.html"
    page.write_text("<!doctype html>\nsomebody's")
    with pytest.raises(UserError, match="was not written by this command: nothing was overwritten"):
        inspect_dataset(folder, page)
    assert "somebody's" in page.read_text()
    page.unlink()
    inspect_dataset(folder, page)
    inspect_dataset(folder, page, photos_per_class=0)
    assert Page(page).pictures == []
    with pytest.raises(UserError, match="is a folder"):
        inspect_dataset(folder, tmp_path)
    with pytest.raises(UserError, match="must be 0 or more, not -1"):
        inspect_dataset(folder, page, photos_per_class=-1)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data", {"train": [photo(), photo(image_id="2")]})
    (folder / "quarantine.jsonl").write_text('{"file": 1}\n')
    with pytest.raises(UserError, match=r"quarantine\.jsonl is not what prepare wrote"):
        inspect_dataset(folder, tmp_path / "page.html")
    (folder / "quarantine.jsonl").unlink()
    (path,) = (folder / "data").iterdir()
    content = path.read_bytes()
    metadata = pq.read_metadata(path).row_group(0)
    for name in ("image_id", "image.bytes"):
        (column,) = [c for c in map(metadata.column, range(metadata.num_columns)) if c.path_in_schema == name]
        start, size = column.dictionary_page_offset, column.total_compressed_size
        path.write_bytes(content[:start] + bytes(size) + content[start + size :])
        with pytest.raises(UserError, match=r"train-00000-of-00001\.parquet cannot be read"):
            inspect_dataset(folder, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_no_pictures_of_nothing() -> None:
    assert draw_pictures([]) == {}
