"""A camera or a stream -> its newest frames as they come; those that nobody takes in time are skipped."""

from __future__ import annotations

import errno
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import av
from PIL import Image

from ..support.errors import UserError
from .decoding import CONTAINERS, TAGS, BadVideo, check_size
from .deinterlacing import deinterlaced
from .display import DisplayMatrix, View, shown_pixels, shown_size
from .frames import Frame

PATIENCE = 10.0  # seconds without a new picture after which a source counts as lost
FURTHEST_AHEAD = 5.0  # seconds by which a stream may run ahead of the clock; further, its timestamps have jumped
PAUSE = 0.1  # seconds after which a waiting reader looks whether it is to stop
# A redirection would open an address that nobody has given. RTSP over TCP passes firewalls and loses nothing.
OPTIONS_OF_ADDRESSES = {
    "http": {"max_redirects": "0", "protocol_whitelist": "http,https,tcp,tls,crypto"},
    "rtsp": {"rtsp_transport": "tcp", "protocol_whitelist": "rtsp,rtp,udp,tcp,tls"},
}
FORMATS_OF_ADDRESSES = {"http": f"{CONTAINERS},mpjpeg,mjpeg,h264,hevc", "rtsp": "rtsp"}
SCHEMES = {"http": "http", "https": "http", "rtsp": "rtsp", "rtsps": "rtsp"}
CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}  # platform -> FFmpeg's format, name
_CAMERA = re.compile(r"\d{1,3}")


@dataclass(frozen=True)
class LiveSource:
    """A camera or a stream.

    Attributes:
        address: a camera's number or a stream's address, which may hold a password: not for messages and files.
        name: what it is called there: `camera 0`, or scheme, host and port. Cameras take passwords in paths, too.
    """

    address: str = field(repr=False)
    name: str

    @property
    def stem(self) -> str:
        """The name as that of a folder.

        >>> live_source("rtsp://me:secret@10.0.0.7:554/live").stem
        '10.0.0.7-554'
        """
        return re.sub(r"[^\w.-]+", "-", self.name.rpartition("://")[2]).strip("-.")


def live_source(word: str) -> LiveSource | None:
    """The camera or stream that a word of the command line names; None if it is a file.

    Args:
        word: a camera's number, or an address that begins with rtsp, rtsps, http or https.

    Raises:
        UserError: an address without a host.

    >>> live_source("0").name, live_source("rtsp://me:secret@10.0.0.7/live?key=1").name, live_source("a.mp4")
    ('camera 0', 'rtsp://10.0.0.7', None)
    """
    if _CAMERA.fullmatch(word):
        return LiveSource(word, f"camera {int(word)}")
    scheme = word.partition("://")[0].lower()
    if "://" not in word or scheme not in SCHEMES:
        return None
    try:
        parts = urlsplit(word)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise UserError(f"an address that begins with {scheme}:// names no host: expected {scheme}://HOST:PORT/PATH")
    return LiveSource(word, f"{scheme}://{host}" + (f":{port}" if port else ""))


def open_camera(number: int) -> av.container.InputContainer:
    """The camera with this number, counted from 0.

    Raises:
        BadVideo: there is none, or it cannot be used.
    """
    if sys.platform == "win32":
        names = [each.name for each in av.enumerate_input_devices("dshow") if "video" in each.media_types]
        if number >= len(names):
            raise BadVideo(f"there is no camera {number}: found {', '.join(names) or 'none'}")
        kind, place = "dshow", f"video={names[number]}"
    else:
        kind, pattern = CAMERAS.get(sys.platform, CAMERAS["linux"])
        place = pattern.format(number)
    try:
        options = {"framerate": "30"} if kind == "avfoundation" else {}  # its default is one that few cameras have
        return av.open(place, format=kind, options=options, timeout=PATIENCE)
    except FileNotFoundError:
        others = sorted(int(path.name[5:]) for path in Path("/dev").glob("video*") if path.name[5:].isdecimal())
        found = f"found {', '.join(map(str, others))}" if others else "found none; connect one"
        raise BadVideo(f"there is no camera {number}: {found}") from None
    except PermissionError:
        raise BadVideo(f"no permission to use {place}: allow it for your user, then run again") from None
    except (av.error.FFmpegError, ValueError) as error:
        raise BadVideo(f"the camera cannot be opened: {_reason(error)}") from None


def open_address(address: str) -> av.container.InputContainer:
    """A stream. No other address is opened than this one.

    Raises:
        BadVideo: it cannot be opened. The message does not hold the address.
    """
    kind = SCHEMES[address.partition("://")[0].lower()]
    options = {**OPTIONS_OF_ADDRESSES[kind], "format_whitelist": FORMATS_OF_ADDRESSES[kind]}
    try:
        return av.open(address, options=options, timeout=PATIENCE, **TAGS)
    except av.error.ExitError:
        raise BadVideo(f"no answer within {PATIENCE:g} s: check the address and the network") from None
    except (av.error.FFmpegError, ValueError) as error:
        raise BadVideo(f"the stream cannot be opened: {_reason(error)}; check its address") from None


def _reason(error: BaseException) -> str:
    """What went wrong, without the address, which FFmpeg's messages repeat."""
    return getattr(error, "strerror", None) or type(error).__name__


class LiveFrames(Iterator[Frame]):
    """`fps` frames per second of a camera or stream, each at most once and in the order of time.

    A thread reads the source and keeps the newest frame that is due, and no other: a reader that is too slow gets
    fewer frames, later ones, and memory does not grow. A stream that arrives faster than it plays, such as a file on a
    web server, is read in its own time. Seconds are those since the first picture.

    Args:
        source: what is read.
        fps: most frames per second, above 0.
        seconds: when to stop; None: at the end of the stream.
        stopped: set by the caller to end the iteration.

    Attributes:
        problem: why it ended earlier than it was to; empty before, and where it did not.
        skipped: the number of frames that were due and that nobody took in time.

    Raises:
        BadVideo: on iteration, where no picture came; the message says why.
    """

    def __init__(
        self, source: LiveSource, fps: float, seconds: float | None = None, stopped: threading.Event | None = None
    ) -> None:
        self.source, self.fps, self.seconds = source, fps, seconds
        self.problem, self.skipped = "", 0
        self._stopped = stopped or threading.Event()
        self._ready = threading.Condition()
        self._newest: Frame | None = None
        self._last = 0.0  # seconds of the last frame that was given
        self._given = 0
        self._heard = time.monotonic()  # when something came last
        self._end: str | None = None  # why the thread ended, once it has; empty: as it was to
        self._closed = threading.Event()
        threading.Thread(target=self._read, name="camera or stream", daemon=True).start()

    def close(self) -> None:
        """Stop reading the source."""
        self._closed.set()

    def __next__(self) -> Frame:
        frame, problem = self._wait()
        if frame is not None:
            self._last, self._given = frame.seconds, self._given + 1
            return frame
        self.close()
        if not self._given and not self._stopped.is_set():
            raise BadVideo(problem or "it ended before its first picture")
        self.problem = problem and f"{problem}, after {self._last:.0f} s"
        raise StopIteration

    def _wait(self) -> tuple[Frame | None, str]:
        """The newest frame; None at the end, with the reason if it came too early."""
        with self._ready:
            while not self._stopped.is_set():
                frame, self._newest = self._newest, None
                if frame is not None:
                    return frame, ""
                if self._end is not None:
                    return None, self._end
                # FFmpeg looks at a stream for some seconds before it gives the first picture
                if time.monotonic() - self._heard > (PATIENCE if self._given else 2 * PATIENCE):
                    return None, f"no new picture for {PATIENCE:g} s" if self._given else "no picture came"
                self._ready.wait(PAUSE)
        return None, ""

    def _read(self) -> None:
        """The thread's work."""
        end = "the connection was lost"
        try:
            address = self.source.address
            with open_camera(int(address)) if address.isdecimal() else open_address(address) as container:
                end = self._decode(container)
        except BadVideo as reason:
            end = str(reason)
        except av.error.ExitError:
            end = f"no new picture for {PATIENCE:g} s"
        except (av.error.FFmpegError, OSError, ValueError) as error:
            # EIO: FFmpeg's answer where a server that has not said how much it sends sends no more
            closed = getattr(error, "errno", None) == errno.EIO
            end = "the stream was closed" if closed else f"the connection was lost ({_reason(error)})"
        finally:
            with self._ready:
                self._end = end
                self._ready.notify()

    def _decode(self, container: av.container.InputContainer) -> str:
        """Offer the frames of an open source until it ends; returns why that was too early, or nothing."""
        stream = container.streams.best("video")
        if not isinstance(stream, av.VideoStream) or stream.codec_context is None:
            return "it has no video that can be read"
        matrix, clock, due = DisplayMatrix(), _Pace(self._closed.wait), 0.0
        for number, frame in deinterlaced(enumerate(_decoded(container, stream))):
            if self._closed.is_set():
                return ""
            seconds = clock.seconds(frame.time)
            self._heard = time.monotonic()
            if self.seconds is not None and seconds >= self.seconds:
                return ""
            if not frame.is_corrupt and seconds >= due:
                view = View(shown_size(frame, stream.sample_aspect_ratio), matrix.of(frame))
                check_size(*view.size)
                self._offer(Frame(number, seconds, Image.fromarray(shown_pixels(frame, view))))
                due = (int(seconds * self.fps) + 1) / self.fps
        return "" if self.seconds is None else f"the stream ended before the {self.seconds:g} s were over"

    def _offer(self, frame: Frame) -> None:
        with self._ready:
            self.skipped += self._newest is not None
            self._newest = frame
            self._ready.notify()


def _decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """The frames that can be decoded; packets that were damaged on their way are left out."""
    while True:
        try:
            for packet in container.demux(stream):
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:
                    continue
            return
        except av.error.BlockingIOError:  # how AVFoundation says that there is no new frame yet
            time.sleep(1 / 100)


class _Pace:
    """When the frames of a source are there, in seconds since its first; waits for those that come early.

    Args:
        wait: waits for so many seconds.
    """

    def __init__(self, wait: Callable[[float], object]) -> None:
        self._wait, self._began = wait, 0.0
        self._origin: float | None = None  # the source's own time at the first frame
        self._last = -1.0

    def seconds(self, own_time: float | None) -> float:
        """Of the next frame, which the source's own clock shows at `own_time`."""
        now = time.monotonic()
        if self._last < 0:
            self._began, self._origin, self._last = now, own_time, 0.0
            return 0.0
        if own_time is not None:
            ahead = 0.0 if self._origin is None else own_time - self._origin - (now - self._began)
            if self._origin is None or abs(ahead) > FURTHEST_AHEAD:  # the clock of the source was set
                self._origin = own_time - (now - self._began)
            elif ahead > 0:
                self._wait(ahead)
        self._last = max(time.monotonic() - self._began, self._last + 1e-3)
        return self._last
