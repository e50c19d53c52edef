"""What reaches the app of all HTTP requests: sizes have bounds, and the routes that nobody needs do not exist."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from .upload_limits import CountedUpload
from .uploads import MAX_ARCHIVE_BYTES, MB, UploadFolder

MAX_JSON_BYTES = MB
MAX_STORED_BYTES = 4 * MAX_ARCHIVE_BYTES  # of all uploads together
FORM_BYTES = MB  # of an upload that are not its files
# Gradio's own: fetching other servers' pages, tools of developers, recordings, calls that pass the queue
UNNEEDED = re.compile(
    r"/+(gradio_api/+)?(proxy=|file=(/*https?:|//)|process_recording|vibe|undo-vibe|monitoring|profiling|dev/|run-history"
    r"|runs|deep_link|component_server|stream/|custom_component|svelte|(run|api)/)",
    re.IGNORECASE,
)
UPLOAD = re.compile(r"/+gradio_api/+upload/*")
ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
# the page loads nothing from other servers
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
]

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Refused(Exception):
    """A request that is not let through: HTTP status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Gate:
    """ASGI middleware.

    Args:
        app: what follows.
        folder: where uploads are kept.
    """

    def __init__(self, app: Any, folder: UploadFolder) -> None:
        self.app, self.folder, self.arriving = app, folder, 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with the reason why not."""
        if scope["type"] == "websocket":  # the page uses none
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
            await send(message)

        reserved = 0
        try:
            if UNNEEDED.match(scope["path"]):
                raise Refused(404, "not found")
            if scope["method"] in ("POST", "PUT", "PATCH"):
                if UPLOAD.fullmatch(scope["path"]):
                    reserved = self._room_for(_length(scope))
                    self.arriving += reserved
                    receive = CountedUpload(receive, _header(scope, b"content-type"))
                else:
                    receive = await _checked_body(scope, receive)
            await self.app(scope, receive, sending)
        except Refused as refusal:
            await _answer(sending, refusal)
        finally:
            self.arriving -= reserved

    def _room_for(self, length: int | None) -> int:
        if length is None:
            raise Refused(411, "an upload must tell its length (Content-Length)")
        if length > MAX_ARCHIVE_BYTES + FORM_BYTES:
            raise Refused(413, f"an upload may have at most {MAX_ARCHIVE_BYTES // MB} MB")
        if self.folder.stored_bytes() + self.arriving + length > MAX_STORED_BYTES:
            raise Refused(507, "too many files are stored here at the moment: try again in an hour")
        return length


def _length(scope: Message) -> int | None:
    value = _header(scope, b"content-length")
    return int(value) if value.isdigit() else None


def _header(scope: Message, wanted: bytes) -> bytes:
    """The value of a header; empty where there is none."""
    return next((value for name, value in scope["headers"] if name == wanted), b"")


async def _checked_body(scope: Message, receive: Receive) -> Receive:
    """A `receive` that gives the whole body at once, which is small and names no address to be fetched."""
    if (_length(scope) or 0) > MAX_JSON_BYTES:
        raise Refused(413, f"a request may have at most {MAX_JSON_BYTES // MB} MB")
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request is incomplete")
        body += message.get("body", b"")
        if len(body) > MAX_JSON_BYTES:
            raise Refused(413, f"a request may have at most {MAX_JSON_BYTES // MB} MB")
        if not message.get("more_body"):
            break
    if bytes(body[:1]) in (b"{", b"[", b" ", b"\n", b"\t", b"\r"):
        _check_json(bytes(body))
    given = False

    async def replaying() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return replaying


def _check_json(body: bytes) -> None:
    """Refuse what is no JSON, nested too deeply, or a file with an address instead of a path."""
    try:
        waiting = [json.loads(body)]
    except (ValueError, RecursionError) as error:
        raise Refused(400, "not JSON, or nested too deeply") from error
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(path := value.get("path"), str) and ADDRESS.match(path):
                raise Refused(400, "a file must be uploaded: addresses are not fetched")
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


async def _answer(send: Send, refusal: Refused) -> None:
    content = json.dumps({"error": refusal.reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send(
        {"type": "http.response.start", "status": refusal.status, "headers": [*headers, (b"connection", b"close")]}
    )
    await send({"type": "http.response.body", "body": content})
