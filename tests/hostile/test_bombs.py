"""Small files that ask for gigabytes or hours meet everything that reads photos: a process takes 2 GB at most."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import corpus
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checks import MOST_BYTES, forget_peak, peak_bytes
from faults import Do

from ger_datasets.builders import BUILDERS
from ger_datasets.schema import features
from ger_models.processing_pixels import pixels_of

# all others are refused
DECODED = ("rgba_117_megapixels.png", "16bit_178_megapixels.png", "frames.gif", "text_bomb.png", "profile_bomb.png")
# are to the others what they are to the test; those that are refused by their size alone need not all be everywhere
LEFT_OUT = ("grey_alpha_178_megapixels.png", "1bit_178_megapixels.png")
SECONDS = 30  # for one photo

READ = """
import json, sys, time
from pathlib import Path
from ger_datasets.support.errors import BadPhoto
from ger_datasets.photos.reading import read_photo
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        told = list(read_photo(path).image.size)
    except BadPhoto as reason:
        told = str(reason)
    print(json.dumps([path.name, told, time.process_time() - start]))
"""
ASK = """
import json, sys, time
from pathlib import Path
from PIL import Image
from transformers import pipeline
import ger_models
ask = pipeline("group-emotion", model=sys.argv[1], device="cpu", batch_size=16, faces=True)
def photos():
    for path in sorted(Path(sys.argv[2]).iterdir()):
        try:
            image = Image.open(path)
        except Exception:
            image = None
        if path.name == "rgba_117_megapixels.png" or "scans" in path.name or "178" not in path.name and image:
            yield image
        if path.name != "rgba_117_megapixels.png":  # once is enough
            yield str(path)
print(json.dumps([answer.get("error", "") for answer in ask(photos())]))
"""


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bombs")
    for name, content in corpus.bombs().items():
        assert len(content) < 11_000_000, "small files"
        if name not in LEFT_OUT:
            (folder / name).write_bytes(content)
    return folder


def measured(do: Do, *command: object) -> tuple[str, float]:
    """What a command prints, and the seconds it computed; it ends with 0 and held no more than 2 GB."""
    told = do(*command, usual_shards=True)
    assert told["code"] == 0, told["stderr"][-2000:]
    assert told["held"] < MOST_BYTES, f"{told['held'] / 1e9:.2f} GB"
    return told["stdout"], told["seconds"]


def test_each_alone(do: Do, bombs: Path) -> None:
    printed, _ = measured(do, "-c", READ, bombs)
    told = {name: (answer, seconds) for name, answer, seconds in map(json.loads, printed.splitlines())}
    assert told.keys() == {path.name for path in bombs.iterdir()}
    for name, (answer, seconds) in told.items():
        assert seconds < SECONDS, name
        assert isinstance(answer, list) == (name in DECODED), (name, answer)
    assert told["rgba_117_megapixels.png"][0] == [5000, 5000]
    assert "pixels" in told["60000x60000.png"][0]
    assert "takes too long" in told["many_scans.jpg"][0]
    assert "takes too long" in told["many_scans.mpo.jpg"][0]
    for name in ("rgba_178_megapixels.png", "progressive_178_megapixels.jpg", "lossless_100_megapixels.webp"):
        assert "to decode; at most 480 MB" in told[name][0]


def test_prepare(do: Do, bombs: Path, raw_folder: Path, tmp_path: Path) -> None:
    """As photos, as rendered skeletons, and as faces that the original system had cut out."""
    train, skeletons = raw_folder / "train" / "Neutral", tmp_path / "skeletons" / "train" / "Neutral"
    skeletons.mkdir(parents=True)
    given = [path for path in bombs.iterdir() if not path.name.startswith("16bit")]
    for path in given:
        shutil.copy(train / "neu_1.jpg", train / f"of_{path.stem}.jpg")
        shutil.copy(path, skeletons / f"of_{path.stem}_rendered.png")
        shutil.copy(path, train / f"photo_{path.name}")
    words = ("--dataset", "gaf3", "--source", raw_folder, "--output", tmp_path / "out", "--num_proc", 1)
    printed, seconds = measured(do, "prepare", *words, "--skeletons", tmp_path / "skeletons")
    lines = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    refused = {line["file"].rpartition("/")[2]: line["reason"] for line in lines}
    for path in given:
        assert (f"photo_{path.name}" in refused) == (path.name not in DECODED), path.name
        if path.name not in DECODED:
            assert f"of_{path.stem}_rendered.png" in refused[f"of_{path.stem}.jpg"], "the skeleton is named"
    assert seconds < SECONDS * (len(DECODED) - 1)
    assert json.loads(printed)["rows"] == 12 + 2 * (len(DECODED) - 1)


def test_emotic(bombs: Path, tmp_path: Path) -> None:
    """Its builder opens photos for their size alone: nothing is decoded."""
    shutil.copytree(bombs, tmp_path / "raw" / "emotic" / "mscoco" / "images")
    head = "Folder,Filename,Image Size,BBox,Categorical_Labels,Continuous_Labels,Gender,Age\n"
    row = 'mscoco/images,{},"[64, 48]","[1, 2, 30, 40]","[\'Peace\']","[7.0, 5.0, 5.0]",Male,Adult\n'
    (tmp_path / "raw" / "train.csv").write_text(head + "".join(row.format(path.name) for path in bombs.iterdir()))
    forget_peak()
    before, start = peak_bytes(), time.process_time()
    assert len(BUILDERS["emotic"](tmp_path / "raw").records()) == len(list(bombs.iterdir()))
    assert peak_bytes() < before + 100_000_000
    assert time.process_time() - start < 3


def test_predict(do: Do, bombs: Path, model: Path, tmp_path: Path) -> None:
    photos = [path for path in sorted(bombs.iterdir()) if not path.name.startswith("16bit")]
    words = ("--model", model, "--photos", *photos, "--output_dir", tmp_path / "drawn", "--device", "cpu")
    printed, _ = measured(do, "predict", *words)
    assert set(json.loads(printed)["labels"]) == set(DECODED) - {"16bit_178_megapixels.png"}


def test_the_pipeline(do: Do, bombs: Path, model: Path) -> None:
    printed, _ = measured(do, "-c", ASK, model, bombs)
    told = json.loads(printed.splitlines()[-1])
    assert told.count("") >= len(DECODED)
    assert sum(name in error for error in told for name in ("progressive_178", "60000x60000.png", "many_scans")) >= 3


def test_a_dataset_of_them(bombs: Path, model: Path, tmp_path: Path, run_script: Callable) -> None:
    """Images in Parquet that no prepare run put there: predict sets them aside, and training names them."""
    schema = features().arrow_schema
    lists = {name: [] for name in schema.names if name.startswith("face_")} | {"aligned_faces": []}
    rows = [
        {
            **dict.fromkeys(schema.names), **lists, "image_id": path.name, "group": "a", "label": 0,
            "image": {"bytes": path.read_bytes(), "path": None}, "sampled_patches": [],
        }
        for path in bombs.iterdir()
    ]  # fmt: skip
    (tmp_path / "dataset" / "data").mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, tmp_path / "dataset" / "data" / "test-00000-of-00001.parquet")
    words = ("--model", model, "--dataset", tmp_path / "dataset", "--output", tmp_path / "p.parquet")
    forget_peak()
    before, start = peak_bytes(), time.process_time()
    code, figures, log = run_script("predict", *words, "--device", "cpu")
    assert code == 0, log
    refused = {line["file"] for line in figures["failed"]}
    assert refused == {path.name for path in bombs.iterdir()} - {"frames.gif"}
    assert peak_bytes() < before + 500_000_000
    assert time.process_time() - start < SECONDS
    for path in bombs.iterdir():
        if path.name != "frames.gif":
            with pytest.raises(OSError, match=r"pixels|damaged|no image"):  # as training reads them
                pixels_of({"bytes": path.read_bytes(), "path": None})
    assert peak_bytes() < before + 500_000_000
