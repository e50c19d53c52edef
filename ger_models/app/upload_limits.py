"""An upload's files are counted while they arrive: one that is larger than its kind may be ends the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import Any

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.formparsers import MultiPartException

from .uploads import MAX_ARCHIVE_BYTES, MAX_PHOTO_BYTES, MAX_VIDEO_BYTES, MB, VIDEO_SUFFIXES

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]


def most_bytes(name: str) -> int:
    """How large a file may be, by its name: an archive, a video, or else a photo.

    >>> most_bytes("team.ZIP") // MB, most_bytes("a.mp4") // MB, most_bytes("a.jpg") // MB
    (2048, 500, 25)
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".zip":
        return MAX_ARCHIVE_BYTES
    return MAX_VIDEO_BYTES if suffix in VIDEO_SUFFIXES else MAX_PHOTO_BYTES


class CountedUpload:
    """A `receive` that passes an upload on, and counts the bytes of each file in it.

    Args:
        receive: gives the request's body.
        content_type: of the request, with the boundary of its parts.
    """

    def __init__(self, receive: Receive, content_type: bytes) -> None:
        self._receive = receive
        self._header, self._value, self._left, self._most = b"", b"", 0, 0
        _, options = parse_options_header(content_type)
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._name,
            "on_header_value": self._text,
            "on_header_end": self._end,
            "on_part_data": self._data,
        }
        # what is no multipart body is refused where the upload is stored
        self._parser = MultipartParser(options[b"boundary"], callbacks) if b"boundary" in options else None

    async def __call__(self) -> Message:
        """The next part of the body.

        Raises:
            MultiPartException: a file is too large. Whoever stores the upload then deletes what has arrived of it.
            MultipartParseError: the body is malformed; the same happens.
        """
        message = await self._receive()
        if self._parser is not None and message["type"] == "http.request":
            self._parser.write(message.get("body", b""))
        return message

    def _begin(self) -> None:
        self._most = self._left = MAX_PHOTO_BYTES

    def _name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._most = self._left = most_bytes(options.get(b"filename", b"").decode(errors="replace"))
        self._header = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._left -= end - start
        if self._left < 0:
            raise MultiPartException(f"a file of this kind has a maximum allowed size of {self._most // MB} MB")
