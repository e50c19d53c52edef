"""The app as a server: started, and stopped with everything removed that it was sent."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from ger_datasets.support.errors import UserError, one_line

from .gate import Gate
from .uploads import MAX_ARCHIVE_BYTES, UploadFolder

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FAILED_LOGIN_SECONDS = 1.0


@contextmanager
def serving(
    models: Sequence[str],
    device: str = "cpu",
    host: str = "127.0.0.1",
    port: int = 7860,
    login: tuple[str, str] | None = None,
) -> Iterator[str]:
    """The app while a `with` block lasts; its address.

    Args:
        models: checkpoints, Hub repositories, or `starter`.
        device: where they run; `auto`: a GPU if there is one.
        host: the address that is listened at.
        port: of that address; 0: any that is free.
        login: user and password, without which nothing is shown.

    Raises:
        UserError: a model cannot be loaded, the port is taken, or the extra `app` is not installed.
    """
    port = _free_port(host, port)
    with UploadFolder() as folder:
        # Gradio looks at these when it is imported and when components are made
        os.environ["GRADIO_TEMP_DIR"] = str(folder.path)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        try:
            from gradio import queueing
        except ImportError as error:
            raise UserError(f'the app needs Gradio ({one_line(error)}): pip install "group-emotion[app]"') from error
        queueing.traceback = _ErrorTypes  # its tracebacks hold what users sent
        import torch
        from starlette.middleware import Middleware

        from .answering import Models
        from .app import CSS, I18N, THEME, build_app
        from .handlers import Handlers
        from .video_handlers import VideoHandlers

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        answering = Models(models, device)
        app = build_app(Handlers(answering, folder), VideoHandlers(answering, folder))
        try:
            _, url, _ = app.launch(
                server_name=host,
                server_port=port,
                share=False,
                auth=None if login is None else _checker(*login),
                allowed_paths=[],
                max_file_size=MAX_ARCHIVE_BYTES,
                app_kwargs={"middleware": [Middleware(Gate, folder=folder)], "docs_url": None, "redoc_url": None},
                prevent_thread_lock=True,
                quiet=True,
                show_error=False,
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                footer_links=["api", "settings"],
                theme=THEME,
                css_paths=CSS,
                i18n=I18N,
            )
            # the traceback of a malformed request holds what was sent; the client gets status 500
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            yield url
        finally:
            app.close(verbose=False)


class _ErrorTypes:
    """In place of the module `traceback`: errors of requests are logged by their type alone."""

    @staticmethod
    def print_exc() -> None:
        error = sys.exc_info()[1]
        places = traceback.extract_tb(error.__traceback__)[-1:] if error is not None else []
        for place in places:
            logger.error("a request failed: %s at %s:%s", type(error).__name__, place.name, place.lineno)


def _checker(user: str, password: str) -> Callable[[str, str], Awaitable[bool]]:
    async def check(given_user: str, given_password: str) -> bool:
        """Whether user and password are right; what is wrong is answered late, which slows guessing down."""
        right = hmac.compare_digest(given_user.encode(), user.encode())
        right &= hmac.compare_digest(given_password.encode(), password.encode())
        if not right:
            await asyncio.sleep(FAILED_LOGIN_SECONDS)
        return right

    return check


def _free_port(host: str, port: int) -> int:
    """`port`, or a free one for 0; UserError if it cannot be listened at."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen at {host}, port {port}: {one_line(error)}; choose another --port") from error
