"""A web server on loopback that streams a video in its own time, as network cameras do."""

from __future__ import annotations

import http.server
import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

CHUNKS = 20  # per second


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Streams
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        name = self.path.partition("?")[0]
        if name == "/moved":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if name not in self.server.chunks:
            self.send_error(404)
            return
        kind, seconds, chunks = self.server.chunks[name]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        chunked = name not in self.server.breaking
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        began = time.monotonic()
        try:
            for number, chunk in enumerate(chunks):
                self.server.closing.wait(max(0.0, began + number * seconds - time.monotonic()))
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
            if name in self.server.stalling:
                self.server.closing.wait(60)
            if chunked:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True
        except OSError:  # whoever watched has left
            pass


class Streams(http.server.ThreadingHTTPServer):
    """Name -> content type, seconds between chunks, chunks; which of them stall, or break off, at their end.

    `asked`: the paths that were asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.chunks: dict[str, tuple[str, float, list[bytes]]] = {}
        self.stalling: set[str] = set()
        self.breaking: set[str] = set()
        self.asked: list[str] = []
        self.closing = threading.Event()

    def address(self, name: str, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.server_port}{name}"

    def add_video(self, name: str, path: Path, seconds: float) -> None:
        """A video file, its bytes sent evenly in so many seconds; 0: at once."""
        content, count = path.read_bytes(), max(1, round(seconds * CHUNKS))
        size = -(-len(content) // count)
        pieces = [content[place : place + size] for place in range(0, len(content), size)]
        self.chunks[name] = "video/mp4", seconds / count, pieces

    def add_photos(self, name: str, frames: Sequence[np.ndarray], fps: float) -> None:
        """Photos one after the other (multipart/x-mixed-replace), as many web cameras send them."""
        parts = []
        for pixels in frames:
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {buffer.tell()}\r\n\r\n"
            parts.append(head.encode() + buffer.getvalue() + b"\r\n")
        self.chunks[name] = "multipart/x-mixed-replace;boundary=next", 1 / fps, parts


@contextmanager
def streams() -> Iterator[Streams]:
    server = Streams()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
