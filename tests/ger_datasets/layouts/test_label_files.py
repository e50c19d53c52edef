"""Two-column label files: every separator, headings, words and numbers; what is unclear is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ger_datasets.layouts.label_files import label_of, labels_by_name, read_label_file
from ger_datasets.schema import CLASS_NAMES
from ger_datasets.support.errors import UserError

ROWS = [("12_3", "1"), ("two words.mp4", "3")]


@pytest.mark.parametrize(
    "content",
    [
        b"Vid_name Label\n12_3 1\ntwo words.mp4   3\n",
        b"\xef\xbb\xbf12_3\t1\r\n\r\ntwo words.mp4\t3",
        b'name,label\r12_3,1\r"two words.mp4", 3\r',
        "12_3;1\ntwo words.mp4; 3".encode("utf-16"),
    ],
    ids=["spaces", "tabs", "csv", "semicolons in UTF-16"],
)
def test_separators(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    assert read_label_file(tmp_path / "labels.txt") == ROWS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no labels"),
        (b"Vid_name Label\n", "has no labels"),
        (b"neg_1.jpg Negative\nneg_2.jpg\n", "labels.txt, line 2: 'neg_2.jpg' does not have two columns"),
        (b"a.jpg,1,2\n", "line 1: 'a.jpg,1,2' does not have two columns"),
        (b'"a.jpg,1\n', "does not have two columns"),
        (b"\x80\x04\x95 \x00.", "labels.txt"),
    ],
)
def test_what_is_no_label_file(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"labels\.txt") as error:
        labels_by_name(read_label_file(tmp_path / "labels.txt"), CLASS_NAMES, "labels.txt")
    assert words in str(error.value)


def test_words_and_numbers() -> None:
    rows = [("val\\NEG_1.jpg", "negative"), ("b.jpg", "POS"), ("c.jpg", "Neutral")]
    labels = labels_by_name(rows, CLASS_NAMES, "f")
    assert labels == {"neg_1.jpg": 0, "b.jpg": 2, "c.jpg": 1}
    assert [label_of(name, labels) for name in ("Neg_1.JPG", "c.png", "B.jpg")] == [0, None, 2]
    assert label_of("12_3.mp4", {"12_3": 2}) == 2
    assert labels_by_name(ROWS, CLASS_NAMES, "f", {"1": 2, "2": 1, "3": 0}) == {"12_3": 2, "two words.mp4": 0}


def test_the_files_names_tell_what_numbers_mean() -> None:
    rows = [("pos_1.jpg", "1"), ("neg_1.jpg", "3"), ("pos_2.jpg", "1"), ("neu_1.jpg", "2")]
    assert labels_by_name(rows, CLASS_NAMES, "f") == {"pos_1.jpg": 2, "neg_1.jpg": 0, "pos_2.jpg": 2, "neu_1.jpg": 1}
    for unclear in ([*rows, ("neg_2.jpg", "1")], [("a.jpg", "0")], [("pos_1.jpg", "1"), ("pos_2.jpg", "2")]):
        with pytest.raises(UserError, match=r"numbers .* whose classes the files' names do not tell"):
            labels_by_name(unclear, CLASS_NAMES, "f")


def test_what_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"f: unknown label 4 \(1 lines\); the labels are Negative, Neutral, Positive, 1, 2, 3"
    ):
        labels_by_name([("a", "4")], CLASS_NAMES, "f", {"1": 2, "2": 1, "3": 0})
    with pytest.raises(UserError, match="f: unknown label happy"):
        labels_by_name([("a", "happy")], CLASS_NAMES, "f")
    with pytest.raises(UserError, match=r"f: A\.jpg has two different labels"):
        labels_by_name([("a.jpg", "neg"), ("A.jpg", "pos")], CLASS_NAMES, "f")
