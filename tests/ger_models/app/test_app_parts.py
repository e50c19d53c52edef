"""Parts of the app without a server: uploads, archives, texts, blurring, options."""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_videos import write_sound
from PIL import Image

from ger_datasets.photos.reading import read_photo
from ger_datasets.support.errors import BadPhoto, UserError
from ger_datasets.videos.frames import BadVideo, video_frames
from ger_models.app import uploads
from ger_models.app.reasons import REASONS, reason_in
from ger_models.app.texts import TEXTS, chosen_language, text, translations
from ger_models.app.uploads import MAX_PHOTOS, UploadFolder, list_photos, single_photo
from ger_models.inference.answers import Answer
from ger_models.inference.blurring import blur_faces, without_faces

ROOT = Path(__file__).resolve().parents[3]


def photo_bytes(size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (90, 120, 150)).save(buffer, "JPEG")
    return buffer.getvalue()


def archive(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries:
            file.writestr(name, content)
    return path


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return entry


def encrypted(path: Path) -> Path:
    archive(path, ("a.jpg", photo_bytes()))
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    return path


def test_photos_of_archives_are_listed_and_read_entry_by_entry(tmp_path: Path) -> None:
    good = photo_bytes()
    file = archive(
        tmp_path / "team.zip", ("team/a.jpg", good), ("notes.txt", b"x"), ("__MACOSX/._a.jpg", b"x"), ("b.PNG", good)
    )
    (tmp_path / "a.jpg").write_bytes(good)
    sources, left_out = list_photos([file, tmp_path / "a.jpg"])
    assert [source.name for source in sources] == ["team/a.jpg", "b.PNG", "a.jpg"]
    assert left_out == {".txt": 1, ".jpg": 1}
    (tmp_path / "out").mkdir()
    assert sources[0].write(tmp_path / "out").read_bytes() == good
    assert sources[2].write(tmp_path / "out") == tmp_path / "a.jpg"
    assert [path.parent for path in (tmp_path / "out").rglob("*")] == [tmp_path / "out"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("../a.jpg", "leads out"),
        ("a/../../b.jpg", "leads out"),
        ("/etc/a.jpg", "leads out"),
        ("a\\..\\b.jpg", "leads out"),
        ("inner.zip", "another archive"),
        ("inner.tar.gz", "another archive"),
        (link("a.jpg"), "a link"),
    ],
)
def test_archives_that_are_refused(entry: str | zipfile.ZipInfo, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        list_photos([archive(tmp_path / "x.zip", ("good.jpg", photo_bytes()), (entry, b"x"))])


def test_archives_that_are_damaged_encrypted_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match="damaged"):
        list_photos([tmp_path / "no.zip"])
    with pytest.raises(UserError, match="encrypted"):
        list_photos([encrypted(tmp_path / "e.zip")])
    monkeypatch.setattr(uploads, "MAX_ARCHIVE_BYTES", 3000)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.jpg", bytes(100_000))
    with pytest.raises(UserError, match="unpacks to more"):
        list_photos([bomb])


def test_a_table_of_contents_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    """Such a table takes a hundred times its size in memory, an object per entry."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *[0] * 18)
    count = 2_000_000 // len(entry)
    table = entry * count
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(table), 0, 0)
    (tmp_path / "many.zip").write_bytes(table + end)
    with pytest.raises(UserError, match="too many entries"):
        list_photos([tmp_path / "many.zip"])


def test_an_entry_that_lies_about_its_size_is_one_bad_photo(tmp_path: Path) -> None:
    file = archive(tmp_path / "x.zip", ("a.jpg", photo_bytes()), ("b.jpg", photo_bytes()))
    content = bytearray(file.read_bytes())
    at = content.index(b"PK\x01\x02") + 24  # the uncompressed size in the table of contents
    content[at : at + 4] = struct.pack("<L", 100)
    file.write_bytes(content)
    sources, _ = list_photos([file])
    with pytest.raises(BadPhoto, match="damaged"):
        sources[0].write(tmp_path)
    assert sources[1].write(tmp_path).exists()


def test_numbers_and_sizes_of_photos_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = archive(tmp_path / "many.zip", *((f"{i}.jpg", b"x") for i in range(MAX_PHOTOS + 1)))
    with pytest.raises(UserError, match="more than 200"):
        list_photos([many])
    with pytest.raises(UserError, match="no photo"):
        list_photos([archive(tmp_path / "none.zip", ("a.txt", b"x"))])
    monkeypatch.setattr(uploads, "MAX_PHOTO_BYTES", 100)
    (tmp_path / "a.jpg").write_bytes(photo_bytes())
    with pytest.raises(BadPhoto, match="larger than"):
        single_photo(tmp_path / "a.jpg").write(tmp_path)


def test_names_are_shown_in_one_short_line_and_lead_nowhere(tmp_path: Path) -> None:
    names = ["a\nb.jpg", "x" * 300 + "/y.jpg", "‮gpj.exe.jpg", "a//./b.jpg"]
    sources, _ = list_photos([archive(tmp_path / "x.zip", *((name, b"x") for name in names))])
    for source in sources:
        assert len(source.name) <= 140
        assert source.name.isprintable()
        assert (tmp_path / source.name).resolve().is_relative_to(tmp_path)


def test_only_files_that_were_uploaded_are_received(tmp_path: Path) -> None:
    with UploadFolder() as folder:
        (folder.path / "a.jpg").write_bytes(b"x")
        (folder.path / "link.jpg").symlink_to("/etc/passwd")
        assert folder.received({"path": str(folder.path / "a.jpg")}) == folder.path / "a.jpg"
        for wrong in (
            None, 7, "a.jpg", {}, {"path": None}, {"path": "/etc/passwd"}, {"path": f"{folder.path}/../x"},
            {"path": str(folder.path)}, {"path": f"{folder.path}/link.jpg"}, {"path": f"{folder.path}/a.jpg\0"},
            {"path": f"{folder.path}/gone.jpg"}, {"path": f"{folder.path}/{'x' * 5000}"},
        ):  # fmt: skip
            with pytest.raises(UserError):
                folder.received(wrong)
        assert oct(folder.path.stat().st_mode)[-3:] == "700"
        assert folder.stored_bytes() < 100
        os.utime(folder.path / "a.jpg", (0, 0))
        (folder.path / "new.jpg").write_bytes(b"x")
        folder.remove_older(60)
        assert {path.name for path in folder.path.iterdir()} == {"new.jpg", "link.jpg"}
    assert not folder.path.exists()


def test_all_texts_are_in_both_languages_with_the_same_places() -> None:
    assert translations()["zh-CN"]["recognise"] == "识别"
    for key, languages in TEXTS.items():
        assert languages.keys() == {"en", "zh"}, key
        places = [sorted(re.findall(r"{\w+}", words)) for words in languages.values()]
        assert places[0] == places[1], key
        assert languages["en"].isascii() or key == "about"


def test_reasons_in_chinese_have_the_same_places_and_are_those_that_people_meet(tmp_path: Path) -> None:
    for english, chinese in REASONS:
        places = [sorted(re.findall(r"{\w+}", words)) for words in (english, chinese)]
        assert places[0] == places[1], english
    source = "".join(path.read_text("utf-8") for room in ("ger_datasets", "ger_models")
                     for path in (ROOT / room).rglob("*.py") if path.name != "reasons.py")  # fmt: skip
    for english, _ in REASONS:
        parts = re.split(r"{\w+}|[,:;]| contains ", english)
        assert any(part in source for part in parts if len(part) > 5), english
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    (tmp_path / "b.zip").write_bytes(b"no archive")
    write_sound(tmp_path / "c.mp4")
    for reading, words in (
        (lambda: read_photo(tmp_path / "a.jpg"), "不是支持的图片格式（JPEG, PNG"),
        (lambda: list_photos([tmp_path / "b.zip"]), "无法将 b.zip 作为 zip 压缩包读取"),
        (lambda: list(video_frames(tmp_path / "c.mp4", 1)), "文件只有声音"),
    ):
        with pytest.raises((BadPhoto, BadVideo, UserError)) as raised:
            reading()
        assert reason_in(str(raised.value), "zh").startswith(words)
        assert reason_in(str(raised.value), "en") == str(raised.value)


def test_the_language_is_the_one_that_the_browser_prefers() -> None:
    assert chosen_language("zh-CN,zh;q=0.9,en;q=0.8") == "zh"
    assert chosen_language("en-GB,en;q=0.9,zh;q=0.8") == "en"
    assert chosen_language("x" * 10_000 + ",zh") == "en"
    assert chosen_language("zh;q=9;;,") == "en"
    assert text("not_usable", "en", reason="{broken}") == "This photo cannot be used: {broken}."


def test_blurred_faces_hold_a_few_averages_and_the_rest_is_untouched(
    rng: np.random.Generator,
) -> None:
    noise = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    blurred = np.asarray(blur_faces(image, [[100, 50, 160, 130], [-20, -20, 30, 30]], [0.99, 0.5])).astype(int)
    assert np.array_equal(np.asarray(image), noise)
    assert blurred[60:120, 110:150].std() < 0.2 * noise[60:120, 110:150].std()
    assert blurred[:25, :25].std() < 0.3 * noise[:25, :25].std()
    assert np.array_equal(blurred[150:, :], noise[150:, :])
    only_sure = np.asarray(blur_faces(image, [[100, 50, 160, 130], [0, 0, 30, 30]], [0.99, 0.5], 0.9))
    assert np.array_equal(only_sure[:25, :25], noise[:25, :25])


def test_two_faces_that_differ_in_detail_only_are_the_same_when_blurred(rng: np.random.Generator) -> None:
    """What is gone cannot be restored: the cells' averages are equal, so nothing tells the faces apart."""
    detail = np.kron(np.ones((60, 60)), [[1, -1], [-1, 1]])[..., None].repeat(3, 2)
    one, two = (Image.fromarray((128 + sign * 40 * detail).astype(np.uint8)) for sign in (1, -1))
    boxes = [[0, 0, 120, 120]]
    assert np.array_equal(np.asarray(blur_faces(one, boxes, [1.0])), np.asarray(blur_faces(two, boxes, [1.0])))


def test_answers_keep_their_result_when_faces_are_blurred() -> None:
    image = Image.effect_noise((100, 100), 90).convert("RGB")
    answer = Answer("a", image, {"faces": [{"box": [10, 10, 60, 60], "score": 0.2}]})
    blurred = without_faces(answer)
    assert blurred.result is answer.result
    assert blurred.image.tobytes() != image.tobytes()
    assert without_faces(Answer("b", None, {}, "damaged")).image is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--share", "True"], "refused"),
        (["--share"], "refused"),
        (["--port", "99999"], "0 to 65535"),
        (["--device", "quantum computer"], "--device"),
        (["--auth", "me"], "GROUP_EMOTION_PASSWORD"),
    ],
)
def test_options_that_are_refused(options: list[str], words: str, run_script: Callable) -> None:
    code, _, log = run_script("app", *options)
    assert code == 2
    assert words in log
