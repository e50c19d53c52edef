"""What the Hub's viewer and Croissant read of a dataset card: splits, features, licence and citation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from ger_datasets.preparation.run import prepare

ROOT = Path(__file__).resolve().parents[3]
OWN = {"sample", "folders", "group_scene", "expressions"}  # no publication, or several, which the prose names


@pytest.mark.slow
def test_a_licence_without_identifier_has_a_name_and_a_link(drawn_raw: Path, tmp_path: Path) -> None:
    prepare("gaf3", drawn_raw, tmp_path / "gaf3", num_proc=1, limit=3)
    card = DatasetCard.load(tmp_path / "gaf3" / "README.md")
    told = card.data.to_dict()
    assert (told["license"], told["license_name"]) == ("other", "gaf3-terms")
    assert told["license_link"] == "https://doi.org/10.1145/3242969.3264993"
    assert {split["name"] for split in told["dataset_info"]["splits"]} == {"train", "validation", "test"}
    assert {"image", "label"} <= {feature["name"] for feature in told["dataset_info"]["features"]}
    assert [files["split"] for files in told["configs"][0]["data_files"]] == ["train", "validation", "test"]
    assert "```bibtex\n@inproceedings{dhall2018emotiw," in card.text


def test_an_identifier_needs_no_link(drawn_dataset: Path) -> None:
    told = DatasetCard.load(drawn_dataset / "README.md").data.to_dict()
    assert told["license"] == "apache-2.0"
    assert "license_name" not in told


@pytest.mark.parametrize("prose", sorted(ROOT.glob("ger_datasets/*/card.md")), ids=lambda path: path.parent.name)
def test_published_datasets_have_one_citation(prose: Path) -> None:
    entries = re.findall(r"```bibtex\n@\w+\{\w+,\n(.*?)\n\}\n```", prose.read_text(encoding="utf-8"), re.S)
    assert len(entries) == (0 if prose.parent.name in OWN else 1)
    for entry in entries:
        fields = dict(re.findall(r"^  (\w+) = \{(.+?)\},?$", entry, re.M | re.S))
        assert {"title", "author", "year"} <= set(fields)
        assert entry.count("{") == entry.count("}")
