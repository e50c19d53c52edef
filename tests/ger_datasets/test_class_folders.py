"""A dataset in class folders of one's own, as docs/datasets.md shows it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from PIL import Image

DOCS = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"


def test_the_example_in_the_docs(tmp_path: Path) -> None:
    code = re.search(r"(?m)^    # ger_datasets/mine/builder\.py.*\n(?:    .*\n|\n)+", DOCS.read_text("utf-8"))
    assert code is not None
    names: dict[str, Any] = {}
    exec(textwrap.dedent(code[0]), names)
    for place in ("train/Calm/a", "train/LOUD/b", "val/loud/c", "test/d"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(tmp_path / f"{place}.png")
    (tmp_path / "val_list").write_text("Loud/c.png\n")
    records = names["MineBuilder"](tmp_path).records()
    assert {record.image_id: record.label for record in records} == {
        "train/Calm/a": 0,
        "train/Loud/b": 1,
        "validation/Loud/c": 1,
        "challenge/d": -1,
    }
