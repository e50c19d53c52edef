"""Timestamps of packets and frames -> the seconds at which frames are shown."""

from __future__ import annotations

import heapq
from fractions import Fraction

import av

# Formats without timestamps of presentation: the n-th frame shown has the n-th smallest time of all packets.
WITHOUT_PTS = frozenset({"avi", "mpegvideo"})
# Formats whose clock starts anywhere. In the others 0 is the start, and a stream that starts late does so.
ANY_ORIGIN = frozenset({"mpegts", "mpeg"})
USUAL_RATE = Fraction(25)  # frames per second where the file does not say


class Clock:
    """Gives the frames of a stream their times, in the order in which they are shown.

    The times strictly increase. A frame whose timestamp is missing or not after the one before is shown one frame
    later than that one, by the stream's mean frame rate.

    Args:
        container: the open file.
        stream: its video.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self._step = float(1 / (stream.average_rate or stream.guessed_rate or USUAL_RATE))
        self._by_packets = container.format.name in WITHOUT_PTS
        self._origin = 0.0
        if container.format.name in ANY_ORIGIN and container.start_time is not None:
            self._origin = container.start_time / av.time_base
        self._packets: list[float] = []
        self._last: float | None = None
        self.longest_gap = self._step

    def see(self, packet: av.Packet) -> None:
        """Call with every packet of the stream before it is decoded."""
        if self._by_packets and packet.size and packet.dts is not None:
            heapq.heappush(self._packets, float(packet.dts * packet.time_base))

    def seconds(self, frame: av.VideoFrame) -> float:
        """When the next frame, `frame`, is shown."""
        if self._by_packets:
            seconds = heapq.heappop(self._packets) if self._packets else None
        else:
            seconds = None if frame.pts is None else float(frame.pts * (frame.time_base or 0)) - self._origin
        if self._last is not None:
            if seconds is None or seconds <= self._last:
                seconds = self._last + self._step
            self.longest_gap = max(self.longest_gap, seconds - self._last)
        self._last = max(0.0, seconds or 0.0) if self._last is None else seconds
        return self._last  # type: ignore[return-value]
