"""Every kind of photo file is converted right, or refused with its reason."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from ger_datasets.photos.reading import MAX_BYTES, STORED_PIXELS, decode_photo, read_photo
from ger_datasets.support.errors import BadPhoto


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def quarters(mode: str = "RGB") -> Image.Image:
    """64 x 48: red, green / blue, white, so that every turn and mirroring shows."""
    image = Image.new("RGB", (64, 48), "white")
    image.paste("red", (0, 0, 32, 24))
    image.paste("green", (32, 0, 64, 24))
    image.paste("blue", (0, 24, 32, 48))
    return image.convert(mode)


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Colours in the middle of the four quarters."""
    width, height = image.size
    return [image.getpixel((width * x // 4, height * y // 4)) for y in (1, 3) for x in (1, 3)]


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def assert_upright(image: Image.Image, tolerance: int = 12) -> None:
    assert image.mode == "RGB"
    np.testing.assert_allclose(corners(image), [RED, GREEN, BLUE, WHITE], atol=tolerance)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation: int) -> None:
    turned = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }[orientation](quarters())
    exif = Image.Exif()
    exif[0x0112] = orientation
    for format, options in (("JPEG", {"quality": 95}), ("PNG", {}), ("TIFF", {})):
        photo = decode_photo(saved(turned, format, exif=exif, **options))
        assert photo.image.size == (64, 48), format
        assert_upright(photo.image)


def test_exif_orientation_that_makes_no_sense_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    assert_upright(decode_photo(saved(quarters(), "JPEG", exif=exif, quality=95)).image)


@pytest.mark.parametrize(
    ("content", "tolerance"),
    [
        (lambda: saved(quarters(), "PNG"), 0),
        (lambda: saved(quarters(), "BMP"), 12),
        (lambda: saved(quarters(), "WEBP", lossless=True), 12),
        (lambda: saved(quarters("P"), "PNG"), 60),
        (lambda: saved(quarters("P"), "GIF"), 60),
        (lambda: saved(quarters("RGBA"), "PNG"), 12),
        (lambda: saved(quarters("CMYK"), "JPEG", quality=95), 12),
        (lambda: saved(quarters("CMYK"), "TIFF"), 12),
        (lambda: saved(quarters(), "JPEG", quality=95, progressive=True), 12),
    ],
    ids=["png", "bmp", "webp", "palette-png", "gif", "rgba", "cmyk-jpeg", "cmyk-tiff", "progressive"],
)
def test_modes_and_formats(content: Callable[[], bytes], tolerance: int) -> None:
    assert_upright(decode_photo(content()).image, tolerance)


def test_greyscale() -> None:
    photo = decode_photo(saved(Image.linear_gradient("L"), "JPEG", quality=95))
    assert photo.image.mode == "RGB"
    np.testing.assert_allclose(photo.image.getpixel((100, 200)), (200, 200, 200), atol=3)


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    ramp = (np.arange(64 * 48).reshape(48, 64) * 21).astype(np.uint16)  # 0 to 64,491
    photo = decode_photo(saved(Image.fromarray(ramp), "PNG"))
    values = np.asarray(photo.image)[..., 0].astype(int)
    np.testing.assert_allclose(values, ramp // 257, atol=4)
    assert values.max() > 240


def test_transparency_lies_on_white() -> None:
    hidden = Image.new("RGBA", (64, 48), (255, 0, 0, 0))
    assert decode_photo(saved(hidden, "PNG")).image.getpixel((5, 5)) == (255, 255, 255)
    palette = Image.new("P", (64, 48), 0)
    palette.putpalette([255, 0, 0] + [0] * 765)
    assert decode_photo(saved(palette, "PNG", transparency=0)).image.getpixel((5, 5)) == (255, 255, 255)


def test_animations_give_their_first_frame() -> None:
    frames = [quarters(), Image.new("RGB", (64, 48), "black")]
    for format in ("GIF", "PNG", "WEBP"):
        content = saved(frames[0], format, save_all=True, append_images=frames[1:])
        assert_upright(decode_photo(content).image, 60)


def test_a_plain_jpeg_keeps_its_bytes_and_others_are_what_is_stored() -> None:
    content = saved(quarters(), "JPEG", quality=80)
    assert decode_photo(content).encoded == content
    for content in (saved(quarters("RGBA"), "PNG"), saved(quarters("CMYK"), "JPEG")):
        photo = decode_photo(content)
        with Image.open(io.BytesIO(photo.encoded)) as stored:
            assert stored.format == "JPEG"
            np.testing.assert_array_equal(np.asarray(stored), np.asarray(photo.image))


def test_what_a_file_says_besides_its_pixels_does_not_travel() -> None:
    said = Image.Exif()
    said[0x010F] = "SECRET camera"
    said.get_ifd(0x8825)[29] = "2020:SECRET"  # the position's date
    notes = PngInfo()
    notes.add_text("Comment", "SECRET", zip=False)
    notes.add_itxt("XML:com.adobe.xmp", "<x>SECRET</x>")
    xmp = b"http://ns.adobe.com/xap/1.0/\0SECRET"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = quarters()
    files = [
        saved(image, "JPEG", exif=said, comment=b"SECRET", xmp=xmp, icc_profile=profile, quality=80),
        saved(image, "JPEG", exif=said, comment=b"SECRET", progressive=True, icc_profile=profile),
        saved(image, "JPEG", comment=b"SECRET", restart_marker_blocks=2, icc_profile=profile) + b"SECRET behind",
        saved(image, "PNG", exif=said, pnginfo=notes, icc_profile=profile) + b"SECRET",
    ]
    for content in files:
        assert b"SECRET" in content
        photo = decode_photo(content)
        assert b"SECRET" not in photo.encoded
        with Image.open(io.BytesIO(content)) as before, Image.open(io.BytesIO(photo.encoded)) as after:
            np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
            assert before.format == after.format
            assert after.info["icc_profile"] == profile
            assert not after.getexif()
    for made in (saved(quarters("CMYK"), "JPEG", comment=b"SECRET"), saved(image, "GIF", comment=b"SECRET")):
        assert b"SECRET" in made
        assert b"SECRET" not in decode_photo(made).encoded


def test_a_jpeg_that_is_damaged_is_what_is_stored(rng: np.random.Generator) -> None:
    whole = saved(quarters(), "JPEG", progressive=True)
    taken = 0
    for _ in range(300):
        content = bytearray(whole)
        content[rng.integers(len(content))] = rng.integers(256)
        try:
            photo = decode_photo(bytes(content))
        except BadPhoto:
            continue
        taken += 1
        with Image.open(io.BytesIO(photo.encoded)) as stored:
            np.testing.assert_array_equal(np.asarray(stored), np.asarray(photo.image))
    assert taken > 50


@pytest.mark.slow
def test_a_photo_of_108_million_pixels_is_reduced() -> None:
    image = quarters().resize((12000, 9000), Image.Resampling.NEAREST)
    photo = decode_photo(saved(image, "JPEG", quality=50))
    assert photo.image.width * photo.image.height <= STORED_PIXELS
    assert photo.image.width / photo.image.height == pytest.approx(4 / 3, rel=1e-3)
    assert photo.image.width > 5000
    assert_upright(photo.image)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is `width` x `height` and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image"),
        (b"hello, I am a text", "not an image"),
        (b"%PDF-1.4 nothing", "not an image"),
        (lambda: saved(quarters(), "JPEG")[:-200], "damaged"),
        (lambda: saved(quarters().resize((640, 480)), "PNG")[:-300], "damaged"),
        (lambda: saved(Image.new("RGB", (1, 1)), "PNG"), "1 x 1 pixels"),
        (lambda: saved(Image.new("RGB", (2000, 20)), "PNG"), "strip"),
        (png_header(60_000, 60_000), "pixels"),
        (png_header(15_000, 15_000), "pixels"),
        (png_header(640, 480), "damaged"),
        (lambda: saved(Image.new("F", (64, 48)), "TIFF"), "floating-point"),
        (lambda: saved(Image.fromarray(np.full((48, 64), 10**6, np.int32)), "TIFF"), "16 bits"),
    ],
)
def test_bad_photos_are_refused_with_their_reason(content: bytes | Callable[[], bytes], reason: str) -> None:
    with pytest.raises(BadPhoto, match=reason):
        decode_photo(content if isinstance(content, bytes) else content())


def test_flipped_bits_never_raise_anything_else(rng: np.random.Generator) -> None:
    whole = {format: saved(quarters(), format) for format in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")}
    refused = 0
    for format, content in whole.items():
        for _ in range(60):
            damaged = bytearray(content)
            for place in rng.integers(0, len(content), 4):
                damaged[place] ^= 1 << int(rng.integers(8))
            try:
                photo = decode_photo(bytes(damaged))
            except BadPhoto:
                refused += 1
            else:
                assert photo.image.mode == "RGB", format
    assert refused > 20


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(BadPhoto, match="0 bytes"):
        read_photo(tmp_path / "empty.jpg")
    with pytest.raises(BadPhoto, match="No such file"):
        read_photo(tmp_path / "gone.jpg")
    with pytest.raises(BadPhoto, match="directory"):
        read_photo(tmp_path)
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no room on disk
    with pytest.raises(BadPhoto, match="at most"):
        read_photo(tmp_path / "huge.jpg")
    with pytest.raises(BadPhoto) as error:
        read_photo(tmp_path / "gone.jpg")
    assert str(tmp_path) not in str(error.value)
