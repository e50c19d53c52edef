"""Whether a video file is whole: declared against actual duration, and the index of an MP4."""

from __future__ import annotations

import struct
from typing import BinaryIO

import av

TOLERANCE = 0.25  # seconds that declared and actual duration may differ by, and two of the longest gaps between frames
BOXES_OF_MP4 = frozenset({b"ftyp", b"moov", b"mdat"})
MOST_BOXES = 1000


def declared_end(container: av.container.InputContainer, stream: av.VideoStream) -> tuple[float | None, bool]:
    """When a video ends, as its header says, in the file's own seconds; None where the header does not say.

    Returns:
        The seconds, and whether they are of the video stream alone; else of all streams together.
    """
    names = set(container.format.name.split(","))
    if "avi" in names:  # its duration is that of the index, which FFmpeg makes anew where it is missing
        rate = stream.average_rate
        return (float(stream.frames / rate) if stream.frames and rate else None), True
    if "mov" in names and stream.duration and stream.time_base:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base), True
    if names & {"matroska", "flv", "asf"} and container.duration:
        return container.duration / av.time_base, False
    return None, True  # transport and program streams have no header; FFmpeg estimates


class Ends:
    """Where the packets of a file end, in seconds, for `shortfall`.

    Args:
        container: the open file.
        stream: its video.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self.declared, self._only_video = declared_end(container, stream)
        self._stream, self.actual = stream, 0.0

    def see(self, packet: av.Packet) -> None:
        """Call with every packet of every stream."""
        time = packet.dts if packet.pts is None else packet.pts
        if time is None or packet.is_corrupt or (self._only_video and packet.stream_index != self._stream.index):
            return
        self.actual = max(self.actual, float((time + (packet.duration or 0)) * packet.time_base))

    def shortfall(self, longest_gap: float) -> bool:
        """Whether the file ends well before its declared end."""
        return self.declared is not None and self.declared - self.actual > max(TOLERANCE, 2 * longest_gap)


def why_not_opened(file: BinaryIO) -> str | None:
    """What is wrong with the index of an MP4 or MOV file in which FFmpeg finds no video; None for other files."""
    boxes = _boxes(file)
    if not boxes & BOXES_OF_MP4:
        return None
    if b"moov" not in boxes:
        return (
            "an MP4 file without its index (the moov box), as when recording or copying was interrupted: copy the "
            "file again, or rebuild the index with a repair tool"
        )
    return "an MP4 file with a damaged index (the moov box): copy the file again, or rebuild the index"


def _boxes(file: BinaryIO) -> set[bytes]:
    """The types of the outermost boxes of a file (ISO 14496-12), as far as they are well-formed."""
    types: set[bytes] = set()
    place = 0
    for _ in range(MOST_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            break
        size, kind = struct.unpack(">I4s", head[:8])
        types.add(kind)
        if size == 1 and len(head) == 16:
            size = struct.unpack(">Q", head[8:])[0]
        if size < 8:
            break
        place += size
    return types
