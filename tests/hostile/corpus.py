"""Files that mean harm, or are broken, made by code: the same bytes on every machine.

    phone_photos()  HEIC, AVIF and colour profiles, and whether they are read; part of photos()
    photos()      names and bytes of pictures: bombs, cut and flipped ones, polyglots, odd EXIF
    names()       file names that are hard to print, sort or store
    mutated(...)  copies of a file with bits flipped, parts cut, doubled or swapped

What would run code makes a folder called `MARKER` where the process works: nobody who reads these files may make it.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator

from colour_profiles import rgb_profile
from packaging.version import Version
from PIL import Image
from pillow_heif import libheif_version, register_heif_opener

register_heif_opener()

MARKER = "hostile_code_ran"
SIDES = (64, 48)


def picture(width: int = SIDES[0], height: int = SIDES[1], seed: int = 0) -> Image.Image:
    """Coloured noise of 8-pixel blocks."""
    drawn = random.Random(seed)
    small = Image.frombytes("RGB", (width // 8, height // 8), drawn.randbytes(width // 8 * (height // 8) * 3))
    return small.resize((width, height), Image.Resampling.NEAREST)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def mutated(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` damaged copies: flipped bits, cuts, doubled, swapped, zeroed and overwritten runs, lying numbers."""
    drawn = random.Random(f"{seed}/{len(content)}")
    for number in range(count):
        damaged = bytearray(content or bytes(1))
        for _ in range(drawn.choice((1, 1, 2, 4, 16))):
            place = drawn.randrange(len(damaged))
            run = min(len(damaged) - place, drawn.choice((1, 2, 4, 8, 32)))
            match (number + drawn.randrange(2)) % 8:
                case 0 | 1:
                    damaged[place] ^= 1 << drawn.randrange(8)
                case 2:
                    del damaged[max(place, 1) :]
                case 3:
                    damaged[place:place] = damaged[place : place + run] * drawn.choice((1, 3, 50))
                case 4:
                    damaged[place : place + run] = bytes(run)
                case 5:
                    damaged[place : place + run] = b"\xff" * run
                case 6:
                    damaged[place : place + run] = drawn.randbytes(run)
                case 7:
                    del damaged[place : place + run]
            if not damaged:
                damaged = bytearray(1)
        yield bytes(damaged)


# PNG


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(count: int) -> bytes:
    """What inflates to `count` zeros: one deflated block over and over, and the checksum that zeros have."""
    size = 1 << 20
    stream = zlib.compressobj(9, wbits=-15)
    block = stream.compress(bytes(size)) + stream.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compressobj(9, wbits=-15)
    end = rest.compress(bytes(count % size)) + rest.flush()
    checksum = (count % 65521) << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + block * (count // size) + end + struct.pack(">I", checksum)


def png(width: int, height: int, bits: int = 8, colour: int = 2, extra: bytes = b"", pixels: bytes = b"") -> bytes:
    """A whole, valid PNG of zeros; colour 0: grey, 2: RGB, 4: grey and alpha, 6: RGBA."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = 1 + (width * samples * bits + 7) // 8
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    data = chunk(b"IDAT", pixels or zeros(row * height))
    return b"\x89PNG\r\n\x1a\n" + header + extra + data + chunk(b"IEND", b"")


def bombs() -> dict[str, bytes]:
    """Small files that ask for much memory or time. Those of 13,300 pixels a side are within Pillow's limit."""
    side = 13_300
    return {
        "60000x60000.png": png(60_000, 60_000),
        "60000x60000_1bit.png": png(60_000, 60_000, 1, 0),
        "rgba_178_megapixels.png": png(side, side, 8, 6),
        "rgba_117_megapixels.png": png(10_800, 10_800, 8, 6),
        "progressive_178_megapixels.jpg": progressive(side, side),
        "lossless_100_megapixels.webp": webp(10_000, 10_000),
        "16bit_178_megapixels.png": png(side, side, 16, 0),
        "grey_alpha_178_megapixels.png": png(side, side, 8, 4),
        "1bit_178_megapixels.png": png(side, side, 1, 0),
        "text_bomb.png": png(*SIDES, extra=chunk(b"zTXt", b"Comment\0\0" + zeros(1 << 30))),
        "profile_bomb.png": png(*SIDES, extra=chunk(b"iCCP", b"x\0\0" + zeros(1 << 30))),
        "many_scans.jpg": many_scans(3000, 3000, 2000),
        "many_scans.mpo.jpg": mpo(many_scans(3000, 3000, 2000)),
        "huge.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + b",\0\0\0\0"
        + struct.pack("<HH", 65535, 65535) + b"\0\x02\x01\x04\0;",
        "frames.gif": frames(5000),
        "huge.bmp": b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24,
                                                                           0, 0, 0, 0, 0, 0),
        "huge.webp": webp(16383, 16383),
        "huge.tif": tiff(60_000, 60_000),
        "strips.tif": tiff(*SIDES, strips=1 << 30),
    }  # fmt: skip


def frames(count: int) -> bytes:
    """A GIF of many frames."""
    first = saved(picture().convert("P"), "GIF")
    start = first.index(b",", 13 + 3 * 2 ** ((first[10] & 7) + 1))
    return first[:-1] + first[start:-1] * (count - 1) + b";"


def many_scans(width: int, height: int, count: int) -> bytes:
    """A progressive JPEG whose last scan is there `count` times, each of which must pass over all pixels."""
    content = saved(Image.new("RGB", (width, height), "red"), "JPEG", progressive=True, quality=50)
    start = content.rindex(b"\xff\xda")
    return content[:-2] + content[start:-2] * count + b"\xff\xd9"


def progressive(width: int, height: int) -> bytes:
    """A whole progressive JPEG of grey, whose coefficients a decoder must hold all at once."""

    def segment(marker: int, data: bytes) -> bytes:
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data

    bits = 3 * -(-width // 8) * -(-height // 8)  # each block's colour is that of the one before: one bit
    scan = bytes(bits // 8) + (bytes([(1 << (8 - bits % 8)) - 1]) if bits % 8 else b"")
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"".join(bytes([i, 0x11, 0]) for i in (1, 2, 3))
    huffman = b"\0\x01" + bytes(15) + b"\0"
    head = segment(0xDB, b"\0" + b"\x01" * 64) + segment(0xC2, frame) + segment(0xC4, huffman)
    return b"\xff\xd8" + head + segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 0, 0])) + scan + b"\xff\xd9"


def mpo(jpeg: bytes) -> bytes:
    """A JPEG as the first of a file of several pictures, as some cameras write them."""
    entries = struct.pack("<IIIHH", 0x20030000, len(jpeg), 0, 0, 0) * 2
    tags = struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, 2)
    tags += struct.pack("<HHII", 0xB002, 7, len(entries), 8 + 2 + 36 + 4)
    content = b"MPF\0II*\0" + struct.pack("<IH", 8, 3) + tags + bytes(4) + entries
    return jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def webp(width: int, height: int) -> bytes:
    """A lossless WebP that says it is so large and ends there."""
    size = (width - 1) | (height - 1) << 14
    data = b"\x2f" + struct.pack("<I", size) + bytes(20)
    body = b"WEBPVP8L" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(width: int, height: int, strips: int = 8, entries: tuple[tuple[int, int, int, int], ...] = ()) -> bytes:
    """A TIFF whose one strip has `strips` bytes, which are not there; `entries` are (tag, type, count, value)."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, strips), *entries]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4)


# pictures that are something else as well, or lie


def exif(*entries: tuple[int, int, int, int], next_ifd: int = 0) -> bytes:
    """EXIF with these (tag, type, count, value) entries."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", next_ifd)


def jpeg_with(segment: bytes, marker: int = 0xE1, times: int = 1) -> bytes:
    """A good JPEG with this segment after its start."""
    content = saved(picture(), "JPEG", quality=90)
    return (
        content[:2] + (b"\xff" + bytes([marker]) + struct.pack(">H", len(segment) + 2) + segment) * times + content[2:]
    )


def sized(content: bytes, width: int, height: int) -> bytes:
    """A HEIC or AVIF file that says it is so large."""
    place = content.index(b"ispe") + 8
    return content[:place] + struct.pack(">II", width, height) + content[place + 8 :]


def phone_photos() -> dict[str, tuple[bytes, bool]]:
    """Name -> content, and whether it is read: HEIC and AVIF, good, cut and lying, and colour profiles."""
    made = {}
    old_libheif = Version(libheif_version()) < Version("1.23")  # it goes by the pixels, not by what is said
    for format, suffix in (("HEIF", "heic"), ("AVIF", "avif")):
        lie = old_libheif and format == "HEIF"
        good, garbage = saved(picture(), format), b"x" * 500
        p3 = rgb_profile("Display P3")
        made |= {
            f"good.{suffix}": (good, True),
            f"{suffix}_called.jpg": (good, True),
            f"behind.{suffix}": (good + b"<?php system('mkdir " + MARKER.encode() + b"'); ?>", True),
            f"exif_garbage.{suffix}": (saved(picture(), format, exif=b"Exif\0\0II*\0" + b"\xff" * 30), True),
            f"p3.{suffix}": (saved(picture(), format, icc_profile=p3), True),
            f"profile_garbage.{suffix}": (saved(picture(), format, icc_profile=garbage), True),
            f"huge.{suffix}": (sized(good, 60_000, 60_000), False),
            f"many_megabytes.{suffix}": (sized(good, 9_000, 9_000), lie),
            f"dot.{suffix}": (sized(good, 1, 1), lie),
            f"strip.{suffix}": (sized(good, 4_000, 20), lie),
            f"no_pixels.{suffix}": (good[: good.index(b"mdat") + 4], False),
            f"no_index.{suffix}": (good.replace(b"iloc", b"free"), False),
            f"only_brand.{suffix}": (good[:28], False),
            f"other_codec.{suffix}": (good.replace(b"hvc1", b"vvc1").replace(b"av01", b"vvc1"), False),
        }
        made |= {f"cut_{share}_tenths.{suffix}": (good[: len(good) * share // 10], False) for share in (1, 3, 5, 7, 9)}
    bomb = zeros(1 << 26)
    made |= {
        "p3.jpg": (jpeg_with(b"ICC_PROFILE\0\1\1" + p3, 0xE2), True),
        "profile_cut.jpg": (jpeg_with(b"ICC_PROFILE\0\1\1" + p3[:200], 0xE2), True),
        "profile_many_tags.jpg": (jpeg_with(b"ICC_PROFILE\0\1\1" + lying_profile(p3), 0xE2), True),
        "profile_of_64_mb.png": (png(*SIDES, extra=chunk(b"iCCP", b"x\0\0" + bomb)), True),
        "text_of_64_mb.png": (png(*SIDES, extra=chunk(b"iTXt", b"x\0\1\0\0\0" + bomb)), True),
        "wrong_checksum.png": (png(*SIDES, extra=chunk(b"tEXt", b"x\0y")[:-1] + b"?"), True),
        "12_bits.tif": (saved(Image.new("I;16", SIDES, 4095), "TIFF"), True),
        "blank_frames.gif": (frames(300), True),
    }  # fmt: skip
    return made


def lying_profile(profile: bytes) -> bytes:
    """A colour profile whose first tags say that they are elsewhere, and larger than the file."""
    return profile[:136] + b"\xff" * 8 + profile[144:]


def photos() -> dict[str, bytes]:
    """Every picture but the `bombs`: names with the suffix that a folder would show, and bytes."""
    jpeg, whole = saved(picture(), "JPEG", quality=90), {}
    for format in ("PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG"):
        whole[format.lower()] = saved(picture().convert("P") if format == "GIF" else picture(), format)
    script = b"<?php system('mkdir " + MARKER.encode() + b"'); ?>"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/><script>{MARKER}</script></svg>'
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../" + MARKER, b"out of the folder")
    postscript = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n(%pipe%mkdir {MARKER}) (r) file\nshowpage\n"
    made = {
        "nothing.jpg": b"", "one_byte.jpg": b"\xff", "text.jpg": b"hello", "zeros.jpg": bytes(4096),
        "only_start.jpg": jpeg[:2], "no_end.jpg": jpeg[:-2], "two_in_one.jpg": jpeg + jpeg,
        "php.jpg": jpeg_with(script, 0xFE), "php_behind.jpg": jpeg + script,
        "zip_behind.jpg": jpeg + archive.getvalue(), "zip.jpg": archive.getvalue(), "html.jpg": b"<html>" + jpeg,
        "svg.png": svg.encode(), "postscript.jpg": postscript.encode(), "pdf.jpg": b"%PDF-1.7\n" + jpeg,
        "mvg.png": f"push graphic-context\nimage over 0,0 0,0 '|mkdir {MARKER}'\npop graphic-context".encode(),
        "png_called.jpg": whole["png"], "gif_called.png": whole["gif"], "pickle.jpg": b"\x80\x04cos\nmkdir\n.",
        "exif_huge.jpg": jpeg_with(b"Exif\0\0" + bytes(60_000), times=200),
        "exif_garbage.jpg": jpeg_with(b"Exif\0\0garbage that is no TIFF"),
        "exif_empty.jpg": jpeg_with(b"Exif\0\0"),
        "exif_lying_count.jpg": jpeg_with(exif((0x0112, 3, 0xFFFFFFFF, 6), (0x010F, 2, 0x7FFFFFFF, 40))),
        "exif_text_orientation.jpg": jpeg_with(exif((0x0112, 2, 4, 0x41414141))),
        "exif_negative.jpg": jpeg_with(exif((0x0112, 9, 1, 0xFFFFFFFF))),
        "exif_fraction.jpg": jpeg_with(exif((0x0112, 5, 1, 26)) + bytes(8)),
        "exif_circle.jpg": jpeg_with(exif((0x8769, 4, 1, 8), next_ifd=8)),
        "exif_far.jpg": jpeg_with(exif((0x8769, 4, 1, 0xFFFFFFF0), (0x8825, 4, 1, 0xFFFFFFF0))),
        "profile_garbage.jpg": jpeg_with(b"ICC_PROFILE\0\x01\x01" + b"x" * 500, 0xE2),
        "profile_missing_parts.jpg": jpeg_with(b"ICC_PROFILE\0\x05\xff" + b"x" * 500, 0xE2),
        "mpo_lying.jpg": jpeg_with(b"MPF\0II*\0" + struct.pack("<IHHHII", 8, 1, 0xB001, 4, 1, 9999), 0xE2),
        "adobe_lying.jpg": jpeg_with(b"Adobe\0d\0\0\0\0\x02", 0xEE),
        "no_pixels.png": png(0, 0, pixels=zlib.compress(b"")), "no_width.png": png(0, 48, pixels=zlib.compress(b"")),
        "few_pixels.png": png(*SIDES, pixels=zlib.compress(bytes(50))),
        "wrong_depth.png": png(*SIDES, bits=3, pixels=zlib.compress(bytes(9000))),
        "too_many_pixels.png": png(*SIDES, pixels=zlib.compress(bytes(1 << 20))),
        "broken_zlib.png": png(*SIDES, pixels=b"\x78\xda" + b"\xff" * 100),
        "animation_lying.png": png(*SIDES, extra=chunk(b"acTL", struct.pack(">II", 0x7FFFFFFF, 0))),
        "animation_none.png": png(*SIDES, extra=chunk(b"acTL", struct.pack(">II", 0, 0))),
        "exif_chunk.png": png(*SIDES, extra=chunk(b"eXIf", b"II*\0" + b"\xff" * 30)),
        "transparency_lying.png": png(*SIDES, extra=chunk(b"tRNS", b"\xff")),
        "dpi_zero.png": png(*SIDES, extra=chunk(b"pHYs", bytes(9))),
        "strip.png": png(4000, 20), "dot.png": png(1, 1), "tall.png": png(17, 2000),
        "negative.bmp": b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, -64, -48, 1, 24, 0, 0, 0, 0, 0, 0),
        "offset.bmp": b"BM" + struct.pack("<IHHI", 54, 0, 0, 0xFFFFFFFF)
        + struct.pack("<IiiHHIIiiII", 40, 64, 48, 1, 24, 0, 0, 0, 0, 0, 0),
        "circle.tif": tiff(*SIDES)[:-4] + struct.pack("<I", 8),
        "lying.tif": tiff(*SIDES, entries=((330, 4, 0x3FFFFFFF, 8), (34665, 4, 1, 8))),
        "float.tif": saved(Image.new("F", SIDES), "TIFF"),
        "frame_outside.gif": whole["gif"].replace(b",\0\0\0\0", b",\xff\xff\xff\xff", 1),
        "no_frames.gif": whole["gif"][:13] + b";", "canvas.webp": webp(16, 16), "empty.webp": b"RIFF\x04\0\0\0WEBP",
    }  # fmt: skip
    for format, content in whole.items():
        suffix = {"jpeg": "jpg", "tiff": "tif"}.get(format, format)
        for share in (1, 3, 5, 7, 9):
            made[f"cut_{share}_tenths.{suffix}"] = content[: len(content) * share // 10]
    return made | {name: content for name, (content, _) in phone_photos().items()}


def names() -> list[bytes]:
    """Stems of file names as bytes, each of which some file system allows and some program trips over."""
    plain = [
        b"new\nline",
        b"carriage\rreturn",
        b"tab\tbed",
        b"\x1b[31mred",
        b"bell\x07",
        b"\x7f",
        b"\xff\xfe no utf-8",
        b"caf\xe9",
        b"-rf",
        b"--output=x",
        b"a b  c",
        b"'quotes\"`",
        b"$(mkdir hostile_code_ran)",
        b"; mkdir hostile_code_ran",
        b"back\\slash",
        b"dots..dots..",
        b"%s%n%d",
        b"{0.__class__}",
        b"<script>alert(1)<",
        b"CON",
        b"x" * 240,
        b"*",
        b"[a-z]",
        b"~",
        b"#hash",
        b"@at",
        b"!bang",
        b"neg_1.jpg",
        b"http:",
        b"&amp;",
        b"comma,semi;colon:",
    ]
    texts = [
        "emoji 🎉👪",
        "right-to-left \u202egpj",
        "line separator\u2028",
        "zero\u200bwidth",
        "é composed",
        "e\u0301 composed",
    ]
    return plain + [text.encode() for text in [*texts, "漢字", "\ud7ff\ue000"]]
