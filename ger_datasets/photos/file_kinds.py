"""What a file is that is called a photo and is none: for error messages."""

from __future__ import annotations

import re

# The first of these that the start of the file matches, after white space and a byte order mark
KINDS = (
    (rb"(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body|script)", "a web page (HTML)"),
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (rb"\{\s*[\"}]|\[\s*[\"{\[\]]", "JSON text"),
    (rb"(<\?xml.*?)?<svg", "an SVG drawing"),
    (rb"<(\?xml|[a-z])", "XML text"),
    (rb"%PDF", "a PDF document"),
    (rb"%!PS", "PostScript"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"Rar!|7z\xbc\xaf", "an archive (RAR or 7z)"),
    (rb"8BPS", "a Photoshop document"),
    (rb"....ftyp(crx|qt|isom|iso[2-9]|mp4|M4V|avc1|3g)", "a video or raw camera file"),
    (rb"RIFF....AVI |\x1aE\xdf\xa3", "a video"),
    (rb"\x00\x00\x00\x0cjP|\xff\x4f\xff\x51|\xff\x0a|\x00\x00\x00\x0cJXL", "JPEG 2000 or JPEG XL: save it as JPEG"),
    (rb"\x00+\Z", "only zeros: perhaps an incomplete download"),
)
START = 1024  # bytes that are looked at


def describe_content(content: bytes) -> str:
    """What the bytes of a file that is no photo are, or "" if that is not known.

    >>> describe_content(b"<!DOCTYPE html><html><body>404 Not Found</body></html>")
    'a web page (HTML)'
    """
    start = content[:START].removeprefix(b"\xef\xbb\xbf")
    for pattern, kind in KINDS:
        if re.match(rb"\s*(?:" + pattern + rb")", start, re.IGNORECASE | re.DOTALL):
            return kind
    try:
        text = start.decode("utf-8", errors="strict" if len(content) <= START else "ignore")
    except UnicodeDecodeError:
        return ""
    shown = " ".join(text.split())[:60]
    return f"text: {shown!r}" if shown and all(char.isprintable() or char.isspace() for char in text) else ""
