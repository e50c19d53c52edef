"""Lists are read as text or pickle, and anything else in a pickle is refused without being executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from ger_datasets.legacy.name_lists import read_name_list
from ger_datasets.support.errors import UserError


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "val_list"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(tmp_path: Path, protocol: int) -> None:
    names = ["neg_1.jpg", "pos_2.jpg", "ünï.jpg", "x" * 300]
    names.append(names[0])  # the same object again: a reference in the pickle
    assert read_name_list(written(tmp_path, pickle.dumps(names, protocol))) == names


def test_a_pickle_in_text_whose_line_ends_a_transfer_has_changed(tmp_path: Path) -> None:
    names = ["neg_1.jpg", "pos_2.jpg", "ünï.jpg", "neg_1.jpg"]
    python_2 = b"(lp0\nS'neg_1.jpg'\np1\naS'pos_2.jpg'\np2\na."
    for content, expected in ((pickle.dumps(names, 0), names), (python_2, names[:2])):
        assert read_name_list(written(tmp_path, content.replace(b"\n", b"\r\n"))) == expected


def test_an_empty_list(tmp_path: Path) -> None:
    assert read_name_list(written(tmp_path, pickle.dumps([]))) == []


def test_the_distributed_lists(shared: Path) -> None:
    lists = {name: read_name_list(shared / "data" / "gaf3_lists" / name) for name in ("val_list", "test_list")}
    assert {name: len(names) for name, names in lists.items()} == {"val_list": 3341, "test_list": 1000}
    assert not set(lists["val_list"]) & set(lists["test_list"])


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "executed"
    path = written(tmp_path, pickle.dumps(["neg_1.jpg", Malicious(target)], protocol))
    with pytest.raises(UserError, match="nothing in it was executed"):
        read_name_list(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "value",
    ["a string", ("a", "tuple"), {"a": 1}, [1, 2], [["nested"]], [None], {"a"}, [b"bytes"], np.array(["a"]), 5],
    ids=repr,
)
def test_anything_but_a_list_of_strings_is_refused(tmp_path: Path, value: object) -> None:
    for protocol in (0, 2, 4):
        with pytest.raises(UserError, match="not a pickled list of file names"):
            read_name_list(written(tmp_path, pickle.dumps(value, protocol)))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(["a", "b"])[:-1],
        pickle.dumps(["a", "b"])[:-4] + b".",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a byte array of 2**63 bytes
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
    ],
)
def test_broken_pickles(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UserError, match="val_list is not a pickled list"):
        read_name_list(path)


def test_a_memo_index_of_four_thousand_million_takes_no_memory(tmp_path: Path) -> None:
    assert read_name_list(written(tmp_path, b"\x80\x04]r\xff\xff\xff\xff.")) == []


def test_a_missing_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_name_list(tmp_path / "val_list")


NAMES = ["neg_1.jpg", "Positive/pos 2.JPG", "ünï, 😀.png"]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(NAMES).encode(),
        ("\r\n".join(NAMES) + "\r\n\r\n").encode("utf-8-sig"),
        "\n\n".join(f"  {name} " for name in NAMES).encode("utf-16"),  # with its byte order mark
        ("\r".join(NAMES) + "\r").encode(),
        "\n".join(f'"{name}"' for name in NAMES).encode("utf-8-sig"),
        "\n".join(f"'{name}'," for name in NAMES).encode(),
    ],
    ids=["plain", "windows", "powershell", "old-mac", "double-quotes", "python"],
)
def test_text(tmp_path: Path, content: bytes) -> None:
    assert read_name_list(written(tmp_path, content)) == NAMES


@pytest.mark.parametrize("heading", ["image,label\n", ""])
def test_the_first_column_of_a_table(tmp_path: Path, heading: str) -> None:
    path = tmp_path / "val_list.csv"
    path.write_text(heading + 'neg_1.jpg,0\n\nPositive/pos 2.JPG,2\n"ünï, 😀.png",1\n', encoding="utf-8")
    assert read_name_list(path) == NAMES


def test_text_in_another_encoding_names_the_files_it_names(tmp_path: Path) -> None:
    (name,) = read_name_list(written(tmp_path, b"neg_\xfc.jpg\n"))
    assert os.fsencode(name) == b"neg_\xfc.jpg"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty: write one file name per line"),
        (b"\n\n", "empty: write one file name per line"),
        (b"neg_1.jpg\nimport os\n", "line 2 is 'import os'"),
        (b'""\n\',\n', "list of file names"),
        (b"neg_1.jpg 0\n", "line 1 is 'neg_1.jpg 0'; write one name per line"),
        (b"PK\x03\x04\x00\xff", "list of file names"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|O'}\n", "list of file names"),
        (pickle.dumps(["neg_1.jpg"], 0) + b"\n", "line 1 is '(lp0'"),
    ],
    ids=["nothing", "blank", "a-script", "quotes-alone", "with-labels", "zip", "npy", "pickle-and-more"],
)
def test_what_is_no_list(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UserError) as error:
        read_name_list(written(tmp_path, content))
    assert words in str(error.value)
    assert "\n" not in str(error.value)
