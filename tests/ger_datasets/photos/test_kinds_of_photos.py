"""Photos as phones, cameras, browsers and image programs write them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from colour_profiles import assembled, grey_profile, in_srgb, rgb_profile
from PIL import Image, ImageCms, TiffImagePlugin

from ger_datasets.emotic.boxes import read_frame
from ger_datasets.legacy.source import _has_pixels_of
from ger_datasets.photos.reading import STORED_PIXELS, SUFFIXES, convert_image, decode_photo, open_photo, read_photo
from ger_datasets.photos.reading import orientation as orientation_of
from ger_datasets.support.errors import BadPhoto
from ger_models.inference.inputs import files_inside
from ger_models.processing_pixels import pixels_of


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def blocks(width: int = 64, height: int = 48) -> Image.Image:
    """Muted colours in blocks of 16 x 16 pixels, inside every colour space."""
    drawn = np.random.default_rng(5).integers(60, 200, (height // 16, width // 16, 3), dtype=np.uint8)
    return Image.fromarray(drawn).resize((width, height), Image.Resampling.NEAREST)


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png_with(extra: bytes, image: Image.Image | None = None, before: bytes = b"IDAT") -> bytes:
    content = saved(image or blocks(), "PNG")
    place = content.index(before) - 4
    return content[:place] + extra + content[place:]


def assert_close(image: Image.Image, expected: np.ndarray, atol: int = 3) -> None:
    """Of blocks: their centres, as JPEG blurs edges."""
    shown = np.asarray(image).astype(int)[8::16, 8::16]
    np.testing.assert_allclose(shown, expected.astype(int)[8::16, 8::16], atol=atol)


# HEIC and AVIF


@pytest.mark.parametrize(("format", "suffix"), [("HEIF", ".heic"), ("AVIF", ".avif")])
def test_heic_and_avif_are_read_and_stored_as_jpeg(format: str, suffix: str, tmp_path: Path) -> None:
    assert {suffix, ".heif", ".hif"} <= SUFFIXES
    said = Image.Exif()
    said[0x010F] = "SECRET camera"
    content = saved(blocks(), format, quality=95, exif=said)
    assert b"SECRET" in content
    (tmp_path / f"photo{suffix}").write_bytes(content)
    photo = read_photo(tmp_path / f"photo{suffix}")
    assert_close(photo.image, np.asarray(blocks()), 8)
    assert b"SECRET" not in photo.encoded
    with Image.open(io.BytesIO(photo.encoded)) as stored:
        assert stored.format == "JPEG"
        np.testing.assert_array_equal(np.asarray(stored), np.asarray(photo.image))


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_a_phone_held_upright(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(blocks().transpose(Image.Transpose.ROTATE_90), format, quality=95, exif=exif.tobytes())
    photo = decode_photo(content)
    assert photo.image.size == (64, 48)
    assert_close(photo.image, np.asarray(blocks()), 8)


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_a_damaged_heic_or_avif_is_refused(format: str, rng: np.random.Generator) -> None:
    content = saved(blocks(640, 480), format)
    for share in (2, 5, 9):
        with pytest.raises(BadPhoto):
            decode_photo(content[: len(content) * share // 10])


# Files with mistakes that cost no pixels

BIG_TEXT = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 << 20)))
BIG_PROFILE = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2 << 20)))


@pytest.mark.parametrize(
    ("extra", "before"),
    [
        (BIG_TEXT, b"IDAT"),
        (BIG_TEXT, b"IEND"),
        (chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2 << 20))), b"IDAT"),
        (BIG_PROFILE, b"IDAT"),
        (chunk(b"iCCP", b"x\0\7" + zlib.compress(bytes(99))), b"IDAT"),
        (chunk(b"tEXt", b"Comment\0hello", crc=1), b"IDAT"),
        (chunk(b"tIME", bytes(7), crc=1), b"IEND"),
        (chunk(b"eXIf", b"II*\0" + b"\xff" * 30), b"IDAT"),
        (chunk(b"eXIf", b"garbage"), b"IEND"),
        (chunk(b"pHYs", b"\1"), b"IDAT"),
        (chunk(b"sRGB", b""), b"IDAT"),
        (chunk(b"gAMA", b"\1", crc=7), b"IDAT"),
        (chunk(b"tRNS", b"\1"), b"IDAT"),
    ],
    ids=(
        *("text", "text-behind", "xmp", "profile", "profile-method", "crc", "crc-behind"),
        *("exif", "exif-behind", "size", "srgb", "gamma", "trns"),
    ),
)
def test_a_faulty_chunk_is_no_reason_to_refuse_a_png(extra: bytes, before: bytes, tmp_path: Path) -> None:
    content = png_with(extra, before=before)
    photo = decode_photo(content)
    np.testing.assert_array_equal(np.asarray(photo.image), np.asarray(blocks()))
    assert photo.encoded == decode_photo(saved(blocks(), "PNG")).encoded, "the coded pixels, without the chunk"
    (tmp_path / "a.png").write_bytes(content)
    with open_photo(tmp_path / "a.png") as opened:  # as builders look at headers
        assert opened.size == (64, 48)
        assert orientation_of(opened) == 1


def test_a_wrong_checksum_of_pixels_is_refused() -> None:
    content = bytearray(saved(blocks(), "PNG"))
    content[content.index(b"IDAT") + 12] ^= 0xFF
    with pytest.raises(BadPhoto):
        decode_photo(bytes(content))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_garbage_in_exif_turns_nothing(format: str) -> None:
    image = blocks()
    if format == "TIFF":  # its EXIF is a directory of the file
        info = TiffImagePlugin.ImageFileDirectory_v2()
        info.tagtype[274] = 2
        info[274] = "garbage"
        content = saved(image, format, tiffinfo=info)
    else:
        content = saved(image, format, exif=b"Exif\0\0II*\0" + b"\xff" * 30)
    assert_close(decode_photo(content).image, np.asarray(image), 12)
    with Image.open(io.BytesIO(content)) as opened:
        assert_close(convert_image(opened), np.asarray(image), 12)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_without_its_end_marker(mode: str, options: dict) -> None:
    whole = saved(blocks(640, 480).convert(mode), "JPEG", quality=90, **options)
    for lacking in (1, 2):
        photo = decode_photo(whole[:-lacking])
        np.testing.assert_array_equal(np.asarray(photo.image), np.asarray(decode_photo(whole).image))
        with Image.open(io.BytesIO(photo.encoded)) as stored:
            np.testing.assert_array_equal(np.asarray(stored.convert("RGB")), np.asarray(photo.image))
    for lacking in (20, 300, len(whole) // 2):
        with pytest.raises(BadPhoto, match="truncated"):
            decode_photo(whole[:-lacking])


# Colour profiles


def p3_and_others() -> list[str]:
    return ["Display P3", "Adobe RGB", "red and blue exchanged"]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("name", p3_and_others())
def test_profiles_are_converted_to_srgb(name: str, format: str) -> None:
    options = {"quality": 95} | ({"lossless": True} if format == "WEBP" else {})
    content = saved(blocks(), format, icc_profile=rgb_profile(name), **({} if format == "TIFF" else options))
    photo = decode_photo(content)
    expected = in_srgb(np.asarray(blocks()), name)
    assert np.abs(expected.astype(int) - np.asarray(blocks())).max() > 12
    assert_close(photo.image, expected, 3 if format in ("JPEG", "PNG", "WEBP", "TIFF") else 12)
    with Image.open(io.BytesIO(photo.encoded)) as stored:
        assert stored.format == "JPEG"
        assert stored.quantization[0][0] <= 2, "high quality"
        assert "icc_profile" not in stored.info, "nobody converts it a second time"
        np.testing.assert_array_equal(np.asarray(stored), np.asarray(photo.image))
    with Image.open(io.BytesIO(content)) as opened:
        np.testing.assert_array_equal(np.asarray(convert_image(opened)), np.asarray(photo.image))


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA"])
def test_profiles_of_other_modes(mode: str) -> None:
    image = blocks().quantize() if mode == "P" else blocks().convert(mode)
    name = "red and blue exchanged"
    expected = in_srgb(np.asarray(image.convert("RGB")), name)
    assert_close(decode_photo(saved(image, "PNG", icc_profile=rgb_profile(name))).image, expected)


def test_grey_profiles() -> None:
    grey = blocks().convert("L")
    dark = decode_photo(saved(grey, "JPEG", quality=100, icc_profile=grey_profile(1.0))).image
    linear = np.asarray(grey) / 255
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert_close(dark, np.repeat(expected[..., None], 3, 2), 4)
    lossless = saved(grey, "PNG", icc_profile=grey_profile(1.0))
    assert decode_photo(lossless, lossless=True).encoded != decode_photo(saved(grey, "PNG"), lossless=True).encoded
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert_close(decode_photo(saved(sixteen, "PNG", icc_profile=grey_profile(1.0))).image, np.asarray(dark), 4)


def cmyk_profile(lightness: int) -> bytes:
    """White paper, on which any ink gives a grey of this CIE lightness."""
    colours = bytes([255, 128, 128]) + bytes([lightness * 255 // 100, 128, 128]) * 15
    table = struct.pack(">4s4x4B", b"mft1", 4, 3, 2, 0) + struct.pack(">9i", *(65536, 0, 0, 0) * 2, 65536)
    table += bytes(range(256)) * 4 + colours + bytes(range(256)) * 3
    return assembled(b"CMYK", {b"A2B0": table, b"A2B1": table}, b"prtr", b"Lab ")


def test_cmyk_profiles() -> None:
    """Printers' colours: without the profile pure cyan is (0, 255, 255)."""
    cyan = Image.new("CMYK", (64, 48), (255, 0, 0, 0))
    for format in ("JPEG", "TIFF"):
        plain, profiled = (saved(cyan, format, **each) for each in ({}, {"icc_profile": cmyk_profile(50)}))
        assert decode_photo(plain).image.getpixel((9, 9)) == pytest.approx((0, 255, 255), abs=3)
        red, green, blue = decode_photo(profiled).image.getpixel((9, 9))
        assert (red, green, blue) == pytest.approx((red, red, red), abs=3)
        assert 90 < red < 140


def test_a_reduced_photo_is_converted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ger_datasets.photos.reading.STORED_PIXELS", 1200)
    profile = rgb_profile("red and blue exchanged")
    photo = decode_photo(saved(blocks(), "PNG", icc_profile=profile))
    plain = decode_photo(saved(blocks(), "PNG"))
    assert photo.image.size == plain.image.size == (40, 30)
    middle = np.asarray(plain.image)[5::10, 5::10]
    np.testing.assert_allclose(np.asarray(photo.image)[5::10, 5::10], middle[..., ::-1], atol=8)


def test_what_says_srgb_keeps_its_coded_pixels() -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format in ("JPEG", "PNG"):
        plain = saved(blocks(), format)
        photo = decode_photo(saved(blocks(), format, icc_profile=own))
        np.testing.assert_array_equal(np.asarray(photo.image), np.asarray(Image.open(io.BytesIO(plain))))
        with Image.open(io.BytesIO(photo.encoded)) as stored:
            assert stored.format == format


@pytest.mark.parametrize(
    "profile",
    [b"garbage" * 50, rgb_profile("Display P3")[:200], grey_profile(1.0), bytes(3000), b"x"],
    ids=["garbage", "cut", "of grey", "zeros", "one byte"],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_broken_profile_is_ignored(format: str, profile: bytes) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    photo = decode_photo(saved(blocks(), format, icc_profile=profile, **options))
    expected = decode_photo(saved(blocks(), format, **options))
    np.testing.assert_array_equal(np.asarray(photo.image), np.asarray(expected.image))


# Never silently black


def twelve_bits() -> np.ndarray:
    return (np.arange(64 * 48).reshape(48, 64) % 64 * 65).astype(np.uint16)  # 0 to 4,095


def tiff(values: np.ndarray, tags: dict[int, int] | None = None) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in (tags or {}).items():
        info[tag] = value
    return saved(Image.fromarray(values), "TIFF", tiffinfo=info)


@pytest.mark.parametrize(
    ("content", "white"),
    [
        (lambda: saved(Image.fromarray(twelve_bits()), "PNG"), 4095),
        (lambda: tiff(twelve_bits()), 4095),
        (lambda: tiff(twelve_bits() // 2, {281: 4095}), 2 * 4095),
        (lambda: tiff(twelve_bits() // 4), 1023),
        (lambda: tiff((twelve_bits() // 16).astype(np.int32)), 255),
        (lambda: tiff((twelve_bits() // 16).astype(np.int32), {281: 65535}), 255),
        (lambda: tiff(twelve_bits().astype(np.int32) * 16), 65535),
    ],
    ids=["png", "tiff", "tiff that declares more", "10 bits", "int32", "int32 with a default", "int32 of 16 bits"],
)
def test_integers_are_scaled_by_their_range(content: Callable[[], bytes], white: int) -> None:
    values = np.asarray(Image.open(io.BytesIO(content()))).astype(int)
    shown = np.asarray(decode_photo(content()).image)[..., 0].astype(int)
    expected = values * 255 // (white if white != 2 * 4095 else 4095)
    np.testing.assert_allclose(shown, expected, atol=6)
    assert shown.max() > 100


def test_the_range_is_that_of_the_whole_photo_when_it_is_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ger_datasets.photos.reading.STORED_PIXELS", 96 * 64)
    rows = np.repeat(np.linspace(0, 4095, 192, dtype=np.uint16)[:, None], 128, 1)
    shown = np.asarray(decode_photo(saved(Image.fromarray(rows), "PNG")).image)[..., 0].astype(int)
    assert (np.diff(shown[:, 30]) >= 0).all()
    assert shown[-1, 30] > 240


def test_16_bit_colours_that_would_be_black_are_refused() -> None:
    rows = b"".join(b"\0" + (np.repeat(row, 3).astype(">u2")).tobytes() for row in twelve_bits())
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0))
    dark = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with pytest.raises(BadPhoto, match="16-bit colours with values of at most 12 bits"):
        decode_photo(dark)
    rows = b"".join(b"\0" + (np.repeat(row * 16, 3).astype(">u2")).tobytes() for row in twelve_bits())
    good = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.asarray(decode_photo(good).image).max() > 240


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_a_fully_transparent_picture_is_shown(format: str) -> None:
    image = blocks()
    image.putalpha(0)
    content = saved(image, format, **({"lossless": True, "exact": True} if format == "WEBP" else {}))
    assert_close(decode_photo(content).image, np.asarray(blocks()))
    assert_close(convert_image(image), np.asarray(blocks()))


def test_a_transparent_palette_is_shown() -> None:
    image = blocks().convert("P", palette=Image.Palette.ADAPTIVE)
    content = saved(image, "PNG", transparency=bytes(256))
    assert_close(decode_photo(content).image, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("colour", ["black", "white"])
def test_an_animation_that_begins_blank(format: str, colour: str) -> None:
    blank = Image.new("RGB", (64, 48), colour)
    options = {"quality": 95} if format == "AVIF" else {"lossless": True} if format == "WEBP" else {}
    lighter = Image.eval(blocks(), lambda value: value + 40)  # frames that are alike would be joined
    content = saved(blank, format, save_all=True, append_images=[blank, lighter, blocks()], **options)
    assert_close(decode_photo(content).image, np.asarray(lighter), 40)


def test_a_photo_that_is_blank_stays_so() -> None:
    for images in ([], [Image.new("RGB", (64, 48), "black")] * 3):
        content = saved(Image.new("RGB", (64, 48), "navy"), "GIF", save_all=True, append_images=images)
        assert decode_photo(content).image.size == (64, 48)


# Files that are no photos


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", r"a web page \(HTML\)"),
        (b"\xef\xbb\xbf  <HTML lang=en>", r"a web page \(HTML\)"),
        (b"<!-- saved from -->\n<html>", r"a web page \(HTML\)"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "a Git LFS pointer.*git lfs pull",
        ),
        (b'{"error": "Not Found"}', "JSON text"),
        (b'[{"message": "rate limit"}]', "JSON text"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML text"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"Access denied", "text: 'Access denied'"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),
        (bytes(5000), "only zeros"),
    ],
)
def test_the_message_says_what_the_file_is(content: bytes, kind: str, tmp_path: Path) -> None:
    with pytest.raises(BadPhoto, match=f"^not an image in one of the formats .*; the file is {kind}"):
        decode_photo(content)
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(BadPhoto, match=kind):
        read_photo(tmp_path / "photo.jpg")


def test_unknown_bytes_are_not_guessed_at() -> None:
    with pytest.raises(BadPhoto, match=r"HEIF$"):
        decode_photo(b"\x93\x01\xfe\xc0" * 30)


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(BadPhoto, match="cannot be read"):
        read_photo(Path("a\0b.jpg"))


def test_opening_a_header_says_why_it_fails(tmp_path: Path) -> None:
    for place in (tmp_path / "gone.jpg", tmp_path):
        with pytest.raises(BadPhoto, match="the file cannot be read: ") as error, open_photo(place):
            pass
        assert str(tmp_path) not in str(error.value)
    assert STORED_PIXELS == 25_000_000


# Other readers of photo files


def test_builders_look_at_headers_as_photos_are_read(tmp_path: Path) -> None:
    """A faulty chunk or garbage in EXIF costs an EMOTIC photo no boxes, and legacy features no photo."""
    garbage = b"Exif\0\0II*\0" + b"\xff" * 30
    files = {
        "a.png": png_with(BIG_TEXT),
        "b.png": png_with(chunk(b"eXIf", b"garbage")),
        "c.webp": saved(blocks(), "WEBP", exif=garbage),
        "d.heic": saved(blocks(), "HEIF"),
        "e.avif": saved(blocks(), "AVIF"),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        photo = read_photo(tmp_path / name)
        assert read_frame(tmp_path / name).fits((64, 48)), name
        assert _has_pixels_of(tmp_path / name, photo.image), name


def test_every_reader_of_a_prepared_dataset_sees_srgb(run_script: Callable, raw_folder: Path, tmp_path: Path) -> None:
    folder = raw_folder / "train" / "Neutral"
    name = "red and blue exchanged"
    plain = saved(blocks(), "JPEG", quality=95)
    (folder / "phone.jpg").write_bytes(saved(blocks(), "JPEG", quality=95, icc_profile=rgb_profile(name)))
    (folder / "phone.heic").write_bytes(saved(blocks(), "HEIF", quality=95))
    (folder / "plain.jpg").write_bytes(plain)
    (folder / "pointer.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n")
    out = tmp_path / "out"
    code, figures, log = run_script(
        "prepare", "--dataset", "gaf3", "--source", raw_folder, "--output", out, "--num_proc", 1
    )
    assert (code, figures["quarantined"]) == (0, 1), log
    assert "Git LFS pointer" in (out / "quarantine.jsonl").read_text()
    rows = pq.read_table(out / "data", columns=["image_id", "image"]).to_pylist()
    stored = {row["image_id"]: row["image"]["bytes"] for row in rows}
    assert stored["train/Neutral/plain"] == plain
    files = sorted(key for key in stored if "/phone" in key)
    assert len(files) == 2
    expected = [in_srgb(np.asarray(blocks()), name), np.asarray(blocks())]
    for pixels in expected:  # simplejpeg, which ignores profiles, and Pillow
        assert any(
            np.abs(pixels_of({"bytes": stored[key], "path": None}).permute(1, 2, 0).numpy().astype(int) - pixels)[
                8::16, 8::16
            ].max()
            < 8
            for key in files
        )


def test_predict_reports_what_a_folder_of_photos_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "in" / "day 2").mkdir(parents=True)
    for name in ("a.jpg", "day 2/b.HEIC", "c.avif", "notes.txt", "day 2/raw.CR2", "d.cr2", ".hidden", "no suffix"):
        (tmp_path / "in" / name).touch()
    (tmp_path / "in" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    inside, others = files_inside(tmp_path / "in", SUFFIXES)
    assert [path.name for path in inside] == ["a.jpg", "c.avif", "b.HEIC"]
    assert others == {
        ".txt": 1, ".cr2": 2, "hidden": 1, "without suffix": 1, "broken links or no files": 1, "links to folders": 1
    }  # fmt: skip
